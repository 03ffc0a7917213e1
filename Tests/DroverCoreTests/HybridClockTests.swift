// Versions rise whatever the wall clock does, and stay exact in a double.

import DroverCore
import Testing

@Suite struct HybridClockTests {
  @Test(arguments: UInt64(0)..<50)
  func `versions rise with every event, while the wall clock jumps as it likes`(seed: UInt64) {
    var random = Seeded(seed)
    var clock = HybridClock()
    var last: Int64 = 0
    for _ in 0..<200 {
      let now = Int64.random(in: -1_000_000...2_000_000_000_000_000, using: &random)
      if random.percent(20) { clock.observe(.random(in: 0...3_000_000_000_000_000, using: &random)) }
      last = max(last, clock.last)
      let version = clock.next(now: now)
      #expect(version == max(last + 1, now), "seed \(seed)")
      #expect(clock.last == version)
      last = version
    }
  }

  @Test func `an ordinary clock's versions are its microseconds`() {
    var clock = HybridClock(last: 5)
    #expect(clock.next(now: 1_795_170_600_123_000) == 1_795_170_600_123_000)
    #expect(clock.next(now: 1_795_170_600_123_000) == 1_795_170_600_123_001)
    #expect(clock.next(now: 0) == 1_795_170_600_123_002)
  }

  @Test func `an older version of somebody else changes nothing`() {
    var clock = HybridClock(last: 100)
    clock.observe(99)
    clock.observe(-5)
    #expect(clock.last == 100)
    clock.observe(101)
    #expect(clock.next(now: 0) == 102)
  }

  @Test func `no version reaches 2^53, whatever a clock or another machine says`() {
    var clock = HybridClock()
    let highest = HybridClock.limit - 1
    #expect(HybridClock.limit == 1 << 53)
    #expect(clock.next(now: .max) == highest)
    clock.observe(.max)
    #expect(clock.last == highest)
    #expect(clock.next(now: 7) == highest)
    #expect(Int64(Double(clock.last)) == clock.last)
  }
}
