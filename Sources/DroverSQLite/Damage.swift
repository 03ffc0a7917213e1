// A damaged file is never deleted, mended or written to: the program says what SQLite finds, where the file is and what to do, and ends.

import GRDB

enum Damage {
  /// The finding in words, with the first lines of SQLite's own check where the file can be opened at all.
  static func describe(_ error: DatabaseError, path: String, database: DatabaseQueue?) -> String {
    if error.resultCode == .SQLITE_NOTADB, let guess = FileKind.guess(path) {
      return
        "\(path) is no SQLite database: \(guess). Drover has stopped and changes nothing; correct the path, or put the database back"
    }
    let lines = (try? database?.inDatabase { try String.fetchAll($0, sql: "PRAGMA integrity_check(5)") }) ?? []
    let found = lines.isEmpty || lines == ["ok"] ? "" : "; integrity_check finds: \(lines.joined(separator: "; "))"
    return """
      \(path) is damaged: \(error.explanation)\(found). Drover has stopped and changes nothing. Stop everything that writes to the file, \
      copy it away with its -wal and -journal, and restore a backup or use `sqlite3 \(path) .recover` (docs/how-to/back-up-and-restore.md; for a cloud's store there is `drover rebuild`); then start again
      """
  }
}

extension DatabaseError {
  var saysDamaged: Bool { resultCode == .SQLITE_CORRUPT || resultCode == .SQLITE_NOTADB }
}
