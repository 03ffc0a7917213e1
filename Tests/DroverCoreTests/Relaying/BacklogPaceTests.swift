@testable import DroverCore
import Testing

@Suite struct BacklogPaceTests {
  /// Frames of 100 events go out as long as the pace has room, and are confirmed in their order by a store of a certain speed.
  /// - Returns: what the backlog may have on its way at the end, and the longest trip of the last quarter.
  private func drain(_ pace: inout BacklogPace, rate: Int, road: Duration, frames: Int) -> (events: Int, trip: Duration)
  {
    var now = ContinuousClock().now
    var onTheWay: [ContinuousClock.Instant] = []
    var longest = Duration.zero
    // The store is busy until then.
    var free = now
    for frame in 0..<frames {
      while onTheWay.count * 100 < pace.events { onTheWay.append(now) }
      let sent = onTheWay.removeFirst()
      free = max(free, sent.advanced(by: road)).advanced(by: .seconds(100) / rate)
      now = free
      let trip = sent.duration(to: now)
      if frame >= frames * 3 / 4 { longest = max(longest, trip) }
      pace.confirmed(100, after: trip, now: now)
    }
    return (pace.events, longest)
  }

  @Test func `a store that keeps up has all of the backlog's share`() {
    var pace = BacklogPace(window: 50_000)
    #expect(drain(&pace, rate: 300_000, road: .milliseconds(20), frames: 5000).events == 45_000)
  }

  @Test(arguments: [5_000, 20_000, 85_000])
  func `a slow store has no more before it than it takes in a quarter of a second`(rate: Int) {
    var pace = BacklogPace(window: 50_000)
    let (events, trip) = drain(&pace, rate: rate, road: .milliseconds(5), frames: 10_000)
    // A tenth of the window stays in any case.
    #expect(trip < max(.milliseconds(400), .seconds(1) * 6000 / rate))
    #expect(events >= 5000 && events < 45_000)
  }

  @Test func `a long road is no slow store`() {
    var pace = BacklogPace(window: 50_000)
    #expect(drain(&pace, rate: 100_000, road: .milliseconds(600), frames: 10_000).events > 40_000)
  }

  @Test func `after a slow time it has its share again`() {
    var pace = BacklogPace(window: 50_000)
    #expect(drain(&pace, rate: 5000, road: .milliseconds(5), frames: 2000).events < 10_000)
    #expect(drain(&pace, rate: 300_000, road: .milliseconds(5), frames: 10_000).events == 45_000)
  }

  @Test(arguments: 1..<12)
  func `the smallest windows have room for an event`(window: Int) {
    var pace = BacklogPace(window: window)
    #expect(pace.events >= 1)
    _ = drain(&pace, rate: 10, road: .milliseconds(5), frames: 10)
    #expect(pace.events >= 1)
  }
}
