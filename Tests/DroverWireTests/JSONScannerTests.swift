// The scanner is as strict as RFC 8259: what it lets pass, any other parser reads the same way. The cases are those of
// JSONTestSuite (Nicolas Seriot, "Parsing JSON is a Minefield"), written down from the grammar.

import DroverCore
import DroverWire
import Foundation
import Testing

@Suite struct JSONScannerTests {
  private static func nested(_ depth: Int, _ open: String, _ close: String, inside: String = "") -> String {
    String(repeating: open, count: depth) + inside + String(repeating: close, count: depth)
  }

  static let valid: [String] = [
    "[[]   ]", "[]", #"[""]"#, #"["a"]"#, "[false]", "[null, 1, \"1\", {}]", "[null]", "[1\n]", " [1]",
    "[1,null,null,null,2]", "[2] ",
    "[0e+1]", "[0e1]", "[ 4]", "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]",
    "[20e1]", "[-0]", "[-123]", "[-1]", "[1E22]", "[1E-2]", "[1E+2]", "[123e45]", "[123.456e78]", "[1e-2]", "[1e+2]",
    "[123]", "[123.456789]",
    "[1e400]", "[-1e400]", "[1e-400]", "[123456789012345678901234567890]", "[-9223372036854775809]", "[0.0]",
    "[-0.0e-0]",
    #"{"asd":"sdf", "dfg":"fgh"}"#, #"{"asd":"sdf"}"#, #"{"a":"b","a":"c"}"#, #"{"a":"b","a":"b"}"#, "{}", #"{"":0}"#,
    #"{"foo\u0000bar": 42}"#,
    #"{ "min": -1.0e+28, "max": 1.0e+28 }"#, #"{"a":[]}"#, "{\n\"a\": \"b\"\n}", #"{"title":"\u041f\u043e"}"#,
    #"["\u0060\u012a\u12AB"]"#, #"["\uD801\udc37"]"#, #"["\ud83d\ude39\ud83d\udc8d"]"#, #"["\"\\\/\b\f\n\r\t"]"#,
    #"["\\u0000"]"#, #"["\""]"#,
    #"["a/*b*/c/*d//e"]"#, #"["\\a"]"#, #"["\\n"]"#, #"["\u0012"]"#, #"["\uFFFF"]"#, #"[ "asd"]"#, "[\"\u{10ffff}\"]",
    "[\"\u{ffff}\"]", #"["\u0000"]"#,
    #"["\u002c"]"#, "[\"π\"]", "[\"\u{1bfff}\"]", "\" \"", #"["\uDBFF\uDFFF"]"#, #"["new\u00A0line"]"#,
    "[\"\u{2028}\"]", "[\"\u{2029}\"]",
    #"["\u0061\u30af\u30EA\u30b9"]"#, "[\"new\u{a0}line\"]", "[\"\u{7f}\"]", "[\"a\u{7f}a\"]", #"["\uA66D"]"#,
    #"["\u005C"]"#, #"["\u0022"]"#,
    "[\"€𝄞\"]", "false", "42", "-0.1", "null", "\"asd\"", "true", "\"\"", "[\"a\"]\n", "[true]", " [] ",
    "\t\n\r [ \t\n\r ] \t\n\r ",
    nested(128, "[", "]"), nested(127, "{\"a\":", "}", inside: "1"),
  ]

