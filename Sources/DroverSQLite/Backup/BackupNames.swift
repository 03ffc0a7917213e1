// What backups of a database are called: `app-20261121T013000Z.db` of `app.db`. Only what has exactly this form is ever taken for a backup.

import DroverCore

struct BackupNames {
  private let stem: String

  /// - Parameter database: its path.
  init(database: String) {
    let file = database.split(separator: "/").last ?? ""
    stem = String(file.hasSuffix(".db") ? file.dropLast(3) : file)
  }

  /// - Parameter moment: microseconds since 1970.
  func name(at moment: Int64) -> String { "\(stem)-\(Timestamp.name(microseconds: moment)).db" }

  /// What a backup is called until it is whole.
  var unfinished: String { "\(stem)-unfinished.db" }

  func isBackup(_ name: String) -> Bool {
    guard name.hasPrefix(stem + "-"), name.hasSuffix(".db") else { return false }
    let time = Array(name.utf8.dropFirst(stem.utf8.count + 1).dropLast(3))
    let pattern = Array("00000000T000000Z".utf8)
    return time.count == pattern.count
      && zip(time, pattern).allSatisfy { $1 == 0x30 ? (0x30...0x39).contains($0) : $0 == $1 }
  }
}
