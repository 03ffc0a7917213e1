// From bytes to records: newline-delimited JSON, lines of text, or CSV with a header (RFC 4180: quotes, doubled quotes, line breaks within
// quotes). All work on pieces of any size and know the number of each record's first line. A line ends with LF, CR LF or CR.

import DroverCore

/// One record, or why it is none.
package struct Record {
  /// Number of its first line, from 1.
  package var line: Int
  package var body: Result<ArraySlice<UInt8>, WireError>
}

package protocol RecordParser {
  /// Takes a piece of input; calls `record` for each record that is complete with it.
  mutating func take(_ bytes: ArraySlice<UInt8>, _ record: (Record) throws -> Void) throws
  /// The input has ended.
  mutating func finish(_ record: (Record) throws -> Void) throws
}

/// Cuts the input into lines.
package struct LineSplitter {
  /// A longer line is reported and passed over.
  package static let maximumBytes = 8 << 20

  private(set) var line = 1
  private var rest: [UInt8] = []
  private var isTooLong = false
  /// The last line ended with CR, so that LF belongs to its end.
  private var sawReturn = false

  /// - Parameter see: is shown each line that is complete, without its end; nil for one that is too long.
  mutating func take(_ bytes: ArraySlice<UInt8>, _ see: (ArraySlice<UInt8>?, _ line: Int) throws -> Void) throws {
    var start = bytes.startIndex
    if sawReturn, let first = bytes.first {
      if first == UInt8(ascii: "\n") { start += 1 }
      sawReturn = false
    }
    while let end = bytes[start...].firstIndex(where: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) {
      append(bytes[start..<end])
      try finish(see)
      line += 1
      start = end + 1
      guard bytes[end] == UInt8(ascii: "\r") else { continue }
      sawReturn = start == bytes.endIndex
      if !sawReturn, bytes[start] == UInt8(ascii: "\n") { start += 1 }
    }
    append(bytes[start...])
  }

  /// Shows what stands behind the last line's end.
  mutating func finish(_ see: (ArraySlice<UInt8>?, _ line: Int) throws -> Void) throws {
    defer {
      rest.removeAll(keepingCapacity: true)
      isTooLong = false
    }
    try see(isTooLong ? nil : rest[...], line)
  }

  private mutating func append(_ bytes: ArraySlice<UInt8>) {
    guard rest.count + bytes.count <= LineSplitter.maximumBytes else {
      isTooLong = true
      rest.removeAll()
      return
    }
    if !isTooLong { rest += bytes }
  }

  static let tooLong = WireError("longer than \(LineSplitter.maximumBytes) bytes")
}

package struct JSONLineParser: RecordParser {
  private var lines = LineSplitter()

  package init() {}

  package mutating func take(_ bytes: ArraySlice<UInt8>, _ record: (Record) throws -> Void) throws {
    try lines.take(bytes) { try Self.read($0, $1, record) }
  }

  package mutating func finish(_ record: (Record) throws -> Void) throws {
    try lines.finish { try Self.read($0, $1, record) }
  }

  private static func read(_ bytes: ArraySlice<UInt8>?, _ line: Int, _ record: (Record) throws -> Void) throws {
    guard var text = bytes else { return try record(Record(line: line, body: .failure(LineSplitter.tooLong))) }
    while let last = text.last, last == 0x20 || last == 0x09 { text.removeLast() }
    while let first = text.first, first == 0x20 || first == 0x09 { text.removeFirst() }
    guard !text.isEmpty else { return }
    let body = Array(text)[...]
    let checked: Result<ArraySlice<UInt8>, WireError>
    do throws(WireError) {
      try EmittedBody.check(body)
      checked = .success(body)
    } catch {
      checked = .failure(error)
    }
    try record(Record(line: line, body: checked))
  }
}

/// Each line is an event, whose body is the line as a JSON string. An empty line is none.
package struct TextLineParser: RecordParser {
  private var lines = LineSplitter()

  package init() {}

  package mutating func take(_ bytes: ArraySlice<UInt8>, _ record: (Record) throws -> Void) throws {
    try lines.take(bytes) { try Self.read($0, $1, record) }
  }

  package mutating func finish(_ record: (Record) throws -> Void) throws {
    try lines.finish { try Self.read($0, $1, record) }
  }

  private static func read(_ bytes: ArraySlice<UInt8>?, _ line: Int, _ record: (Record) throws -> Void) throws {
    guard let text = bytes else { return try record(Record(line: line, body: .failure(LineSplitter.tooLong))) }
    guard !text.isEmpty else { return }
    guard let string = String(validating: text, as: UTF8.self) else {
      return try record(Record(line: line, body: .failure(WireError("not UTF-8"))))
    }
    var body: [UInt8] = []
    JSONWriter.write(string, into: &body)
    try record(Record(line: line, body: .success(body[...])))
  }
}