  static let invalid: [String] = [
    "[1 true]", #"["": 1]"#, #"[""],"#, "[,1]", "[1,,2]", #"["x"]]"#, #"["",]"#, #"["x""#, "[x", "[3[4]]", "[1:2]",
    "[,]", "[-]", "[   , \"\"]",
    "[\"a\",\n4\n,1,", "[1,]", "[1,,]", "[\"\u{b}a\"\\f]", "[*]", #"["""#, "[1,", "[1,\n1\n,1", "[{}", "[fals]",
    "[nul]", "[tru]",
    "[++1234]", "[+1]", "[+Inf]", "[-01]", "[-1.0.]", "[-2.]", "[-NaN]", "[.-1]", "[.2e-3]", "[0.1.2]", "[0.3e+]",
    "[0.3e]", "[0.e1]", "[0E+]",
    "[0E]", "[0e+]", "[0e]", "[1.0e+]", "[1.0e-]", "[1.0e]", "[1 000.0]", "[1eE2]", "[2.e+3]", "[2.e-3]", "[2.e3]",
    "[9.e+]", "[Inf]", "[NaN]",
    "[\u{ff11}]", "[1+2]", "[0x1]", "[0x42]", "[Infinity]", "[0e+-1]", "[-123.123foo]", "[-Infinity]", "[-foo]",
    "[- 1]", "[-012]", "[-.123]",
    "[1ea]", "[1.]", "[.123]", "[1.2a-3]", "[1.8011670033376514H-308]", "[012]", "[00]", "[1e1.5]", "[1_000]", "[1e]",
    #"["x", truth]"#, #"{[: "x"}"#, #"{"x", null}"#, #"{"x"::"b"}"#, "{🇨🇭}", #"{"a":"a" 123}"#, "{key: 'value'}",
    #"{"a" b}"#, #"{:"b"}"#,
    #"{"a" "b"}"#, #"{"a":"#, #"{"a""#, "{1:1}", "{9999E9999:1}", "{null:null,null:null}", #"{"id":0,,,,,}"#, "{'a':0}",
    #"{"id":0,}"#,
    #"{"a":"b"}/**/"#, #"{"a":"b"}//"#, #"{"a":"b",,"c":"d"}"#, #"{a: "b"}"#, #"{"a":"a"#, #"{ "foo" : "bar", "a" }"#,
    #"{"a":"b"}#"#, "{,}",
    " ", #"["\uD800\"]"#, #"["\uD800\u"]"#, #"["\uD800\u1"]"#, "[é]", "[\\u0020\"asd\"]", #"["\x00"]"#, #"["\\\"]"#,
    "[\"\\\t\"]", #"["\🌀"]"#, #"["\"]"#,
    #"["\u00A"]"#, #"["\uD834\uDd"]"#, #"["\uD800\uD800\x"]"#, #"["\a"]"#, #"["\uqqqq"]"#, #"["\u+123"]"#,
    #"["\u 123"]"#, #"["\U0041"]"#, #"["\'"]"#, "[\"\\\0\"]", "\\n",
    "['single quote']", "abc", #"["\"#, "[\"a\0a\"]", "[\"new\nline\"]", "[\"\t\"]", "[\"\u{1f}\"]", #""\UA66D"x"#,
    "<.>", "[<null>]", "[1]x", "[1]]", "['']", "[", "]", "{", "}",
    "[True]", "1]", #"{"x": true,"#, "[][]", "", "[\"asd]", "aå", "[True]", "{]", "[}", "{[", "\u{feff}{}", "\u{feff}",
    "2@", "{}}", #"{"":"#, #"{"a":/*comment*/"b"}"#,
    "{\"a\": true} \"x\"", "['", "[\",", "{\"", "{\"a", "{'a'", "[\"\\{[\"\\{[\"\\{[\"\\{", "*", "[\u{c}]",
    "\u{2060}[]", "[\u{a0}]", "nullx", "truee", "nul", "t", "-", "--1", "+1", "1 2",
    "[1]\0", "\0", "[\0]", nested(129, "[", "]"), nested(100_000, "[", ""), nested(100_000, "{\"a\":", ""),
  ]

  private func isAccepted(_ bytes: ArraySlice<UInt8>) -> Bool {
    var scanner = JSONScanner(bytes)
    do throws(WireError) {
      _ = try scanner.readRaw()
      try scanner.expectEnd()
      return true
    } catch {
      return false
    }
  }

  @Test(arguments: valid) func `valid JSON is read over to its end`(text: String) throws {
    #expect(isAccepted(ArraySlice(text.utf8)))
    #expect(throws: Never.self) { try EmittedBody.check(ArraySlice(text.utf8)) }
    #expect(FrameDecoder.isJSON(ArraySlice(text.utf8)))
  }

  @Test(arguments: invalid) func `what is no JSON is refused`(text: String) {
    #expect(!isAccepted(ArraySlice(text.utf8)))
    #expect(throws: WireError.self) { try EmittedBody.check(ArraySlice(text.utf8)) }
    #expect(!FrameDecoder.isJSON(ArraySlice(text.utf8)))
  }

