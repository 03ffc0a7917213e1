// Text of the configuration with names in braces, as `{"limit": {limit}, "scada": "{machine}"}`. Braces around anything else are text: JSON is full of them.

package struct EndpointTemplate: Equatable, Sendable {
  package let text: String

  package init(_ text: String) { self.text = text }

  package func has(_ name: String) -> Bool { text.utf8.firstRange(of: Array("{\(name)}".utf8)) != nil }

  /// Replaces each name by its value. A value's own braces are left as they are.
  package func filled(_ values: [(name: String, value: [UInt8])]) -> [UInt8] {
    let source = Array(text.utf8)
    let names = values.map { (token: Array("{\($0.name)}".utf8), value: $0.value) }
    var out: [UInt8] = []
    var index = 0
    while index < source.count {
      if source[index] == UInt8(ascii: "{"), let found = names.first(where: { source[index...].starts(with: $0.token) })
      {
        out += found.value
        index += found.token.count
      } else {
        out.append(source[index])
        index += 1
      }
    }
    return out
  }
}

extension Collection where Element == UInt8, Index == Int {
  fileprivate func firstRange(of other: [UInt8]) -> Range<Int>? {
    guard other.count <= count else { return nil }
    for start in startIndex...(endIndex - other.count) where self[start..<endIndex].starts(with: other) {
      return start..<(start + other.count)
    }
    return nil
  }
}
