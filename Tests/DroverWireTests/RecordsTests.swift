import DroverCore
import Testing

@testable import DroverWire

/// From bytes to records, whatever ends the lines and wherever the input is cut into pieces.
@Suite struct RecordsTests {
  /// `line: body`, or `line! why`.
  private func records(_ parser: some RecordParser, _ input: [UInt8], piece: Int) throws -> [String] {
    var parser = parser
    var found: [String] = []
    func note(_ record: Record) {
      switch record.body {
      case .success(let body): found.append("\(record.line): \(String(decoding: body, as: UTF8.self))")
      case .failure(let error): found.append("\(record.line)! \(error)")
      }
    }
    var rest = input[...]
    while !rest.isEmpty {
      try parser.take(rest.prefix(piece), note)
      rest = rest.dropFirst(piece)
    }
    try parser.finish(note)
    return found
  }

  // A CSV with CR line ends was one header, and all of its rows were lost; a text was one event.
  @Test(arguments: ["\n", "\r\n", "\r"], 1...4)
  func `a line ends with LF, CR LF or CR`(end: String, piece: Int) throws {
    func input(_ lines: String) -> [UInt8] { Array(lines.replacing("|", with: end).utf8) }
    #expect(try records(TextLineParser(), input("a||b|c"), piece: piece) == ["1: \"a\"", "3: \"b\"", "4: \"c\""])
    #expect(
      try records(JSONLineParser(), input("{} ||[1]|2|"), piece: piece) == ["1: {}", "3: [1]", "4: 2"])
    #expect(
      try records(CSVParser(), input("a,b||1,\"x\"|2|3,|"), piece: piece)
        == ["3: {\"a\":1,\"b\":\"x\"}", "4! 1 cells where the header has 2", "5: {\"a\":3,\"b\":null}"])
    let cell = end.unicodeScalars.map { $0 == "\r" ? "\\r" : "\\n" }.joined()
    #expect(
      try records(CSVParser(), input("a|\"x|y\"|2"), piece: piece)
        == ["2: {\"a\":\"x\(cell)y\"}", "4: {\"a\":2}"])
  }

  @Test(arguments: [
    ("1.5,a\nx,y\n", "column 1 has a number for its name"), ("a;b\n", "not separated by commas"),
    ("a\tb\n", "not separated by commas"), ("a,-7\n", "column 2 has a number"),
  ])
  func `a line that would lose its meaning as a header is none`(input: String, reason: String) {
    #expect { try records(CSVParser(), Array(input.utf8), piece: 3) } throws: { "\($0)".contains(reason) }
  }

  @Test func `a name in quotes is one, whatever is in it`() throws {
    #expect(
      try records(CSVParser(), Array("\"2024\",\"a;b\"\n1,2\n".utf8), piece: 5) == ["2: {\"2024\":1,\"a;b\":2}"])
    #expect(try records(CSVParser(), Array("\"a;b\"\n1".utf8), piece: 5) == ["2: {\"a;b\":1}"])
  }
}
