// What the tests of the relay's rules share: a relay whose time is a number that the test moves, and short words for intervals.

import DroverCore

/// A relay with one or two streams, and short words for what happens to it.
struct RelayBench {
  var relay: Relay
  var now: ContinuousClock.Instant
  private var live: Int64 = 0
  private var tokens: Int32 = 0

  init(
    _ limits: RelayLimits = .init(), acknowledged: [Int: IntervalSet] = [:], hasBackfill: Bool = false,
    isConnected: Bool = true
  ) {
    now = ContinuousClock().now
    relay = Relay(limits: limits, seed: 1, acknowledged: acknowledged, hasBackfill: hasBackfill, now: now)
    if isConnected { relay.connected(sessionPresent: true, patience: .zero, now: now) }
  }

  mutating func next() -> Relay.Step { relay.next(now: now) }
  mutating func pass(_ duration: Duration) { now = now.advanced(by: duration) }

  /// Everything up to here was read, and what was there is published by the test.
  mutating func scanned(through: Int64) {
    relay.didRead(.fresh(after: live, through: .max, limit: 1000), scannedThrough: through, lastSeq: through)
    live = through
  }

  mutating func publish(
    _ stream: Int = 1, _ after: Int64, _ through: Int64, events: Int? = nil, bytes: Int = 100, onlySeq: Int64? = nil
  )
    -> PublishToken
  {
    tokens += 1
    let token = PublishToken(rawValue: tokens)
    relay.published(
      token, stream: stream, interval: Interval(after: after, through: through),
      events: events ?? Int(through - after),
      bytes: bytes, onlySeq: onlySeq, now: now)
    return token
  }

  mutating func puback(_ token: PublishToken, _ reason: AcknowledgementReason = .success) {
    relay.acknowledged(token, reason: reason, now: now)
  }

  /// - Parameter isKept: the broker kept it; a consumer that is new to the relay says it live.
  mutating func confirm(
    _ stream: Int = 1, _ intervals: (Int64, Int64)..., session: String = "s", isKept: Bool = true,
    isAnswer: Bool = false
  ) {
    relay.confirmed(
      [stream: IntervalSet(intervals.map { Interval(after: $0.0, through: $0.1) })], session: session,
      isKept: isKept, isAnswer: isAnswer, now: now)
  }
}

/// A suite of the relay's rules.
protocol RelayRules {}

extension RelayRules {
  typealias Instant = ContinuousClock.Instant
  typealias Bench = RelayBench

  func set(_ intervals: (Int64, Int64)...) -> IntervalSet {
    IntervalSet(intervals.map { Interval(after: $0.0, through: $0.1) })
  }

  func again(_ stream: Int = 1, _ after: Int64, _ through: Int64, limit: Int = 1000) -> Relay.Step {
    .read(.again(stream: stream, interval: Interval(after: after, through: through), limit: limit))
  }
}