  @Test(arguments: valid) func `no beginning of a valid text is valid, but for numbers`(text: String) {
    let bytes = Array(text.utf8)
    guard let first = bytes.first(where: { $0 > 0x20 }),
      first == UInt8(ascii: "[") || first == UInt8(ascii: "{") || first == UInt8(ascii: "\"")
    else { return }
    let end = bytes.lastIndex { $0 > 0x20 }!
    for count in 0..<min(end, 200) { #expect(!isAccepted(bytes[..<count]), "\(count) bytes") }
  }

  @Test(arguments: Samples.notUTF8) func `a body that is not UTF-8 is refused`(bytes: [UInt8]) {
    let body = [UInt8(ascii: "\"")] + bytes.filter { $0 != 0x22 } + [UInt8(ascii: "\"")]
    #expect(throws: WireError.self) { try EmittedBody.check(body[...]) }
    #expect(!FrameDecoder.isJSON(body[...]))
  }

  @Test(arguments: [
    #"["\uD800"]"#, #"["\uDC00x"]"#, #"{"a\uD888":1}"#.replacing("a\\uD888", with: "a"), #"["\uD888\u1234"]"#,
  ])
  func `half a surrogate pair passes where nobody has to understand it`(text: String) {
    #expect(
      isAccepted(ArraySlice(text.utf8)), "SQLite's json_valid lets it pass, so a body with it may stand in the outbox")
  }

  @Test func `raw text is a slice of the message without the space around it`() throws {
    let bytes = Array("  { \"a\" : [1, 2] }  ,".utf8)
    var scanner = JSONScanner(bytes[...])
    #expect(try scanner.readRaw() == bytes[2..<18])
    let inner = Array("xx[1]yy".utf8)
    var slice = JSONScanner(inner[2..<5])
    #expect(try slice.readRaw() == inner[2..<5])
    #expect(slice.isAtEnd && slice.peek() == nil)
  }

  @Test(arguments: [
    (#"{"a" 1}"#, 5), ("[1,]", 3), ("[1] x", 4), (#"["a"#, 3), ("[01]", 1), ("[tru]", 1), ("  ", 2), ("[\"\u{1}\"]", 2),
  ])
  func `an error names the byte`(text: String, offset: Int) throws {
    let error = #expect(throws: WireError.self) {
      var scanner = JSONScanner(text)
      _ = try scanner.readRaw()
      try scanner.expectEnd()
    }
    let found = try #require(error?.offset)
    #expect((offset...offset + 1).contains(found))
    #expect(error?.description.hasSuffix("(at byte \(found))") == true)
  }

  @Test func `an offset counts from the beginning of the scanned slice`() {
    let bytes = Array("12345[x]".utf8)
    var scanner = JSONScanner(bytes[5...])
    #expect(throws: WireError("expected a value", offset: 1)) { try scanner.readRaw() }
  }

  @Test(arguments: [
    ("0", 0), ("-0", 0), ("7 ", 7), ("-7", -7), ("9223372036854775807", Int64.max), ("-9223372036854775808", .min),
    (" \n12", 12),
  ])
  func `an integer is read`(text: String, integer: Int64) throws {
    var scanner = JSONScanner(text)
    #expect(try scanner.readInt64(in: .min ... .max) == integer)
  }

  @Test(arguments: [
    "1.0", "1e3", "9223372036854775808", "-9223372036854775809", "18446744073709551617", "\"1\"", "", "x", "01", "-",
    "null", "true",
  ])
  func `what is no 64-bit integer is not taken for one`(text: String) {
    var scanner = JSONScanner(text)
    #expect(throws: WireError.self) { try scanner.readInt64(in: .min ... .max) }
  }

  @Test func `numbers of any length are read over`() {
    let digits = String(repeating: "9", count: 100_000)
    for text in [
      digits, "-" + digits, "0." + digits, digits + "." + digits, "1e" + digits, "1e-" + digits, digits + "e-" + digits,
    ] {
      #expect(isAccepted(ArraySlice(text.utf8)))
    }
  }

  @Test func `a string without escapes is a slice of the message itself`() throws {
    let bytes = Array(#"  "größe" "#.utf8)
    var scanner = JSONScanner(bytes[...])
    let text = try scanner.readString()
    #expect(text.startIndex == 3 && text.endIndex == 3 + "größe".utf8.count)
  }

  @Test func `members come in their order, with their escapes resolved, doubled or not`() throws {
    var scanner = JSONScanner(#"{"a":1,"\u0062\n":2,"a":3}"#)
    var seen: [String] = []
    try scanner.readObject { (name, scanner) throws(WireError) in
      seen.append("\(String(decoding: name, as: UTF8.self))=\(try scanner.readInt64(in: .min ... .max))")
    }
    #expect(seen == ["a=1", "b\n=2", "a=3"])
    #expect(scanner.isAtEnd)
  }
}
