// The life of one subject under one rule, so that what comes and goes is sent once.

struct AlertTrack {
  enum Stage: Equatable {
    /// Nothing to tell. Becomes `pending`.
    case quiet
    /// Beyond the limit since then, but not for long enough. Becomes `quiet` or `firing`.
    case pending(since: Duration)
    /// Told. Becomes `quiet` after it was well since then for long enough.
    case firing(wellSince: Duration?)
  }

  enum Step: Equatable { case nothing, began, ended }

  /// What ends and begins within this time is the same alert.
  static let memory = Duration.seconds(900)
  /// An alert that returns has to be well for twice as long each time, at most this many times.
  private static let mostDoublings = 5

  private(set) var stage = Stage.quiet
  /// When its condition was seen first, microseconds since 1970.
  private(set) var since: Int64
  private var endedAt: Duration?
  private var returns = 0
  /// Another consumer sent it.
  private(set) var isAnothers = false
  /// What was found last.
  var value: Int64 = 0
  var text = ""

  init(since: Int64) { self.since = since }

  /// One that another consumer sent.
  init(told alert: Alert) {
    (since, value, text) = (alert.since, alert.value, alert.text)
    follow(alert.since)
  }

  var isFiring: Bool { if case .firing = stage { true } else { false } }

  /// Whether nothing of it matters any more.
  func isForgotten(at moment: Duration) -> Bool { stage == .quiet && !isRemembered(at: moment) }

  /// - Parameters:
  ///   - condition: nil when all is well.
  ///   - moment: of a clock that never goes back.
  ///   - wall: microseconds since 1970.
  mutating func take(
    _ condition: AlertCondition?, at moment: Duration, wall: Int64, hold: Duration, calm: Duration
  ) -> Step {
    if let condition { (value, text) = (condition.value, condition.text) }
    switch stage {
    case .quiet, .pending:
      guard condition?.isBeyond == true else {
        stage = .quiet
        return .nothing
      }
      return rise(at: moment, wall: wall, hold: hold)
    case .firing(let wellSince):
      guard condition == nil else {
        stage = .firing(wellSince: nil)
        return .nothing
      }
      let start = wellSince ?? moment
      stage = .firing(wellSince: start)
      guard moment - start >= calm * (1 << returns) else { return .nothing }
      stage = .quiet
      endedAt = moment
      return .ended
    }
  }

  private mutating func rise(at moment: Duration, wall: Int64, hold: Duration) -> Step {
    if stage == .quiet {
      if !isRemembered(at: moment) { (since, endedAt, returns) = (wall, nil, 0) }
      stage = .pending(since: moment)
    }
    guard case .pending(let start) = stage, moment - start >= hold else { return .nothing }
    if endedAt != nil { returns = min(returns + 1, Self.mostDoublings) }
    stage = .firing(wellSince: nil)
    return .began
  }

  // MARK: What another consumer sent

  /// Another consumer sent it as something that began then. It is the same alert, however this consumer saw it.
  mutating func follow(_ since: Int64) {
    if !isFiring { stage = .firing(wellSince: nil) }
    (self.since, isAnothers) = (since, true)
  }

  /// The other consumer sent its end.
  mutating func followEnd(at moment: Duration) { (stage, endedAt, isAnothers) = (.quiet, moment, false) }

  /// No consumer sent it: it is sent at the next look, if it still holds.
  mutating func holdBack() { stage = .pending(since: .zero) }

  private func isRemembered(at moment: Duration) -> Bool { endedAt.map { moment - $0 < Self.memory } ?? false }
}
