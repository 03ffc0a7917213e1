// Packed frames: what comes out is what went in, and a message cannot make the consumer unpack more than it takes.

import DroverCore
import DroverWire
import Testing

@Suite struct CompressionTests {
  private let text = Array(
    String(repeating: #"{"seq":41,"version":1795170600123000,"row":[7,"a\#u{e9}",2.5]},"#, count: 200).utf8)

  @Test func `a large frame is packed to a fraction and comes out as it was`() throws {
    let (payload, type) = Compression.deflate.pack(text)
    #expect(payload.count < text.count / 10 && payload.first == UInt8(ascii: "x") && type == "application/zlib")
    #expect(try Compression.unpack(payload, most: text.count) == .frame(text))
  }

  @Test func `a live event is not packed, and nothing is where packing is off`() {
    let small = Array(text.prefix(1000))
    #expect(Compression.deflate.pack(small) == (small, "application/json"))
    #expect(Compression.none.pack(text) == (text, "application/json"))
  }

  @Test func `what packing makes no smaller stays as it is`() {
    var random = SystemRandomNumberGenerator()
    let noise = (0..<4096).map { _ in UInt8.random(in: .min ... .max, using: &random) }
    #expect(Compression.deflate.pack(noise).payload == noise)
  }

  @Test func `no more is unpacked than may be, and how it begins is told`() throws {
    let bomb = Compression.deflate.pack([UInt8](repeating: UInt8(ascii: "7"), count: 10 << 20)).payload
    #expect(bomb.count < 100_000)
    #expect(
      try Compression.unpack(bomb, most: 1 << 20)
        == .tooLarge(beginning: Array(repeating: UInt8(ascii: "7"), count: 256)))
    let payload = Compression.deflate.pack(text).payload
    #expect(try Compression.unpack(payload, most: text.count - 1) == .tooLarge(beginning: Array(text.prefix(256))))
  }

  @Test func `a packed message that is cut off or damaged anywhere is refused`() throws {
    let payload = Compression.deflate.pack(text).payload
    for end in 1..<payload.count {
      #expect(throws: WireError.self) { try Compression.unpack(Array(payload[..<end]), most: 1 << 20) }
    }
    for index in payload.indices.dropFirst() {
      var damaged = payload
      damaged[index] ^= 0x10
      // A bit between the last symbol and the checksum means nothing.
      let unpacked = try? Compression.unpack(damaged, most: 1 << 20)
      #expect(unpacked == nil || unpacked == .frame(text), "byte \(index)")
    }
  }
}
