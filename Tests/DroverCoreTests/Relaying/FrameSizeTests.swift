// How frames shrink and grow, against a broker that takes so many bytes and says nothing but no.

import DroverCore
import Testing

@Suite struct FrameSizeTests {
  /// A stream whose events have these sizes, sent in frames as the relay does: a frame is full when it has reached a limit.
  private struct Stream {
    var sizes: [Int]
    let limit: Int
    var frameSize = FrameSize(events: 100, bytes: 64 << 10)
    var refusals = 0
    var frames: [Int] = []
    var unsendable: [Int] = []

    mutating func send() {
      while !sizes.isEmpty {
        var (events, bytes) = (0, 0)
        while events < sizes.count, events < frameSize.events, bytes < frameSize.bytes {
          bytes += sizes[events]
          events += 1
        }
        if bytes <= limit {
          frameSize.accepted()
          frames.append(events)
          sizes.removeFirst(events)
        } else {
          frameSize.refused(events: events, bytes: bytes)
          refusals += 1
          if events == 1 { unsendable.append(sizes.removeFirst()) }
        }
      }
    }
  }

  @Test(arguments: [100, 150, 999, 1000, 5000, 50_000])
  func `frames become smaller until they fit, whatever the broker takes`(limit: Int) {
    var stream = Stream(sizes: [Int](repeating: 100, count: 20_000), limit: limit)
    stream.send()
    #expect(stream.unsendable.isEmpty)
    #expect(stream.frames.reduce(0, +) == 20_000)
    // Trying a larger frame now and then costs little.
    #expect(stream.refusals < 8 + stream.frames.count / 50)
  }

  @Test func `an event that is too large alone is found, and the others go on in frames as before`() {
    var sizes = [Int](repeating: 100, count: 2000)
    sizes[777] = 6000
    sizes[1500] = 7000
    var stream = Stream(sizes: sizes, limit: 20_000)
    stream.send()
    #expect(stream.unsendable.isEmpty)
    stream = Stream(sizes: sizes, limit: 5500)
    stream.send()
    #expect(stream.unsendable == [6000, 7000])
    #expect(stream.frames.reduce(0, +) == 1998)
    #expect(stream.frames.count < 100)
  }

  @Test func `a window of frames that were refused in one breath counts as one refusal`() {
    var size = FrameSize(events: 100, bytes: 10_000)
    for _ in 0..<50 { size.refused(events: 100, bytes: 10_000) }
    #expect(size.events == 50 && size.bytes == 5000)
  }

  @Test func `the limits grow again slowly, to what the operator allows and no further`() {
    var size = FrameSize(events: 100, bytes: 10_000)
    size.refused(events: 100, bytes: 10_000)
    for _ in 0..<63 { size.accepted() }
    #expect(size.events == 50 && size.bytes == 5000)
    size.accepted()
    #expect(size.events == 56 && size.bytes == 5625)
    for _ in 0..<10_000 { size.accepted() }
    #expect(size == FrameSize(events: 100, bytes: 10_000))
  }
}
