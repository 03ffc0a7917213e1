// How a command hands a question to the agent of a database and gets the answer: two small files beside the database, each there whole or not at all. Only
// the agent is connected to the broker, and a second connection under its name would take its session.

private import Foundation

package struct AgentMailbox: Sendable {
  private let question: String
  private let answers: String
  private let database: String

  /// A question that is older belongs to a command that has ended.
  private static let patience = 30

  package init(database: String) {
    self.database = database
    question = FileBeside("-drover.ask", database: database).path
    answers = FileBeside("-drover.answer-", database: database).path
  }

  // MARK: The command's side

  /// Puts a question in; false while another command's question is there.
  package func put(_ document: [UInt8], id: String) throws -> Bool {
    removeOld()
    let own = "\(question)-\(id)"
    defer { WholeFile.remove(own) }
    try WholeFile.write("\(id)\n\(String(decoding: document, as: UTF8.self))", to: own, beside: database)
    guard link(own, question) != 0 else { return true }
    guard errno == EEXIST else { throw EdgeFileError("write", question, errno) }
    return false
  }

  /// Takes the answer out; nil while there is none.
  package func takeAnswer(_ id: String) -> [UInt8]? {
    guard let text = FileManager.default.contents(atPath: answers + id) else { return nil }
    unlink(answers + id)
    return Array(text)
  }

  /// Takes a question back that no agent has taken.
  package func withdraw(_ id: String) {
    if peek()?.id == id { unlink(question) }
    unlink(answers + id)
  }

  // MARK: The agent's side

  package func take() -> (id: String, document: [UInt8])? {
    guard access(question, F_OK) == 0 else { return nil }
    removeOld()
    guard let found = peek() else { return nil }
    unlink(question)
    return found
  }

  package func answer(_ id: String, _ document: [UInt8]) throws {
    try WholeFile.write(String(decoding: document, as: UTF8.self), to: answers + id, beside: database)
  }

  /// No command waits for this answer any more.
  package func removeAnswer(_ id: String) { WholeFile.remove(answers + id) }

  private func peek() -> (id: String, document: [UInt8])? {
    guard let bytes = FileManager.default.contents(atPath: question) else { return nil }
    let parts = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 1)
    guard parts.count == 2 else { return nil }
    let id = String(decoding: parts[0], as: UTF8.self)
    // It becomes a part of a path and of a topic.
    guard (1...64).contains(id.utf8.count),
      id.utf8.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) })
    else { return nil }
    return (id, Array(parts[1]))
  }

  private func removeOld() {
    var status = stat()
    guard stat(question, &status) == 0, time(nil) - status.st_mtim.tv_sec > Self.patience else { return }
    unlink(question)
  }
}
