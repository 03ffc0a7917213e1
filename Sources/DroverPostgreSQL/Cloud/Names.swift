// Names in PostgreSQL: at most 63 bytes, and no column named like one that every table has
// (https://www.postgresql.org/docs/current/ddl-system-columns.html). What does not pass bears a name made of its hash.

import DroverCore

enum Names {
  private static let systemColumns: Set<String> = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"]

  /// A source's column as it is named in the sink table; no source has a column named drover_….
  static func column(_ name: String) -> String {
    systemColumns.contains(name) || name.utf8.count > 63 ? "drover_column_\(hash(name))" : name
  }

  /// A table or an index.
  static func relation(_ name: String) -> String {
    guard name.utf8.count > 63 else { return name }
    // Cut between two characters.
    var beginning = ""
    for character in name.unicodeScalars {
      guard beginning.utf8.count + UTF8.width(character) <= 46 else { break }
      beginning.unicodeScalars.append(character)
    }
    return "\(beginning)_\(hash(name))"
  }

  /// A temporary table with these columns.
  static func stage(of definition: String) -> String { "pg_temp.drover_stage_\(hash(definition))" }

  private static func hash(_ name: String) -> String {
    var hash = FNV1a()
    hash.combine(name)
    return hash.hexadecimal
  }
}

extension String {
  /// Text for people, in which PostgreSQL takes no NUL.
  var withoutNUL: String { replacing(0, with: "\u{fffd}") }

  /// Text that has to come back as it was: NUL, and the backslash that stands for it, are escaped.
  var escaped: String { replacing(UInt8(ascii: "\\"), with: "\\\\").replacing(0, with: "\\0") }

  /// By bytes: a character that is combined with the next is another one to Swift.
  private func replacing(_ byte: UInt8, with text: String) -> String {
    guard utf8.contains(byte) else { return self }
    return String(decoding: utf8.flatMap { $0 == byte ? Array(text.utf8) : [$0] }, as: UTF8.self)
  }

  var unescaped: String {
    guard utf8.contains(UInt8(ascii: "\\")) else { return self }
    var bytes: [UInt8] = []
    var isEscape = false
    for byte in utf8 {
      if !isEscape, byte == UInt8(ascii: "\\") {
        isEscape = true
        continue
      }
      bytes.append(isEscape && byte == UInt8(ascii: "0") ? 0 : byte)
      isEscape = false
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
