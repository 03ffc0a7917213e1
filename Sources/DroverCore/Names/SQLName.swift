/// A column's name as SQLite compares it: by bytes, without the case of ASCII letters and of no others. To Swift `Ä` in lower case is `ä`, and
/// `é` is the same text however it is composed; to SQLite these are different columns.
package struct SQLName: Hashable, Sendable, CustomStringConvertible {
  /// The name with its ASCII letters in lower case.
  package let text: String

  package init(_ name: String) {
    text = String(decoding: name.utf8.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
  }

  package static func == (a: Self, b: Self) -> Bool { a.text.isExactly(b.text) }
  package func hash(into hasher: inout Hasher) { ExactText(text).hash(into: &hasher) }
  package var description: String { text }
}

/// A name as SQL takes it, whatever it is made of.
package func quoted(_ identifier: String) -> String { doubling("\"", in: identifier) }

/// A text as an SQL literal, for statements that take no parameters (triggers).
package func literal(_ text: String) -> String { doubling("'", in: text) }

/// By bytes: to Swift a quote with a combining mark behind it is another Character, and to SQL it ends the name.
private func doubling(_ quote: Unicode.Scalar, in text: String) -> String {
  let quote = UInt8(ascii: quote)
  return String(decoding: [quote] + text.utf8.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote], as: UTF8.self)
}