package struct CSVParser: RecordParser {
  private enum State { case cellStart, plain, quoted, quoteInQuoted }

  private var state = State.cellStart
  private var line = 1
  private var recordLine = 1
  private var cells: [[UInt8]] = []
  private var cell: [UInt8] = []
  private var wasQuoted: [Bool] = []
  private var isQuoted = false
  private var size = 0
  private var header: [[UInt8]]?
  private var fault: WireError?
  /// The last line ended with CR, so that LF belongs to its end.
  private var sawReturn = false
  /// The line of the header, while nothing has followed it.
  package private(set) var loneHeader: Int?

  package init() {}

  /// Throws when the first line is no header.
  package mutating func take(_ bytes: ArraySlice<UInt8>, _ record: (Record) throws -> Void) throws {
    for byte in bytes { try take(byte, record) }
  }

  package mutating func finish(_ record: (Record) throws -> Void) throws {
    if state == .quoted { fault = WireError("a quote without end") }
    if !cells.isEmpty || !cell.isEmpty || isQuoted || fault != nil { try endRecord(record) }
  }

  private mutating func take(_ byte: UInt8, _ record: (Record) throws -> Void) throws {
    let isSecond = sawReturn && byte == UInt8(ascii: "\n")
    sawReturn = byte == UInt8(ascii: "\r")
    if !isSecond, sawReturn || byte == UInt8(ascii: "\n") { line += 1 }
    if isSecond, state != .quoted { return }
    switch (state, byte) {
    case (.quoted, UInt8(ascii: "\"")): state = .quoteInQuoted
    case (.quoted, _): append(byte)
    case (.quoteInQuoted, UInt8(ascii: "\"")):
      append(byte)
      state = .quoted
    case (.cellStart, UInt8(ascii: "\"")):
      isQuoted = true
      state = .quoted
    case (_, UInt8(ascii: ",")): endCell()
    case (_, UInt8(ascii: "\n")), (_, UInt8(ascii: "\r")): try endRecord(record)
    case (.quoteInQuoted, _): fault = WireError("text behind a closing quote")
    default:
      append(byte)
      state = .plain
    }
  }

  private mutating func append(_ byte: UInt8) {
    size += 1
    guard size <= LineSplitter.maximumBytes else {
      fault = WireError("longer than \(LineSplitter.maximumBytes) bytes")
      cell.removeAll()
      return
    }
    cell.append(byte)
  }

  private mutating func endCell() {
    cells.append(cell)
    wasQuoted.append(isQuoted)
    cell.removeAll(keepingCapacity: true)
    isQuoted = false
    state = .cellStart
  }

  private mutating func endRecord(_ record: (Record) throws -> Void) throws {
    endCell()
    let number = recordLine
    defer {
      cells.removeAll(keepingCapacity: true)
      wasQuoted.removeAll(keepingCapacity: true)
      fault = nil
      size = 0
      recordLine = line
    }
    if cells.count == 1, cells[0].isEmpty, !wasQuoted[0], fault == nil { return }
    guard let header else {
      if let reason = headerFault { throw WireError("the first line is no header of a CSV: \(reason)") }
      self.header = cells
      loneHeader = number
      return
    }
    loneHeader = nil
    if fault == nil, cells.count != header.count {
      fault = WireError("\(cells.count) cells where the header has \(header.count)")
    }
    if fault == nil, !cells.allSatisfy(Self.isText) { fault = WireError("not UTF-8") }
    if let fault {
      try record(Record(line: number, body: .failure(fault)))
      return
    }
    var body: [UInt8] = [UInt8(ascii: "{")]
    for (index, name) in header.enumerated() {
      if index > 0 { body.append(UInt8(ascii: ",")) }
      JSONWriter.write(String(decoding: name, as: UTF8.self), into: &body)
      body.append(UInt8(ascii: ":"))
      write(cells[index], isQuoted: wasQuoted[index], into: &body)
    }
    body.append(UInt8(ascii: "}"))
    try record(Record(line: number, body: .success(body[...])))
  }

  /// Why the line that was read first cannot be the header; nil when it can.
  private var headerFault: String? {
    if let fault { return "\(fault)" }
    if let empty = cells.firstIndex(where: \.isEmpty) { return "column \(empty + 1) has no name" }
    if !cells.allSatisfy(Self.isText) { return "it is not UTF-8" }
    // A CSV without a header would lose its first row, and one with another separator its columns.
    if let number = cells.indices.first(where: { !wasQuoted[$0] && EmittedBody.isNumber(cells[$0][...]) }) {
      return
        "column \(number + 1) has a number for its name; put a line with the names of the columns first, or the name in quotes"
    }
    if cells.count == 1, !wasQuoted[0], cells[0].contains(where: Self.otherSeparators.contains) {
      return "its cells are not separated by commas; change the separator to a comma, or put the name in quotes"
    }
    var seen: Set<[UInt8]> = []
    for (column, name) in cells.enumerated() where !seen.insert(name).inserted {
      return "column \(column + 1) has the name of another one"
    }
    return nil
  }

  private static let otherSeparators = [UInt8](";\t|".utf8)

  private static func isText(_ cell: [UInt8]) -> Bool { String(validating: cell, as: UTF8.self) != nil }

  /// A cell that is a JSON number keeps its digits; an empty one is null; all else, and what stood in quotes, is text.
  private func write(_ cell: [UInt8], isQuoted: Bool, into body: inout [UInt8]) {
    if !isQuoted, cell.isEmpty {
      body += "null".utf8
    } else if !isQuoted, EmittedBody.isNumber(cell[...]) {
      body += cell
    } else {
      JSONWriter.write(String(decoding: cell, as: UTF8.self), into: &body)
    }
  }
}
