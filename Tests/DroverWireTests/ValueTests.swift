// Every value of SQLite survives the trip, bit for bit, and reads well on the way.

import DroverCore
import DroverTesting
import DroverWire
import Foundation
import Testing

@Suite struct ValueTests {
  private func expectTrip(_ value: Value, _ comment: Comment? = nil) throws {
    let bytes = Samples.bytes(value)
    #expect(String(validating: bytes, as: UTF8.self) != nil, comment)
    var scanner = JSONScanner(bytes[...])
    let read = try scanner.readValue()
    #expect(read == value, comment)
    #expect(scanner.isAtEnd, comment)
    // Any other parser takes it too.
    #expect(throws: Never.self, comment) {
      try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
    }
  }

  @Test(arguments: Samples.integers) func `a 64-bit integer survives`(integer: Int64) throws {
    #expect(Samples.bytes(.integer(integer)) == Array(String(integer).utf8))
    try expectTrip(.integer(integer))
  }

  @Test(arguments: Samples.reals) func `a double survives with all its bits`(real: Double) throws {
    try expectTrip(.real(real))
  }

  @Test func `a real stays a real and an integer an integer`() throws {
    for real in [1.0, -0.0, 1e15, 1e300, 9_007_199_254_740_992] {
      var scanner = JSONScanner(Samples.bytes(.real(real))[...])
      guard case .real = try scanner.readValue() else {
        Issue.record("\(real) came back as something else")
        continue
      }
    }
  }

  @Test(arguments: Samples.texts) func `a text survives`(text: String) throws {
    try expectTrip(.text(text))
    try expectTrip(.text(text + "x" + text))
  }

  @Test(arguments: Samples.notUTF8) func `a text that is not UTF-8 survives as its bytes`(bytes: [UInt8]) throws {
    try expectTrip(.text(bytes[...]))
    try expectTrip(.text((Array("abc".utf8) + bytes + Array("\"".utf8))[...]))
  }

  @Test func `every byte survives in a text and in a blob`() throws {
    for byte in UInt8.min ... .max {
      try expectTrip(.text([byte]))
      try expectTrip(.blob([byte]))
      try expectTrip(.blob([byte, byte, 0]))
    }
    try expectTrip(.blob([]))
    try expectTrip(.text(""))
    try expectTrip(.null)
  }

  @Test func `random values survive`() throws {
    var random = Seeded(5)
    for number in 0..<4000 { try expectTrip(random.value(), "number \(number) of seed 5") }
  }

  @Test func `a slice of a larger buffer is written by its own bounds`() throws {
    let buffer = Array("xx\"a\u{e9}\"yy".utf8)
    try expectTrip(.text(buffer[2..<7]))
    try expectTrip(.blob(buffer[2..<7]))
    #expect(Samples.bytes(.blob(buffer[3..<4])) == Array(#"{"$blob":"YQ=="}"#.utf8))
  }

  @Test(arguments: [
    (Value.null, "null"), (.integer(-7), "-7"), (.real(2.5), "2.5"), (.real(-0.0), "-0.0"),
    (.real(.infinity), #"{"$real":"inf"}"#),
    (.real(-.infinity), #"{"$real":"-inf"}"#), (.text("MAH-7"), #""MAH-7""#), (.text("größe 🐄"), #""größe 🐄""#),
    (.text("a\"b\\c/d\n\t\r"), #""a\"b\\c/d\n\t\r""#), (.text("\0\u{1f}\u{7f}"), #""\u0000\u001f\u007f""#),
    (.text("\u{7f}"), #""\u007f""#),
    (.text([0x61, 0xff]), #"{"$text":"Yf8="}"#), (.blob([0, 1, 2]), #"{"$blob":"AAEC"}"#),
  ])
  func `values read as a person expects`(value: Value, text: String) {
    #expect(String(decoding: Samples.bytes(value), as: UTF8.self) == text)
  }

  @Test(arguments: [
    ("true", Value.integer(1)), ("false", .integer(0)), ("1e2", .real(100)), ("1E+2", .real(100)), ("1.0", .real(1)),
    ("-0", .integer(0)),
    ("-0.0", .real(-0.0)), ("-0e5", .real(-0.0)), ("1e-400", .real(0)), (#""\u00e9\ud83d\udc04\/""#, .text("é🐄/")),
    (#" {"$blob" : "AA=="} "#, .blob([0])), (#"{"$text":""}"#, .text("")), ("\t\r\n null", .null),
    ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
    ("0.000000000000000000000000000000000000001e39", .real(1)),
  ])
  func `other writers' forms are understood`(text: String, value: Value) throws {
    var scanner = JSONScanner(text)
    #expect(try scanner.readValue() == value)
    #expect(throws: Never.self) { try scanner.expectEnd() }
  }

  @Test(arguments: [
    "[]", "[1]", "{}", #"{"a":1}"#, #"{"$blob":1}"#, #"{"$blob":null}"#, #"{"$blob":"A"}"#, #"{"$blob":"AA="}"#,
    #"{"$blob":"*A=="}"#,
    #"{"$blob":"AA==","$blob":"AA=="}"#, #"{"$blob":"AA==","x":1}"#, #"{"$real":"nan"}"#, #"{"$real":"Inf"}"#,
    #"{"$real":1}"#,
    #"{"$text":{}}"#, #"{"$Blob":"AA=="}"#, "1e400", "-1e400", "9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "99999999999999999999999999", #""\ud800""#, #""\udc00""#, #""\ud83dx""#, #""\ud83d\u0041""#,
    #""\ud83d\ud83d""#,
    "",
  ])
  func `what no column can hold is refused, not bent`(text: String) {
    var scanner = JSONScanner(text)
    #expect(throws: WireError.self) { try scanner.readValue() }
  }
}
