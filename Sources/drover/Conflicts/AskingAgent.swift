// A command at the machine that asks the cloud: the running agent hands the question on, because only it is connected to the broker.

import DroverCore
import DroverSQLite
import DroverWire

struct AskingAgent {
  /// How long the next answer may take. A consumer that works for longer says so in between.
  private static let patience = Duration.seconds(15)

  let database: String

  struct NoAnswer: Error, CustomStringConvertible {
    let description: String
  }

  /// Whether the agent can ask is looked up first, so that a machine that is offline says so at once.
  /// - Throws: `NoAnswer`.
  func ask(_ document: [UInt8]) async throws -> [UInt8] {
    guard AgentLock.worker(database: database).process != nil else {
      throw error("the agent asks the cloud, but it does not run; start `drover edge`")
    }
    let connection = AgentLock.connection(database: database) ?? "it has had no connection yet"
    guard connection == BrokerCheck.isConnected else {
      throw error(
        "the agent asks the cloud, but it is not connected to the broker: \(printable(connection)); try again when it is"
      )
    }
    let mailbox = AgentMailbox(database: database)
    let id = Epoch(random: .random(in: .min ... .max)).text
    var deadline = ContinuousClock.now.advanced(by: Self.patience)
    while try !mailbox.put(document, id: id) {
      guard .now < deadline else { throw late }
      try await Task.sleep(for: .milliseconds(50))
    }
    defer { mailbox.withdraw(id) }
    while .now < deadline {
      if let answer = mailbox.takeAnswer(id) {
        guard !CompareReply.isLast(answer) else { return answer }
        deadline = .now.advanced(by: Self.patience)
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    throw late
  }

  private var late: NoAnswer {
    error(
      "no answer from the cloud within \(Self.patience.components.seconds) s; check with `drover status` on both sides that agent and consumer run, in this release"
    )
  }

  private func error(_ text: String) -> NoAnswer { NoAnswer(description: text) }
}
