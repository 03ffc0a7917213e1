// From bytes to records: newline-delimited JSON, or CSV with a header (RFC 4180: quotes, doubled quotes, line breaks within quotes).
// Both work on pieces of any size and know the number of each record's first line.

import DroverCore
import DroverWire

/// One record, or why it is none.
struct Record {
  /// Number of its first line, from 1.
  var line: Int
  var body: Result<ArraySlice<UInt8>, WireError>
}

protocol RecordParser {
  /// Takes a piece of input; calls `record` for each record that is complete with it.
  mutating func take(_ bytes: ArraySlice<UInt8>, _ record: (Record) throws -> Void) throws
  /// The input has ended.
  mutating func finish(_ record: (Record) throws -> Void) throws
}

struct JSONLineParser: RecordParser {
  private var line = 1
  private var rest: [UInt8] = []
  private var isTooLong = false

  mutating func take(_ bytes: ArraySlice<UInt8>, _ record: (Record) throws -> Void) throws {
    var start = bytes.startIndex
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      append(bytes[start..<end])
      try flush(record)
      line += 1
      start = end + 1
    }
    append(bytes[start...])
  }

  mutating func finish(_ record: (Record) throws -> Void) throws { try flush(record) }

  private mutating func append(_ bytes: ArraySlice<UInt8>) {
    guard rest.count + bytes.count <= LineReader.maximumLineBytes else {
      isTooLong = true
      rest.removeAll()
      return
    }
    if !isTooLong { rest += bytes }
  }

  private mutating func flush(_ record: (Record) throws -> Void) throws {
    defer {
      rest.removeAll(keepingCapacity: true)
      isTooLong = false
    }
    if isTooLong {
      try record(Record(line: line, body: .failure(WireError("longer than \(LineReader.maximumLineBytes) bytes"))))
      return
    }
    var text = rest[...]
    while let last = text.last, last == 0x20 || last == 0x0d || last == 0x09 { text.removeLast() }
    while let first = text.first, first == 0x20 || first == 0x09 { text.removeFirst() }
    if line == 1, text.starts(with: [0xef, 0xbb, 0xbf]) { text.removeFirst(3) }
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

struct CSVParser: RecordParser {
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
  private var sawCarriageReturn = false

  /// Throws when the first line is no header.
  mutating func take(_ bytes: ArraySlice<UInt8>, _ record: (Record) throws -> Void) throws {
    for byte in bytes { try take(byte, record) }
  }

  mutating func finish(_ record: (Record) throws -> Void) throws {
    if state == .quoted { fault = WireError("a quote without end") }
    if !cells.isEmpty || !cell.isEmpty || isQuoted || fault != nil { try endRecord(record) }
  }

  private mutating func take(_ byte: UInt8, _ record: (Record) throws -> Void) throws {
    if byte == UInt8(ascii: "\n") { line += 1 }
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
    case (_, UInt8(ascii: "\n")): try endRecord(record)
    case (_, UInt8(ascii: "\r")): sawCarriageReturn = true
    case (.quoteInQuoted, _): fault = WireError("text behind a closing quote")
    default:
      append(byte)
      state = .plain
    }
  }

  private mutating func append(_ byte: UInt8) {
    size += 1
    guard size <= LineReader.maximumLineBytes else {
      fault = WireError("longer than \(LineReader.maximumLineBytes) bytes")
      cell.removeAll()
      return
    }
    // A carriage return counts only where it does not end a line.
    if sawCarriageReturn, state != .cellStart { cell.append(UInt8(ascii: "\r")) }
    sawCarriageReturn = false
    cell.append(byte)
  }

  private mutating func endCell() {
    cells.append(cell)
    wasQuoted.append(isQuoted)
    cell.removeAll(keepingCapacity: true)
    isQuoted = false
    state = .cellStart
    sawCarriageReturn = false
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
      if cells[0].starts(with: [0xef, 0xbb, 0xbf]) { cells[0].removeFirst(3) }
      guard fault == nil, cells.allSatisfy({ !$0.isEmpty }), Set(cells).count == cells.count else {
        throw WireError("the first line is no header: every column has a name of its own")
      }
      self.header = cells
      return
    }
    if fault == nil, cells.count != header.count {
      fault = WireError("\(cells.count) cells where the header has \(header.count)")
    }
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
