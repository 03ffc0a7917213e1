// The machine's wall clock against the cloud's, and against the one that nobody can set.

import DroverCore
import Testing

@Suite struct ClockWatchTests {
  private let begin = ContinuousClock.now
  private static let second: Int64 = 1_000_000

  private func looked(_ watch: inout ClockWatch, wall seconds: Int64, at instant: Int) -> Int64? {
    watch.looked(wall: seconds * Self.second, now: begin.advanced(by: .seconds(instant)))
  }

  @Test func `a quick answer measures the clock, and later ones say nothing new`() {
    var watch = ClockWatch(limits: ClockLimits())
    #expect(watch.offset == nil && watch.news == nil)
    let first = watch.answered(ahead: 30 * Self.second, roundTrip: .milliseconds(200))
    #expect(first == .taken(ahead: 29_900_000, isFar: false))
    #expect(watch.offset == 29_900_000 && watch.news == .measured(ahead: 29_900_000))
    let second = watch.answered(ahead: 0, roundTrip: .zero)
    #expect(second == .known)
    watch.toldStore()
    #expect(watch.news == nil && watch.offset == 29_900_000)
  }

  @Test(arguments: [61_000_000, -61_000_000] as [Int64])
  func `a clock that is more than a minute away is worth a line`(ahead: Int64) {
    var watch = ClockWatch(limits: ClockLimits())
    let measured = watch.answered(ahead: ahead, roundTrip: .zero)
    #expect(measured == .taken(ahead: ahead, isFar: true))
  }

  @Test func `slow answers ask again, and the best of four counts`() {
    var watch = ClockWatch(limits: ClockLimits())
    for seconds in [4, 2, 3] {
      let measured = watch.answered(ahead: 10 * Self.second, roundTrip: .seconds(seconds))
      #expect(measured == .askAgain && watch.offset == nil)
    }
    let measured = watch.answered(ahead: 10 * Self.second, roundTrip: .seconds(5))
    #expect(measured == .taken(ahead: 9 * Self.second, isFar: false))
  }

  @Test func `time that passes is no step, and neither is drift`() {
    var watch = ClockWatch(limits: ClockLimits())
    var steps: [Int64?] = []
    for (wall, instant) in [(Int64(100), 0), (160, 60), (222, 120), (280, 180)] {
      steps.append(looked(&watch, wall: wall, at: instant))
    }
    #expect(steps == [nil, nil, nil, nil] && watch.news == nil)
  }

  @Test func `a clock that was set is measured anew, and the store hears of the step`() {
    var watch = ClockWatch(limits: ClockLimits())
    _ = watch.answered(ahead: 0, roundTrip: .zero)
    watch.toldStore()
    _ = looked(&watch, wall: 100, at: 0)
    let step = looked(&watch, wall: 1101, at: 1)
    #expect(step == 1000 * Self.second)
    #expect(watch.offset == nil && watch.news == .stepped(by: 1000 * Self.second))
    let back = looked(&watch, wall: 102, at: 2)
    #expect(back == -1000 * Self.second && watch.news == .stepped(by: 0))
  }

  @Test func `a measure that the store has not seen moves with the step`() {
    var watch = ClockWatch(limits: ClockLimits())
    _ = looked(&watch, wall: 100, at: 0)
    _ = watch.answered(ahead: 7 * Self.second, roundTrip: .zero)
    _ = looked(&watch, wall: 200, at: 0)
    #expect(watch.news == .measured(ahead: 107 * Self.second) && watch.offset == nil)
  }

  @Test func `each connection measures anew`() {
    var watch = ClockWatch(limits: ClockLimits())
    _ = watch.answered(ahead: 7, roundTrip: .zero)
    watch.disconnected()
    #expect(watch.offset == nil)
    let measured = watch.answered(ahead: 8, roundTrip: .zero)
    #expect(measured == .taken(ahead: 8, isFar: false))
  }
}

@Suite struct ClockMeasureTests {
  private func answered(_ measure: inout ClockMeasure, ahead: Int64, roundTrip: Int64) -> ClockMeasure.Verdict {
    measure.answered(ahead: ahead, roundTrip: roundTrip)
  }

  // A consumer that was busy answered after four seconds, and the machine was told that its clock was two seconds off.
  @Test func `a slow answer is no measure, and a quick one is`() {
    var measure = ClockMeasure(limits: ClockLimits())
    #expect(answered(&measure, ahead: 4_000_000, roundTrip: 4_000_000) == .askAgain)
    #expect(answered(&measure, ahead: 70_000_010, roundTrip: 20) == .take(70_000_000))
  }

  @Test func `where all answers are slow the best one counts, and what it cannot tell is no difference`() {
    var measure = ClockMeasure(limits: ClockLimits())
    for _ in 0..<3 { #expect(answered(&measure, ahead: 3_000_000, roundTrip: 3_000_000) == .askAgain) }
    #expect(answered(&measure, ahead: 2_500_000, roundTrip: 2_500_000) == .take(0))
    measure = ClockMeasure(limits: ClockLimits())
    for _ in 0..<3 { #expect(answered(&measure, ahead: 90_000_000, roundTrip: 2_000_000) == .askAgain) }
    #expect(answered(&measure, ahead: 90_000_000, roundTrip: 3_000_000) == .take(89_000_000))
  }
}
