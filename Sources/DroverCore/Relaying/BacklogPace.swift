// How much of a backlog may be on its way at once. A live event overtakes what waits at the edge, and nothing that was sent before it: before a
// slow store that would be a full window's time. So the backlog takes as much of the window as is confirmed in a quarter of a second, and
// all of its share where the store keeps up.

struct BacklogPace: Sendable {
  /// How much longer than the shortest round trip the backlog may make all others.
  static let delay = Duration.milliseconds(250)

  /// Most unconfirmed events before the backlog waits.
  private(set) var events: Int
  private let most: Int
  private let least: Int
  private var shortest: Duration?
  private var smoothed: Duration?
  private var narrowedAt: ContinuousClock.Instant?

  /// - Parameter window: the most unconfirmed events of all; a tenth of it is left to what happens now.
  init(window: Int) {
    most = window - window / 10
    least = max(1, window / 10)
    events = most
  }

  /// Another connection may have another road.
  mutating func connected() {
    shortest = nil
    smoothed = nil
  }

  /// A frame was confirmed.
  /// - Parameters:
  ///   - count: its events.
  ///   - trip: the time since it was published.
  mutating func confirmed(_ count: Int, after trip: Duration, now: ContinuousClock.Instant) {
    let shortest = min(self.shortest ?? trip, trip)
    let smoothed = self.smoothed.map { $0 * 7 / 8 + trip / 8 } ?? trip
    self.shortest = shortest
    self.smoothed = smoothed
    let wanted = shortest + Self.delay
    guard smoothed > wanted else {
      // An eighth more in a round trip: what is too much shows as late as that.
      events = min(most, events + (count + 7) / 8)
      return
    }
    // What it does shows after a round trip.
    guard narrowedAt.map({ $0.advanced(by: smoothed) <= now }) ?? true else { return }
    narrowedAt = now
    // What is on its way is the rate times the round trip (Little, "A proof for the queuing formula L = λW", 1961).
    events = max(least, Int(Double(events) * (wanted / smoothed)))
  }
}
