// Dead letters as JSON: one form for `drover dead list --json` and for the HTTP server.

package import DroverCore

extension KeptLetter {
  /// All that is known of a letter but what it carries.
  package var members: [(String, JSON)] {
    [
      ("id", .integer(id)), ("machine", machine.map { .string($0.text) } ?? .null),
      ("stream", stream.map { .string($0.text) } ?? .null), ("reason", .string(reason)), ("detail", .string(detail)),
      ("count", .integer(Int64(count))), ("bytes", .integer(Int64(bytes))),
      ("topic", topic.map { .string($0) } ?? .null),
      ("first_seen", .string(Timestamp.text(microseconds: firstAt))),
      ("last_seen", .string(Timestamp.text(microseconds: lastAt))),
      ("replayed", replayedAt.map { .string(Timestamp.text(microseconds: $0)) } ?? .null),
    ]
  }

  package var json: JSON { .object(members) }
}

extension LetterContent {
  package var members: [(String, JSON)] {
    switch self {
    case .message(let raw, let isCut):
      let text = String(validating: raw, as: UTF8.self)
      return [
        ("raw", text.map { .string($0) } ?? .null), ("raw_hex", text == nil ? .string(hexadecimal(raw)) : .null),
        ("is_cut", .bool(isCut)),
      ]
    case .entry(let seq, let operation, let version, let key, let body, let row):
      return [
        ("seq", .integer(seq)), ("op", .string(operation)), ("version", .integer(version)),
        ("key", .array(key.map { .string(valueText($0)) })),
        ("body", body.map { .string(String(decoding: $0, as: UTF8.self)) } ?? .null),
        ("row", row.isEmpty ? .null : .object(row.map { ($0.name, .string(valueText($0.value))) })),
      ]
    }
  }
}

/// A value as frames write it.
package func valueText(_ value: Value) -> String {
  var bytes: [UInt8] = []
  JSONWriter.write(value, into: &bytes)
  return String(decoding: bytes, as: UTF8.self)
}

package func hexadecimal(_ bytes: [UInt8]) -> String {
  let digits = Array("0123456789abcdef".utf8)
  var text: [UInt8] = []
  text.reserveCapacity(bytes.count * 2)
  for byte in bytes {
    text.append(digits[Int(byte >> 4)])
    text.append(digits[Int(byte & 15)])
  }
  return String(decoding: text, as: UTF8.self)
}
