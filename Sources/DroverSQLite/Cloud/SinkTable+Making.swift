// How a sink table is made: its columns as the source declares them, and Drover's own.

private import CSQLite
import DroverCore
import GRDB

extension SinkTable {
  static func creation(stream: StreamName, schema: StreamSchema?) -> String {
    guard let schema else {
      return """
        CREATE TABLE \(quoted(stream.text)) (
          machine_id TEXT NOT NULL,
          local_id TEXT NOT NULL,
          occurred_at TEXT,
          body TEXT NOT NULL,
          drover_epoch INTEGER NOT NULL DEFAULT 0,
          drover_version INTEGER NOT NULL DEFAULT 0,
          PRIMARY KEY (machine_id, local_id)
        ) WITHOUT ROWID
        """
    }
    let columns = schema.columns.map { "  \(definition($0)),\n" }.joined()
    let key = schema.key.map { quoted(schema.columns[$0].name) }.joined(separator: ", ")
    return """
      CREATE TABLE \(quoted(stream.text)) (
        \(schema.machineColumn) TEXT NOT NULL\(schema.flow.reach == .all ? " DEFAULT '*'" : ""),
      \(columns)  drover_epoch INTEGER NOT NULL DEFAULT 0,
        drover_version INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (\(schema.machineColumn), \(key))
      ) WITHOUT ROWID
      """
  }

  /// SQLite's own limit is 2000, the bookkeeping included; past 1000 parts a key's comparison is an expression too deep for it
  /// (https://www.sqlite.org/limits.html), and a hundred is more than any table has.
  static let maximumColumns = 1995
  static let maximumKeyColumns = 100

  /// A column as the source declares it. The type is text from a machine, so only what is a type and nothing else passes; for anything
  /// else stands the affinity, which is all that SQLite would take from it.
  static func definition(_ column: DroverCore.Column) -> String {
    // Rows of machines and schemas that tell no lives are the first of their keys.
    if SQLName(column.name) == SQLName(StreamSchema.lifeColumn) { return "\(column.name) TEXT NOT NULL DEFAULT ''" }
    if isPlainType(column.declaredType) { return "\(quoted(column.name)) \(column.declaredType)" }
    let affinity =
      switch column.affinity {
      case .integer: "INTEGER"
      case .text: "TEXT"
      case .blob: "BLOB"
      case .real: "REAL"
      case .numeric: "NUMERIC"
      }
    return "\(quoted(column.name)) \(affinity)"
  }

  /// Words that are no keywords, then perhaps one or two numbers in brackets: `type-name` of https://www.sqlite.org/syntax/type-name.html
  /// without signs and quotes.
  private static func isPlainType(_ type: String) -> Bool {
    guard type.utf8.count <= 64 else { return false }
    let parts = type.split(separator: "(", maxSplits: 1, omittingEmptySubsequences: false)
    let words = parts[0].split(separator: " ")
    guard words.allSatisfy(isPlainWord) else { return false }
    guard parts.count == 2 else { return true }
    guard !words.isEmpty, parts[1].last == ")" else { return false }
    let numbers = parts[1].dropLast().split(separator: ",", omittingEmptySubsequences: false)
    return numbers.count <= 2
      && numbers.allSatisfy { number in
        let digits = number.utf8.filter { $0 != UInt8(ascii: " ") }
        return (1...9).contains(digits.count) && number.utf8.count <= 12 && number.split(separator: " ").count == 1
          && digits.allSatisfy { (0x30...0x39).contains($0) }
      }
  }

  private static func isPlainWord(_ word: Substring) -> Bool {
    guard let first = word.utf8.first, !(0x30...0x39).contains(first),
      word.utf8.allSatisfy({
        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x5f
      })
    else { return false }
    return sqlite3_keyword_check(String(word), Int32(word.utf8.count)) == 0
  }
}
