// One worklist as the agent drives it: what it knows of the table, the request that is open, and what is to be said. It decides when something is due; the
// agent looks into the database and publishes.

import DroverCore
import DroverWire

struct WorklistDriver {
  typealias Instant = ContinuousClock.Instant

  let stream: Int
  let name: StreamName
  let declaration: WorklistDeclaration
  private let limits: WorklistLimits

  var pace: WorklistPace
  /// As the database was looked at last; nil: it has to be looked at.
  private(set) var standing: WorklistStanding?
  /// When rows are counted; nil: nothing has changed since.
  private var countAt: Instant?
  private var countedAt: Instant?
  /// An answer to the open request, to be acted upon.
  var answer: ReadWorklistReply?
  /// Outcomes that were published, by the names of their questions.
  private var said: [String: RefillOutcome] = [:]
  /// Those that the cloud has noted, to be written down.
  var noted: [RefillOutcome] = []
  private var sayAt: Instant?
  private var sayDelay: Duration
  /// Nothing is tried before this, after something failed.
  var pausedUntil: Instant?
  /// Why the agent does not ask, as it stands in the database; the outer nil: it is not known.
  var statedWait: String??
  /// Rows that the log has named.
  var reported: WorklistRows?
  /// Why there were no orders, as the log has named it.
  var reportedReason: String?
  /// The cloud knew the request before this one.
  private var wasClosed = false

  init(_ stream: EdgeStream, _ declaration: WorklistDeclaration, limits: WorklistLimits, now: Instant) {
    self.stream = stream.number
    name = stream.name
    self.declaration = declaration
    self.limits = limits
    pace = WorklistPace(interval: declaration.interval, patience: limits.patience, now: now)
    countAt = now
    sayDelay = limits.patience.lowerBound
  }

  var open: RefillID? { standing?.open }

  // MARK: Looking

  /// Another program has committed.
  mutating func changed(now: Instant) {
    guard countAt == nil else { return }
    // An app that writes all the time is not counted after each commit.
    countAt = countedAt.map { max(now, $0.advanced(by: limits.countDistance)) } ?? now
  }

  func isCountDue(now: Instant) -> Bool { countAt.map { $0 <= now } ?? false }

  mutating func counted(_ found: WorklistStanding, now: Instant) {
    let before = standing
    standing = found
    countAt = nil
    countedAt = now
    pace.found(isReady: isReady, now: now)
    if let before, before.triggers != found.triggers { pace.triggered(now: now) }
    if before?.open != found.open {
      answer = nil
      if found.open == nil {
        if before?.open != nil { pace.closed(asksAtOnce: false, now: now) }
      } else {
        // It was opened before this agent started, or the database was put back.
        pace.asked(now: now)
        pace.connected(now: now)
      }
    }
    if before?.last != found.last || before?.isLastNoted != found.isLastNoted {
      said = [:]
      sayAt = found.last == nil || found.isLastNoted ? nil : now
      sayDelay = limits.patience.lowerBound
    }
  }

  /// The table may get orders.
  var isReady: Bool { declaration.isEnabled && standing?.rows.isReady(for: declaration.refillWhen) == true }

  /// Nothing that is known of the database counts any more.
  mutating func databaseChanged(now: Instant) {
    standing = nil
    countAt = now
    countedAt = nil
    statedWait = nil
    answer = nil
    noted = []
    said = [:]
    sayAt = nil
    if pace.isAsking { pace.closed(asksAtOnce: true, now: now) }
  }

  // MARK: Asking

  /// - Returns: the open request's document, which carries what became of the one before.
  func request(_ open: RefillID) -> OrderRequest {
    OrderRequest(
      request: open, stream: name, limit: declaration.limit, bytes: limits.answerBytes, last: standing?.last)
  }

  /// A request was opened.
  mutating func opened(_ request: RefillID, now: Instant) {
    standing?.open = request
    answer = nil
    pace.asked(now: now)
  }

  /// - Parameter wasKnown: the cloud knew the request, or the machine all of its orders. Another request follows at once, but not twice in a row.
  mutating func closed(wasKnown: Bool, now: Instant) {
    standing?.open = nil
    answer = nil
    pace.closed(asksAtOnce: wasKnown && !wasClosed, now: now)
    wasClosed = wasKnown
    countAt = now
  }

  mutating func connected(now: Instant) {
    pace.connected(now: now)
    guard sayAt != nil else { return }
    sayAt = now
    sayDelay = limits.patience.lowerBound
  }

  // MARK: The outcome

  /// The outcome that is to be said now.
  /// - Parameter id: names the question.
  mutating func outcome(saidAs id: String, now: Instant) -> RefillOutcome? {
    guard let at = sayAt, at <= now, let last = standing?.last else { return nil }
    sayAt = now.advanced(by: sayDelay)
    sayDelay = min(sayDelay * 2, limits.patience.upperBound)
    said[id] = last
    return last
  }

  /// An answer to something that was asked.
  /// - Returns: whether it was this worklist's.
  mutating func heard(_ id: String, _ reply: ReadWorklistReply) -> Bool {
    if let outcome = said[id] {
      if reply == .noted {
        said[id] = nil
        noted.append(outcome)
        if outcome == standing?.last { sayAt = nil }
      }
      return true
    }
    guard let open, open.text == id else { return false }
    answer = reply
    return true
  }

  func knows(_ id: String) -> Bool { said[id] != nil || open?.text == id }

  // MARK: Waiting

  /// How long the next turn may wait for this worklist.
  /// - Parameter canAsk: there is a consumer that has its queue.
  func wait(canAsk: Bool, now: Instant) -> Duration? {
    var moments = [countAt].compactMap(\.self)
    if answer != nil || !noted.isEmpty { moments.append(now) }
    if canAsk {
      moments.append(pace.due)
      if let sayAt { moments.append(sayAt) }
    }
    guard let next = moments.min() else { return nil }
    return max(.zero, now.duration(to: max(next, pausedUntil ?? next)))
  }
}
