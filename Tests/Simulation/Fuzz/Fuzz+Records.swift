// What people hand to `drover emit`: the three formats, changed byte by byte, in one piece and in many.

import DroverCore
import DroverWire

extension Mutator {
  private static let inputs: [[UInt8]] = [
    "id,name,\"a \"\"b\"\"\"\r\n1,\"x,\r\ny\",2.50\r\n2,,-0\r\n\r\n3,\"\",1e5\n",
    "{\"id\": 1, \"v\": [1, 2.0, null, {\"a\": \"\\u00e9\"}]}\n  {\"id\": \"b\"}\r\n\n[1]\n12\n\"x\"",
    "hxb:B1:LF1:UHF1\n\u{feff}temp é 21.5 \"C\"\r\n\tlast\u{0}line",
  ].map { Array($0.utf8) }

  /// An input that nobody has written.
  mutating func input() -> [UInt8] {
    var input = random.pick(Self.inputs)
    for _ in 0..<1 + random.below(4) { input = bytes(input) }
    return input
  }

  /// Where an input is cut into the pieces in which a pipe may bring it.
  mutating func cuts(of input: [UInt8]) -> [ArraySlice<UInt8>] {
    var rest = input[...]
    var pieces: [ArraySlice<UInt8>] = []
    while !rest.isEmpty {
      let piece = rest.prefix(1 + random.below(5))
      pieces.append(piece)
      rest = rest.dropFirst(piece.count)
    }
    return pieces
  }
}

enum RecordFuzz {
  /// Throws a `FuzzFailure` where a record depends on the pieces in which its bytes came, or is no JSON.
  static func check(_ mutator: inout Mutator) throws {
    let input = mutator.input()
    let pieces = mutator.cuts(of: input)
    for makeParser in [{ CSVParser() }, { JSONLineParser() }, { TextLineParser() }] as [() -> any RecordParser] {
      let whole = records(of: [input[...]], makeParser())
      guard whole == records(of: pieces, makeParser()) else {
        throw FuzzFailure(description: "records differ by the pieces in which they came: \(input)")
      }
      for case .some(let body) in whole.map(\.body) where (try? EmittedBody.check(body[...])) == nil {
        throw FuzzFailure(description: "a record is no JSON: \(body), of \(input)")
      }
    }
  }

  private struct Seen: Equatable {
    var line: Int
    /// nil where it is none.
    var body: [UInt8]?
  }

  private static func records(of pieces: [ArraySlice<UInt8>], _ parser: any RecordParser) -> [Seen] {
    var parser = parser
    var seen: [Seen] = []
    let note = { (record: Record) in
      seen.append(Seen(line: record.line, body: (try? record.body.get()).map(Array.init)))
    }
    do {
      for piece in pieces { try parser.take(piece, note) }
      try parser.finish(note)
    } catch {
      // The first line is no header.
      seen.append(Seen(line: -1, body: nil))
    }
    return seen
  }
}
