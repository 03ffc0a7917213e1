// Values, schemas and frames for the tests of the wire, random under a seed and with the awkward cases among them.

import DroverCore
import DroverTesting
import DroverWire

extension Seeded {
  mutating func value() -> Value {
    switch Int.random(in: 0..<6, using: &self) {
    case 0: .null
    case 1: .integer(integer())
    case 2: .real(real())
    case 3: .text(text())
    case 4: .text(ArraySlice(bytes(most: 12)))
    default: .blob(ArraySlice(bytes(most: 12)))
    }
  }

  mutating func integer() -> Int64 {
    switch Int.random(in: 0..<3, using: &self) {
    case 0: Samples.integers.randomElement(using: &self)!
    case 1: .random(in: -1000...1000, using: &self)
    default: .random(in: .min ... .max, using: &self)
    }
  }

  /// Any double but NaN, which SQLite has not.
  mutating func real() -> Double {
    if percent(30) { return Samples.reals.randomElement(using: &self)! }
    let real = Double(bitPattern: next())
    return real.isNaN ? -0.0 : real
  }

  mutating func text() -> String {
    var text = ""
    for _ in 0..<Int.random(in: 0...8, using: &self) {
      text += percent(50) ? Samples.texts.randomElement(using: &self)! : String(scalar())
    }
    return text
  }

  mutating func bytes(most: Int) -> [UInt8] {
    (0..<Int.random(in: 0...most, using: &self)).map { _ in .random(in: .min ... .max, using: &self) }
  }

  private mutating func scalar() -> Unicode.Scalar {
    while true {
      if let scalar = Unicode.Scalar(UInt32.random(in: 0...(percent(70) ? 0x7f : 0x10ffff), using: &self)) {
        return scalar
      }
    }
  }

  /// A batch with one or two tables of lines.
  mutating func unitSchema() -> StreamSchema {
    while true {
      let header = schema(kind: .batch)
      let lines = (0..<Int.random(in: 1...2, using: &self)).compactMap { number -> LineSchema? in
        let columns = schema().columns
        return try? LineSchema(
          table: StreamName("lines \"\(number)"), columns: columns, key: [columns.count - 1],
          references: Array(columns.indices.shuffled(using: &self).prefix(header.key.count)))
      }
      if !lines.isEmpty,
        let unit = try? StreamSchema(
          kind: .batch, columns: header.columns, key: header.key, completeWhen: header.completeWhen, lines: lines)
      {
        return unit
      }
    }
  }

  mutating func schema(kind: Kind? = nil) -> StreamSchema {
    while true {
      let columns = (0..<Int.random(in: 1...6, using: &self)).map { _ in
        Column(
          name: percent(50) ? text() : "c\(Int.random(in: 0..<100, using: &self))",
          declaredType: ["INTEGER", "TEXT", "REAL", "BLOB", "", "NUMERIC", "VARCHAR(9)"].randomElement(using: &self)!)
      }
      let key = Array(columns.indices.shuffled(using: &self).prefix(Int.random(in: 1...columns.count, using: &self)))
      if let schema = try? StreamSchema(
        kind: kind ?? Kind.allCases.randomElement(using: &self)!, columns: columns, key: key,
        completeWhen: kind == .batch && percent(50)
          ? .comparison(.column(columns[0].name), .same, .literal(.integer(1))) : nil)
      {
        return schema
      }
    }
  }
}

enum Samples {
  static let integers: [Int64] = [
    0, 1, -1, 9, 10, -9, -10, 99, 100, 1 << 53, (1 << 53) + 1, -(1 << 53) - 1, .max, .max - 1, .min, .min + 1,
    999_999_999_999_999_999, 1_000_000_000_000_000_000, Int64(UInt32.max), -Int64(UInt32.max),
  ]

  static let reals: [Double] = [
    0.0, -0.0, 1, -1, 0.1, 0.2, 0.1 + 0.2, 1e15, 1e16, 1e17, 9_007_199_254_740_992, 1e21, 1e22, 1e-5, 1e-4,
    .leastNonzeroMagnitude,
    -.leastNonzeroMagnitude, .ulpOfOne,
    .leastNormalMagnitude, .leastNormalMagnitude.nextDown, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
    .infinity, -.infinity,
    .pi, 123_456_789_012_345_680, Double(Int64.max), Double(Int64.min),
  ]

  static let texts: [String] = [
    "", " ", "\0", "\u{1}", "\u{1f}", "\u{7f}", "\"", "\\", "\\\"", "/", "\n", "\r\n", "\t", "\u{8}", "\u{c}", "é",
    "e\u{301}",
    "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{2028}", "\u{feff}", "\u{10ffff}", "🐄", "👩🏽‍🌾", "倉庫", "null",
    "{\"$blob\":\"AA==\"}", "\\u0000", "[", "7",
  ]

  /// Byte sequences that are no UTF-8: stray and missing continuations, overlong forms, halves of surrogates, beyond U+10FFFF.
  static let notUTF8: [[UInt8]] = [
    [0x80], [0xff], [0xc3], [0xc0, 0x80], [0xc1, 0xbf], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xed, 0xb0, 0x80],
    [0xed, 0xa0, 0xbd, 0xed, 0xb0, 0x84], [0xf0, 0x80, 0x80, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xe2, 0x82],
    [0xf8, 0x88, 0x80, 0x80, 0x80],
    [0x22, 0xfe, 0x22],
  ]

  static let epoch = try! Epoch("3f9c2a")
  static let machine = try! MachineID("MAH001")

  static func stream(_ schema: StreamSchema?, kind: Kind = .snapshot) -> EdgeStream {
    EdgeStream(
      number: 1,
      StreamDeclaration(
        name: try! StreamName("stock"), kind: schema?.kind ?? kind, table: schema == nil ? nil : "stock"),
      schema: schema)
  }

  static func schema(
    _ columns: [(String, String)], key: [Int] = [0], kind: Kind = .snapshot, completeWhen: String? = nil
  ) -> StreamSchema {
    try! StreamSchema(
      kind: kind, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: key,
      completeWhen: completeWhen.map { try! Condition(parsing: $0) })
  }

  static func bytes(_ value: Value) -> [UInt8] {
    var bytes: [UInt8] = []
    JSONWriter.write(value, into: &bytes)
    return bytes
  }
}

extension JSONScanner {
  init(_ text: String) { self.init(ArraySlice(text.utf8)) }
}

extension DecodedMessage {
  var frame: DecodedFrame? { if case .frame(let frame) = self { frame } else { nil } }
  var bare: Event? { if case .bare(let event) = self { event } else { nil } }
}
