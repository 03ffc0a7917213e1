// Reads JSON text once, from front to back, without building a tree: what a frame needs is a few numbers, and values that
// are slices of the message's own bytes. Strict (RFC 8259): whatever it lets pass, any other parser reads the same way.
// Why not json-c here: docs/decisions/0003-frames-are-scanned.md.

package import DroverCore
private import Foundation

/// Text that is not what was expected, with the offset of the byte where that was seen.
package struct WireError: Error, Equatable, CustomStringConvertible, Sendable {
  package let message: String
  package let offset: Int?
  package init(_ message: String, offset: Int? = nil) {
    self.message = message
    self.offset = offset
  }
  package var description: String { offset.map { "\(message) (at byte \($0))" } ?? message }
}

package struct JSONScanner {
  /// Deeper nesting than this is refused: it is no event, and would cost stack.
  package static let maximumDepth = 128

  private let source: ArraySlice<UInt8>
  package private(set) var index: Int

  package init(_ source: ArraySlice<UInt8>) {
    self.source = source
    self.index = source.startIndex
  }

  // MARK: Positions

  package var isAtEnd: Bool { index == source.endIndex }
  package mutating func rewind(to index: Int) { self.index = index }
  package func slice(from start: Int) -> ArraySlice<UInt8> { source[start..<index] }

  /// The next byte that is not white space, or nil at the end.
  package mutating func peek() -> UInt8? {
    source.withUnsafeBufferPointer { bytes in
      let base = source.startIndex
      while index < source.endIndex {
        let byte = bytes[index - base]
        guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return byte }
        index += 1
      }
      return nil
    }
  }

  package mutating func expect(_ character: Unicode.Scalar) throws(WireError) {
    guard peek() == UInt8(ascii: character) else { throw fault("expected '\(character)'") }
    index += 1
  }

  package mutating func accept(_ character: Unicode.Scalar) -> Bool {
    guard peek() == UInt8(ascii: character) else { return false }
    index += 1
    return true
  }

  package mutating func expectEnd() throws(WireError) {
    guard peek() == nil else { throw fault("more text behind the value") }
  }

  package func fault(_ message: String) -> WireError { WireError(message, offset: index - source.startIndex) }

  // MARK: Objects and arrays

  /// Calls `member` for each member of an object; it has to read the member's value.
  package mutating func readObject(
    _ member: (_ name: ArraySlice<UInt8>, _ scanner: inout JSONScanner) throws(WireError) -> Void
  ) throws(WireError) {
    try expect("{")
    if accept("}") { return }
    repeat {
      guard peek() == UInt8(ascii: "\"") else { throw fault("expected a member's name") }
      let name = try readString()
      try expect(":")
      try member(name, &self)
    } while accept(",")
    try expect("}")
  }

  /// Calls `element` for each element of an array; it has to read the element.
  package mutating func readArray(_ element: (inout JSONScanner) throws(WireError) -> Void) throws(WireError) {
    try expect("[")
    if accept("]") { return }
    repeat { try element(&self) } while accept(",")
    try expect("]")
  }

  /// Reads over one value of any kind and returns its text.
  package mutating func readRaw(depth: Int = 0) throws(WireError) -> ArraySlice<UInt8> {
    guard depth < Self.maximumDepth else { throw fault("nested more than \(Self.maximumDepth) deep") }
    guard let byte = peek() else { throw fault("the text ends where a value is expected") }
    let start = index
    switch byte {
    case UInt8(ascii: "{"):
      try readObject { (_, scanner) throws(WireError) in _ = try scanner.readRaw(depth: depth + 1) }
    case UInt8(ascii: "["):
      try readArray { (scanner) throws(WireError) in _ = try scanner.readRaw(depth: depth + 1) }
    case UInt8(ascii: "\""): try skipString()
    case UInt8(ascii: "t"): try readWord("true")
    case UInt8(ascii: "f"): try readWord("false")
    case UInt8(ascii: "n"): try readWord("null")
    default: _ = try readNumber()
    }
    return source[start..<index]
  }

  // MARK: Values

  /// - Parameter range: what can be true (`Bounds`).
  package mutating func readInt64(in range: ClosedRange<Int64>) throws(WireError) -> Int64 {
    let (integer, start) = try readInteger()
    guard range.contains(integer) else {
      index = start
      throw fault("\(integer) is not from \(range.lowerBound) to \(range.upperBound)")
    }
    return integer
  }

  /// The text of an integer that is not calculated with.
  package mutating func readIntegerText() throws(WireError) -> String { String(try readInteger().integer) }

  private mutating func readInteger() throws(WireError) -> (integer: Int64, start: Int) {
    _ = peek()
    let start = index
    guard case .integer(let integer) = try readNumber() else {
      index = start
      throw fault("expected an integer")
    }
    return (integer, start)
  }

  /// A string's bytes with its escapes resolved: a slice of the message where there are none.
  package mutating func readString() throws(WireError) -> ArraySlice<UInt8> {
    try expect("\"")
    let start = index
    try findEnd()
    guard source[index] == UInt8(ascii: "\"") else { return try readEscaped(from: start) }
    index += 1
    return source[start..<index - 1]
  }

  /// Goes to the end of a string, or to its first escape.
  private mutating func findEnd() throws(WireError) {
    index = source.withUnsafeBufferPointer { bytes in
      let base = source.startIndex
      var position = index - base
      while position < bytes.count {
        let byte = bytes[position]
        if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte < 0x20 { break }
        position += 1
      }
      return position + base
    }
    guard index < source.endIndex else { throw fault("a string without end") }
  }

  /// The rest of a string in which something is escaped.
  private mutating func readEscaped(from start: Int) throws(WireError) -> ArraySlice<UInt8> {
    var text = [UInt8](source[start..<index])
    while index < source.endIndex {
      let byte = source[index]
      index += 1
      switch byte {
      case UInt8(ascii: "\""): return text[...]
      case UInt8(ascii: "\\"): try readEscape(into: &text)
      case 0..<0x20:
        index -= 1
        throw fault("a control character in a string")
      default: text.append(byte)
      }
    }
    throw fault("a string without end")
  }

  /// Reads over a string whose meaning is not needed: half a surrogate pair, which SQLite's own JSON lets pass, may stand in it.
  private mutating func skipString() throws(WireError) {
    try expect("\"")
    while index < source.endIndex {
      let byte = source[index]
      index += 1
      switch byte {
      case UInt8(ascii: "\""): return
      case UInt8(ascii: "\\"):
        guard index < source.endIndex else { break }
        let escape = source[index]
        index += 1
        if escape == UInt8(ascii: "u") {
          _ = try readFourHexDigits()
        } else if !"\"\\/bfnrt".utf8.contains(escape) {
          throw fault("an unknown escape in a string")
        }
      case 0..<0x20: throw fault("a control character in a string")
      default: break
      }
    }
    throw fault("a string without end")
  }

  private mutating func readEscape(into text: inout [UInt8]) throws(WireError) {
    guard index < source.endIndex else { throw fault("a string without end") }
    let byte = source[index]
    index += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0c)
    case UInt8(ascii: "n"): text.append(0x0a)
    case UInt8(ascii: "r"): text.append(0x0d)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var code = try readFourHexDigits()
      if (0xd800...0xdbff).contains(code) {
        guard index + 1 < source.endIndex, source[index] == UInt8(ascii: "\\"), source[index + 1] == UInt8(ascii: "u")
        else { throw fault("half of a surrogate pair") }
        index += 2
        let low = try readFourHexDigits()
        guard (0xdc00...0xdfff).contains(low) else { throw fault("half of a surrogate pair") }
        code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw fault("half of a surrogate pair") }
      text.append(contentsOf: UTF8.encode(scalar)!)
    default:
      index -= 1
      throw fault("an unknown escape in a string")
    }
  }

  private mutating func readFourHexDigits() throws(WireError) -> UInt32 {
    guard index + 4 <= source.endIndex else { throw fault("a string without end") }
    var code: UInt32 = 0
    for _ in 0..<4 {
      let byte = source[index]
      let digit: UInt8
      switch byte {
      case 0x30...0x39: digit = byte - 0x30
      case 0x41...0x46: digit = byte - 0x37
      case 0x61...0x66: digit = byte - 0x57
      default: throw fault("expected four hexadecimal digits")
      }
      code = code << 4 | UInt32(digit)
      index += 1
    }
    return code
  }

  package mutating func readBool() throws(WireError) -> Bool {
    let isTrue = peek() == UInt8(ascii: "t")
    try readWord(isTrue ? "true" : "false")
    return isTrue
  }

  private mutating func readWord(_ word: StaticString) throws(WireError) {
    let end = index + word.utf8CodeUnitCount
    guard end <= source.endIndex,
      source[index..<end].elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    else { throw fault("expected a value") }
    index = end
  }

  /// A number: an integer where it is written as one, a double otherwise. An integer beyond 64 bits is an error here, and kept as it
  /// is written inside a body that need not be understood.
  private mutating func readNumber() throws(WireError) -> Value {
    let start = index
    var magnitude: UInt64 = 0
    var overflow = false
    let isNegative = index < source.endIndex && source[index] == UInt8(ascii: "-")
    if isNegative { index += 1 }
    let firstDigit = index
    while index < source.endIndex, case 0x30...0x39 = source[index] {
      let (product, wide) = magnitude.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(source[index] - 0x30))
      overflow = overflow || wide || carry
      magnitude = sum
      index += 1
    }
    let digits = index - firstDigit
    guard digits > 0, digits == 1 || source[firstDigit] != 0x30 else {
      index = start
      throw fault("expected a value")
    }
    var isReal = false
    if index < source.endIndex, source[index] == UInt8(ascii: ".") {
      isReal = true
      index += 1
      let fraction = index
      try readDigits()
      if digits + index - fraction <= Self.exactDigits,
        index == source.endIndex || source[index] | 0x20 != UInt8(ascii: "e")
      {
        return .real(decimal(magnitude, fraction: source[fraction..<index], isNegative))
      }
    }
    if index < source.endIndex, source[index] | 0x20 == UInt8(ascii: "e") {
      isReal = true
      index += 1
      if index < source.endIndex, source[index] == UInt8(ascii: "+") || source[index] == UInt8(ascii: "-") {
        index += 1
      }
      try readDigits()
    }
    if !isReal, !overflow {
      if isNegative, magnitude <= UInt64(Int64.max) + 1 { return .integer(Int64(truncatingIfNeeded: 0 &- magnitude)) }
      if !isNegative, magnitude <= UInt64(Int64.max) { return .integer(Int64(magnitude)) }
    }
    return .real(Double(String(decoding: source[start..<index], as: UTF8.self))!)
  }

  /// So many digits are an integer that a double holds as it is, and the power of ten by which it is divided is exact too: then the
  /// quotient is the nearest double (Clinger, "How to Read Floating Point Numbers Accurately", 1990).
  private static let exactDigits = 15
  private static let powersOfTen: [Double] = (0...exactDigits).map { power in
    (0..<power).reduce(1.0) { product, _ in product * 10 }
  }

  private func decimal(_ whole: UInt64, fraction: ArraySlice<UInt8>, _ isNegative: Bool) -> Double {
    let digits = fraction.reduce(whole) { $0 * 10 + UInt64($1 - 0x30) }
    let magnitude = Double(digits) / Self.powersOfTen[fraction.count]
    return isNegative ? -magnitude : magnitude
  }

  private mutating func readDigits() throws(WireError) {
    let start = index
    while index < source.endIndex, case 0x30...0x39 = source[index] { index += 1 }
    guard index > start else { throw fault("expected a digit") }
  }

  /// A value of a row: what `JSONWriter` writes, and true and false as 1 and 0.
  package mutating func readValue() throws(WireError) -> Value {
    if peek() == UInt8(ascii: "\"") { return .text(try readString()) }
    return try readOther()
  }

  /// Reads a value of a row and adds it to others.
  package mutating func readValue(into values: ValueStore) throws(WireError) {
    guard peek() == UInt8(ascii: "\"") else { return values.append(try readOther()) }
    index += 1
    let start = index
    try findEnd()
    if source[index] == UInt8(ascii: "\"") {
      source.withUnsafeBytes { bytes in
        values.append(
          lent: .text(UnsafeRawBufferPointer(rebasing: bytes[start - source.startIndex..<index - source.startIndex])))
      }
      index += 1
    } else {
      values.append(.text(try readEscaped(from: start)))
    }
  }

  private mutating func readOther() throws(WireError) -> Value {
    guard let byte = peek() else { throw fault("the text ends where a value is expected") }
    switch byte {
    case UInt8(ascii: "n"):
      try readWord("null")
      return .null
    case UInt8(ascii: "t"):
      try readWord("true")
      return .integer(1)
    case UInt8(ascii: "f"):
      try readWord("false")
      return .integer(0)
    case UInt8(ascii: "{"): return try readTagged()
    case UInt8(ascii: "["): throw fault("an array is no value of a column")
    default:
      let start = index
      let value = try readNumber()
      if case .real(let real) = value {
        let text = source[start..<index]
        guard text.contains(where: { $0 == UInt8(ascii: ".") || $0 | 0x20 == UInt8(ascii: "e") }) else {
          throw fault("an integer of more than 64 bits")
        }
        guard real.isFinite else { throw fault("a number beyond every double") }
      }
      return value
    }
  }

  private mutating func readTagged() throws(WireError) -> Value {
    var value: Value?
    let start = index
    try readObject { (name, scanner) throws(WireError) in
      let tag = String(decoding: name, as: UTF8.self)
      guard value == nil, tag == "$blob" || tag == "$text" || tag == "$real", scanner.peek() == UInt8(ascii: "\"")
      else {
        throw scanner.fault("an object is no value of a column, but for $blob, $text and $real")
      }
      let text = String(decoding: try scanner.readString(), as: UTF8.self)
      switch (tag, text) {
      case ("$real", "inf"): value = .real(.infinity)
      case ("$real", "-inf"): value = .real(-.infinity)
      case ("$blob", _), ("$text", _):
        guard let data = Data(base64Encoded: text) else { throw scanner.fault("\(tag) holds no base64") }
        value = tag == "$blob" ? .blob(ArraySlice(data)) : .text(ArraySlice(data))
      default: throw scanner.fault("$real holds inf or -inf")
      }
    }
    guard let value else {
      index = start
      throw fault("an object is no value of a column, but for $blob, $text and $real")
    }
    return value
  }
}
