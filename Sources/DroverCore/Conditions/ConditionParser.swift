// Reads a condition from its text. The grammar is what stands in docs/configuration.md, section "Conditions", and no more: no functions, no
// arithmetic, no subqueries. A text may come from any machine, so its length and depth are bounded.

/// Text that is no condition: what was expected, and where.
package struct ConditionError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Where, in characters from 1.
  package let position: Int
  package let expected: String
  package let found: String

  package var description: String { "expected \(expected) at character \(position); found \(found)" }
}

extension Condition {
  /// The longest text, in bytes, as given and as it travels. SQLite's own bound for an expression's depth, 1000, is far above what fits.
  package static let maximumBytes = 4096
  /// The deepest nesting of NOT, AND and OR.
  package static let maximumDepth = 32

  package init(parsing text: String) throws(ConditionError) {
    try Self.checkLength(of: text)
    var parser = Parser(tokens: try Tokens(text))
    self = try parser.readAny(depth: 0)
    try parser.expectEnd()
    // What is read here has to be readable again as it travels.
    guard depth <= Self.maximumDepth else {
      throw ConditionError(position: 1, expected: "nesting at most \(Self.maximumDepth) deep", found: "\(depth)")
    }
    try Self.checkLength(of: self.text)
  }

  private static func checkLength(of text: String) throws(ConditionError) {
    let count = text.utf8.count
    guard count <= maximumBytes else {
      throw ConditionError(
        position: 1, expected: "a condition of at most \(maximumBytes) bytes", found: "\(count)")
    }
  }
}

private enum Token: Equatable {
  /// A word without quotes: a keyword in upper case, or a name.
  case word(String)
  case quotedName(String)
  case literal(Value)
  /// An operator, parenthesis or comma.
  case symbol(String)
  case end

  static let keywords: Set = ["AND", "OR", "NOT", "IS", "IN", "NULL"]

  func isKeyword(_ keyword: String) -> Bool {
    if case .word(let word) = self { word.uppercased() == keyword } else { false }
  }
}

/// The text in pieces, each with its place and as it is written.
private struct Tokens {
  struct Piece {
    let token: Token
    let position: Int
    let text: String
  }

  private(set) var pieces: [Piece] = []
  private let characters: [Unicode.Scalar]
  private var index = 0

  init(_ text: String) throws(ConditionError) {
    characters = Array(text.unicodeScalars)
    repeat {
      while index < characters.count, characters[index].properties.isWhitespace { index += 1 }
      let start = index
      let token = try read()
      pieces.append(
        Piece(
          token: token, position: start + 1,
          text: token == .end ? "the end" : String(String.UnicodeScalarView(characters[start..<index]))))
    } while pieces.last?.token != .end
  }

  private func fault(_ expected: String, at start: Int) -> ConditionError {
    let found = start < characters.count ? String(String.UnicodeScalarView(characters[start...].prefix(20))) : "the end"
    return ConditionError(position: start + 1, expected: expected, found: found)
  }

  private func peek(_ offset: Int = 0) -> Unicode.Scalar? {
    characters.indices.contains(index + offset) ? characters[index + offset] : nil
  }

  private mutating func read() throws(ConditionError) -> Token {
    guard let next = peek() else { return .end }
    switch next {
    case "\"": return .quotedName(try readQuoted("\"", "a name"))
    case "'": return .literal(.text(try readQuoted("'", "a text")))
    case "x" where peek(1) == "'", "X" where peek(1) == "'":
      index += 1
      return .literal(.blob(try readHexadecimal()))
    case "0"..."9", "-", "+": return .literal(try readNumber())
    case "(", ")", ",", "=":
      index += 1
      return .symbol(String(next))
    case "<", ">":
      index += 1
      guard let second = peek(), second == "=" || next == "<" && second == ">" else { return .symbol(String(next)) }
      index += 1
      return .symbol(String(next) + String(second))
    default: break
    }
    let start = index
    while let scalar = peek(), Self.isOfName(scalar) { index += 1 }
    guard index > start else { throw fault("a column, a value or an operator", at: start) }
    return .word(String(String.UnicodeScalarView(characters[start..<index])))
  }

