// What is wrong with who is connected under the machine's name, where `drover status` and `drover doctor` find it.

package import DroverCore
import GRDB

extension EdgeDatabase {
  package func note(_ trouble: Trouble?, _ kind: Trouble.Kind) throws(EdgeStoreError) {
    try access { database in
      // Most have none, and the app need not meet a write because of it.
      guard try trouble != nil || Trouble.read(kind, database) != nil else { return }
      try database.inTransaction(.immediate) {
        if let trouble {
          try database.execute(
            sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES (?, ?)",
            arguments: [kind.noteName, "\(trouble.since) \(trouble.last) \(trouble.count)"])
        } else {
          try database.execute(sql: "DELETE FROM drover_meta WHERE name = ?", arguments: [kind.noteName])
        }
        return .commit
      }
    }
  }
}

extension Trouble.Kind {
  fileprivate var noteName: String { "trouble_\(rawValue)" }
}

extension Trouble {
  static func read(_ kind: Kind, _ database: Database) throws -> Trouble? {
    let note = try String.fetchOne(
      database, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [kind.noteName])
    guard let words = note?.split(separator: " "), words.count == 3, let since = Int64(words[0]),
      let last = Int64(words[1]), let count = Int(words[2])
    else { return nil }
    return Trouble(kind, since: since, last: last, count: count)
  }
}
