// Whatever comes over the network: an answer or an error, never a crash. Whatever is read can be written again.

import DroverCore
import DroverTesting
import DroverWire
import Testing

@Suite struct FuzzTests {
  private static let pieces: [[UInt8]] =
    [
      "{", "}", "[", "]", "\"", "\\", ",", ":", "\\u", "\\ud800", "null", "-", "0", "9", "e", ".",
      "99999999999999999999", "1e999", " ", "\0", "\u{feff}", "{\"$blob\":\"", "\"events\":[", "\"seq\":",
    ]
    .map { Array($0.utf8) } + [[0xff], [0xc3], [0xed, 0xa0, 0x80], Array(repeating: UInt8(ascii: "["), count: 300)]

  private func mutate(_ bytes: inout [UInt8], _ random: inout Seeded) {
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let place = Int.random(in: 0...bytes.count, using: &random)
      let end = min(bytes.count, place + Int.random(in: 1...8, using: &random))
      switch Int.random(in: 0..<6, using: &random) {
      case 0: bytes.insert(contentsOf: Self.pieces.randomElement(using: &random)!, at: place)
      case 1: bytes.removeSubrange(place..<end)
      case 2 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 3 where place < bytes.count: bytes[place] = .random(in: .min ... .max, using: &random)
      case 4: bytes.removeSubrange(place...)
      default: bytes.insert(contentsOf: bytes[place..<end], at: Int.random(in: 0...bytes.count, using: &random))
      }
    }
  }

  @Test(arguments: UInt64(0)..<40) func `a damaged frame is read or refused, and what is read makes sense`(seed: UInt64)
    throws
  {
    var random = Seeded(seed)
    let schema = random.percent(70) ? random.schema() : nil
    var encoder = FrameEncoder(epoch: Samples.epoch, run: 5, stream: Samples.stream(schema))
    for seq in Int64(1)...4 {
      let row = schema.map { $0.columns.map { _ in random.value() } } ?? [.text("a")]
      encoder.append(
        OutboxEntry(
          seq: seq, stream: 1, version: 5, key: Values(schema?.keyValues(of: row) ?? row),
          content: schema == nil ? .json(ArraySlice(#"{"a":[1,"é"]}"#.utf8)) : .row(Values(row))))
    }
    let whole = encoder.finish(covering: Interval(after: 0, through: 4), last: 4)
    var read = 0
    var refused = 0
    for _ in 0..<150 {
      var bytes = whole
      mutate(&bytes, &random)
      do {
        switch try FrameDecoder.decode(bytes, known: { $0 == schema?.id ? schema : nil }) {
        case .frame(let frame):
          read += 1
          for event in frame.events {
            #expect(frame.header.interval.contains(event.seq!), "seed \(seed)")
            #expect(!event.localID.isEmpty && (event.operation == .delete) == (event.content == .none), "seed \(seed)")
            if case .row(let values) = event.content {
              #expect(values.count == schema?.columns.count, "seed \(seed)")
              for value in values {
                var scanner = JSONScanner(Samples.bytes(value)[...])
                #expect(try scanner.readValue() == value, "seed \(seed)")
              }
            }
            if let schema { _ = try? LocalIDCodec.key(event.localID, schema: schema) }
          }
          for broken in frame.broken { #expect(FrameDecoder.isJSON(broken.raw), "seed \(seed)") }
        case .bare(let event): #expect(event.raw.count == bytes.count)
        case .unknownSchema(let header): #expect(header.schema != nil)
        }
      } catch is WireError {
        refused += 1
      }
    }
    #expect(refused > 0 && read + refused <= 150, "seed \(seed)")
  }

  @Test(arguments: UInt64(0)..<10) func `a damaged document is read or refused`(seed: UInt64) throws {
    var random = Seeded(seed)
    let schema = random.schema()
    let set = IntervalSet([Interval(after: 0, through: 40), Interval(after: 42, through: 50)])
    let documents = [
      schema.document, MachineStatus(isOnline: true, epoch: Samples.epoch, software: "1", at: 5).document,
      Confirmation(
        epoch: Samples.epoch, session: "s", at: 5, streams: [try StreamName("stock"): set],
        runs: Runs([Run(number: 3, reached: 50)])
      ).document,
    ]
    for round in 0..<300 {
      var bytes = documents[round % 3]
      mutate(&bytes, &random)
      if let read = try? StreamSchema(document: bytes) { #expect(try StreamSchema(document: read.document) == read) }
      if let read = try? MachineStatus(document: bytes) { #expect(try MachineStatus(document: read.document) == read) }
      if let read = try? Confirmation(document: bytes) { #expect(try Confirmation(document: read.document) == read) }
    }
  }

  @Test(arguments: UInt64(0)..<10) func `random bytes are read or refused`(seed: UInt64) {
    var random = Seeded(seed)
    for _ in 0..<300 {
      let bytes =
        random.percent(50)
        ? random.bytes(most: 60)
        : (0..<Int.random(in: 0...20, using: &random)).flatMap { _ in Self.pieces.randomElement(using: &random)! }
      _ = try? FrameDecoder.decode(bytes) { _ in nil }
      _ = try? EmittedBody.localID(field: "id", body: bytes[...])
      _ = try? MachineStatus(document: bytes)
      var scanner = JSONScanner(bytes[...])
      if (try? scanner.readValue()) != nil, (try? scanner.expectEnd()) != nil {
        #expect(scanner.isAtEnd)
      }
    }
  }
}