  private static func isOfName(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "a"..."z", "A"..."Z", "0"..."9", "_", "$": true
    default: scalar.value > 0x9f && !scalar.properties.isWhitespace
    }
  }

  /// What stands between two quotes; a doubled one is one of it.
  private mutating func readQuoted(_ quote: Unicode.Scalar, _ what: String) throws(ConditionError) -> String {
    let start = index
    var text = String.UnicodeScalarView()
    index += 1
    while let scalar = peek() {
      index += 1
      guard scalar.value != 0 else { throw fault("\(what) without NUL", at: index - 1) }
      if scalar != quote {
        text.append(scalar)
      } else if peek() == quote {
        text.append(quote)
        index += 1
      } else {
        guard quote == "'" || !text.isEmpty else { throw fault("a name", at: start) }
        return String(text)
      }
    }
    throw fault("\(what) that ends with \(quote)", at: start)
  }

  private mutating func readHexadecimal() throws(ConditionError) -> ArraySlice<UInt8> {
    let start = index
    let digits = Array(try readQuoted("'", "a blob").utf8)
    guard digits.count % 2 == 0 else { throw fault("two digits for each byte of a blob", at: start) }
    var bytes: [UInt8] = []
    for first in stride(from: 0, to: digits.count, by: 2) {
      // Not by UInt8(_:radix:) alone, which takes a sign.
      guard let byte = UInt8(String(decoding: digits[first...first + 1], as: UTF8.self), radix: 16),
        digits[first] != UInt8(ascii: "+"), digits[first] != UInt8(ascii: "-")
      else { throw fault("hexadecimal digits", at: start + 1 + first) }
      bytes.append(byte)
    }
    return bytes[...]
  }

  private mutating func readNumber() throws(ConditionError) -> Value {
    let start = index
    if peek() == "-" || peek() == "+" { index += 1 }
    func isDigit(_ scalar: Unicode.Scalar?) -> Bool { scalar.map { ("0"..."9").contains($0) } ?? false }
    guard isDigit(peek()) else { throw fault("a number", at: start) }
    var isReal = false
    while isDigit(peek()) { index += 1 }
    if peek() == ".", isDigit(peek(1)) {
      isReal = true
      index += 1
      while isDigit(peek()) { index += 1 }
    }
    if peek() == "e" || peek() == "E" {
      let sign = peek(1) == "-" || peek(1) == "+" ? 1 : 0
      if isDigit(peek(1 + sign)) {
        isReal = true
        index += 1 + sign
        while isDigit(peek()) { index += 1 }
      }
    }
    if let next = peek(), Self.isOfName(next) || next == "." { throw fault("a number", at: start) }
    let text = String(String.UnicodeScalarView(characters[start..<index]))
    if isReal {
      guard let real = Double(text), real.isFinite else {
        throw fault("a number within the range of a double", at: start)
      }
      return .real(real)
    }
    guard let integer = Int64(text) else { throw fault("an integer of at most 64 bits", at: start) }
    return .integer(integer)
  }
}

private struct Parser {
  private let pieces: [Tokens.Piece]
  private var index = 0

  init(tokens: Tokens) { pieces = tokens.pieces }

  private var next: Tokens.Piece { pieces[index] }

  private func fault(_ expected: String) -> ConditionError {
    ConditionError(position: next.position, expected: expected, found: next.text)
  }

  private mutating func accept(_ keyword: String) -> Bool {
    guard next.token.isKeyword(keyword) else { return false }
    index += 1
    return true
  }

  private mutating func acceptSymbol(_ symbol: String) -> Bool {
    guard next.token == .symbol(symbol) else { return false }
    index += 1
    return true
  }

  func expectEnd() throws(ConditionError) {
    guard next.token == .end else { throw fault("AND, OR or the end") }
  }

  mutating func readAny(depth: Int) throws(ConditionError) -> Condition {
    var terms = [try readAll(depth: depth)]
    while accept("OR") { terms.append(try readAll(depth: depth)) }
    return terms.count == 1 ? terms[0] : .any(terms)
  }

  private mutating func readAll(depth: Int) throws(ConditionError) -> Condition {
    var terms = [try readTerm(depth: depth)]
    while accept("AND") { terms.append(try readTerm(depth: depth)) }
    return terms.count == 1 ? terms[0] : .all(terms)
  }

  private mutating func readTerm(depth: Int) throws(ConditionError) -> Condition {
    // Superfluous parentheses count here, and no more of them than the stack bears.
    guard depth <= 2 * Condition.maximumDepth else { throw fault("nesting at most \(Condition.maximumDepth) deep") }
    if accept("NOT") { return .not(try readTerm(depth: depth + 1)) }
    guard acceptSymbol("(") else { return try readComparison() }
    let inner = try readAny(depth: depth + 1)
    guard acceptSymbol(")") else { throw fault("AND, OR or )") }
    return inner
  }

  private mutating func readComparison() throws(ConditionError) -> Condition {
    let left = try readOperand("a column, a value, NOT or (")
    if accept("IS") {
      let comparison: Condition.Comparison = accept("NOT") ? .different : .same
      if accept("NULL") { return .comparison(left, comparison, .literal(.null)) }
      return .comparison(left, comparison, try readOperand("NULL, a column or a value"))
    }
    let isNegated = accept("NOT")
    if accept("IN") {
      let among = Condition.among(left, try readList())
      return isNegated ? .not(among) : among
    }
    guard !isNegated else { throw fault("IN") }
    guard case .symbol(let symbol) = next.token, let comparison = Condition.Comparison(rawValue: symbol) else {
      throw fault("=, <>, <, <=, >, >=, IS or IN")
    }
    index += 1
    return .comparison(left, comparison, try readOperand("a column or a value"))
  }

  private mutating func readList() throws(ConditionError) -> [Condition.Operand] {
    guard acceptSymbol("(") else { throw fault("(") }
    var values: [Condition.Operand] = []
    repeat { values.append(try readOperand("a column or a value")) } while acceptSymbol(",")
    guard acceptSymbol(")") else { throw fault(", or )") }
    return values
  }

  private mutating func readOperand(_ expected: String) throws(ConditionError) -> Condition.Operand {
    let operand: Condition.Operand
    switch next.token {
    case .literal(let value): operand = .literal(value)
    case .quotedName(let name): operand = .column(name)
    case .word(let word) where word.uppercased() == "NULL":
      throw fault("\(expected); nothing equals NULL, so use IS NULL")
    case .word(let word) where !Token.keywords.contains(word.uppercased()): operand = .column(word)
    default: throw fault(expected)
    }
    index += 1
    return operand
  }
}
