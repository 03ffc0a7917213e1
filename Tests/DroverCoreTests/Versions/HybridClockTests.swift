// Versions rise whatever the wall clock does, and stay exact in a double.

import DroverCore
import DroverTesting
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

  @Test func `a clock that is ahead is set right whatever it is, one that is behind by a day at most`() {
    let day = HybridClock.tolerance
    #expect([0, 5, day, 80 * 365 * day].map(HybridClock.correction) == [0, -5, -day, -80 * 365 * day])
    #expect([-5, -day, -day - 1, -56 * 365 * day].map(HybridClock.correction) == [5, day, 0, 0])
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
    #expect(Timestamp.text(microseconds: HybridClock.farthest) == "2100-01-01T00:00:00.000Z")
    #expect(clock.next(now: .max) == HybridClock.farthest)
    #expect(clock.next(now: .max) == HybridClock.farthest + 1)
    clock.observe(.max)
    #expect(clock.last == highest)
    #expect(clock.next(now: 7) == highest)
    #expect(Int64(Double(clock.last)) == clock.last)
  }
}
