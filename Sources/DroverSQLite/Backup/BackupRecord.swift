// What became of the last backups of a database, in a file beside it: a full or damaged database could not say it. `drover status` reads it.

private import Foundation

package struct BackupRecord: Equatable, Sendable {
  /// The last one that was made.
  package var made: BackupFile?
  /// The last failure, when it is newer.
  package var failure: Failure?

  package struct Failure: Equatable, Sendable {
    /// Microseconds since 1970.
    package var at: Int64
    package var reason: String

    package init(at: Int64, reason: String) {
      self.at = at
      self.reason = reason
    }
  }

  package init(made: BackupFile? = nil, failure: Failure? = nil) {
    self.made = made
    self.failure = failure
  }

  private static func file(_ database: String) -> FileBeside { FileBeside("-drover.backup", database: database) }

  /// nil when no backup was ever tried, or the file makes no sense.
  package static func read(database: String) -> BackupRecord? {
    guard let text = file(database).texts.first else { return nil }
    var record = BackupRecord()
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 3).map(String.init)
      if words.count == 4, words[0] == "made", let at = Int64(words[1]), let bytes = Int64(words[2]) {
        record.made = BackupFile(path: words[3], bytes: bytes, at: at)
      } else if words.count >= 3, words[0] == "failed", let at = Int64(words[1]) {
        record.failure = Failure(at: at, reason: words[2...].joined(separator: " "))
      }
    }
    return record == BackupRecord() ? nil : record
  }

  /// Notes a backup that was made: what failed before it is over.
  package static func note(_ made: BackupFile, database: String) throws {
    try BackupRecord(made: made).write(database)
  }

  /// Notes a failure beside what was made before.
  package static func note(_ failure: Failure, database: String) throws {
    try BackupRecord(made: read(database: database)?.made, failure: failure).write(database)
  }

  static func remove(database: String) { file(database).remove() }

  private func write(_ database: String) throws(EdgeFileError) {
    var lines: [String] = []
    if let made { lines.append("made \(made.at) \(made.bytes) \(made.path)") }
    if let failure { lines.append("failed \(failure.at) \(failure.reason.replacing("\n", with: " "))") }
    let file = Self.file(database)
    try WholeFile.write(lines.joined(separator: "\n") + "\n", to: file.path, beside: database)
    file.removeEarlier()
  }
}
