// The edge agent's work: it asks the machines of DroverCore's `Relaying` what to do, reads the outbox, builds frames, publishes them, and writes down
// what the broker acknowledged and the cloud confirmed. It decides nothing itself and knows only the seams. Its parts by subject:
//   +Down      rows that come down from the cloud
//   +Receiving what comes from the cloud, and the question that is open with it
//   +Sending   announcements, answers, and what is read from the outbox
//   +Worklists tables that the cloud refills
//   +Frames    how what was read becomes frames, and what is too large for one
//   +Database  locks, errors, new epochs, settling and housekeeping

package import DroverCore
package import DroverEvents
import DroverWire
package import Logging

package final class EdgeRelay: SessionHandler {
  let machine: MachineID
  let store: any EdgeStore
  let limits: RelayLimits
  let software: String
  /// Who the agent is to the broker, for the person who reads its ACL; nil when it connects without a user.
  let user: String?
  /// Wall clock, microseconds since 1970.
  let wallClock: () -> Int64
  let clock: Clock
  let random: () -> UInt64
  /// Names this process in its statuses.
  let process: Int64

  // What decides.
  var relay: Relay
  var dialogue: CloudDialogue
  var clockWatch: ClockWatch
  var division: FrameDivision
  var database: DatabaseWatch
  var commits: CommitWatch
  var settling: SettlePace
  var backfilling: BackfillPace
  var housekeeping: Housekeeping
  var outboxReports: OutboxReportSchedule
  var traffic: TrafficLog

  // What is in hand.
  var events: AgentLog
  var publisher: (any Publisher)?
  var inbound: InboundQueue
  var announcements = Announcements()
  /// Rows that came down.
  var arrivals = DownArrivals()
  /// The numbering of what goes down, by the newest confirmation; nil while no consumer was heard that knows two-way rows.
  var cloudDown: Epoch?
  /// The numbering that the database has heard of.
  var notedNumbering: Epoch?
  var downConfirming: DownConfirmPace
  var refusedTriedAt: ContinuousClock.Instant?
  /// Tables that the cloud refills.
  var worklists: Worklists
  /// What the cloud wants to be tried again, and whether that is under way.
  var retries: [RetryOrder] = []
  var isRetrying = false
  /// The rows that the app's tables refuse, as last reported to the cloud.
  var reportedRefused = RefusedRows()
  /// Questions from the cloud about what the tables hold.
  var responder: StreamResponder
  var encoders: [Int: FrameEncoder] = [:]
  /// Events that are to become dead letters before anything else is read.
  var unsendable: [UnsendableEvent] = []
  /// Trouble that is not stored yet; nil where the trouble is over.
  var troubleNews: [Trouble.Kind: Trouble?] = [.cloned: nil]
  /// The gaps and waits last reported to the cloud.
  var reportedGaps: [StreamName: String] = [:]
  var reportedWaits: [StreamWait] = []
  /// The agent has reported on this connection that the database is away.
  var isAwayReported = false
  var isStopping = false
  /// When frames were sent again because the cloud had no description of their stream.
  var describedAgain: ContinuousClock.Instant?

  /// - Parameters:
  ///   - wallClock: microseconds since 1970.
  ///   - clock: the time of all waiting; the one that `turn(now:)` is called with.
  ///   - random: what questions are named by, and the jitter of retries is drawn from.
  package init(
    machine: MachineID, store: any EdgeStore, limits: RelayLimits, software: String, user: String? = nil,
    logger: Logger, wallClock: @escaping () -> Int64,
    clock: @escaping () -> ContinuousClock.Instant = { ContinuousClock().now },
    random: @escaping () -> UInt64 = { .random(in: .min ... .max) }
  ) throws {
    self.machine = machine
    self.store = store
    self.limits = limits
    self.software = software
    self.user = user
    self.wallClock = wallClock
    self.clock = Clock(read: clock)
    self.random = random
    events = AgentLog(logger: logger)
    relay = try Self.makeRelay(store, limits, seed: random(), now: clock())
    process = Int64(random() >> 11) | 1
    dialogue = CloudDialogue(limits: limits)
    clockWatch = ClockWatch(limits: limits.clock)
    division = FrameDivision(limits: limits)
    database = DatabaseWatch(limits: limits.database)
    commits = CommitWatch(limits: limits.database)
    settling = SettlePace(interval: limits.database.settleInterval)
    downConfirming = DownConfirmPace(limits: limits.waiting)
    backfilling = BackfillPace(limits: limits)
    housekeeping = Housekeeping(limits: limits.database)
    outboxReports = OutboxReportSchedule(limits: limits.reporting)
    traffic = TrafficLog(interval: limits.reporting.trafficInterval)
    inbound = InboundQueue(messages: limits.queuedMessages, bytes: limits.queuedBytes)
    responder = StreamResponder(machine: machine, limits: limits.answering)
    worklists = Worklists(store.streams, limits: limits.worklists, now: clock())
    makeEncoders()
  }

  static func makeRelay(
    _ store: any EdgeStore, _ limits: RelayLimits, seed: UInt64, now: ContinuousClock.Instant
  ) throws(EdgeStoreError) -> Relay {
    Relay(
      limits: limits, seed: seed, confirmed: try store.confirmed(), acknowledged: try store.acknowledged(),
      hasBackfill: store.hasBackfill, now: now)
  }

  /// Called once when the work cannot go on, with advice. The owner of the session ends it.
  package var onFatal: (String) -> Void = { _ in }
  /// Called with nil when a connection is open, and with the reason when it is gone.
  package var onConnection: (String?) -> Void = { _ in }
  /// Called with each failure on the way to the cloud.
  package var onFailure: (DeliveryFailure.Kind) -> Void {
    get { events.onMetric }
    set { events.onMetric = newValue }
  }
  /// Called in every turn, to show that the relay moves.
  package var beat: () -> Void = {}

  /// Questions of people at the machine to the cloud.
  package let questions = CloudQuestions()
  /// Called with how many conflicts the cloud says there are, when it is another number; nil where it does not say.
  package var onConflicts: (Int?) -> Void = { _ in }

  /// Another thread says through it that another process may have committed.
  package let hint = NewsHint()

  // MARK: The session

  package func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    self.publisher = publisher
    onConnection(nil)
    dialogue.opened(wall: wallClock())
    newQuestion()
    downConfirming.asked()
    worklists.connected(now: clock.now)
    division.opened(maximumPacketSize: info.maximumPacketSize, level: info.protocolLevel)
    announce()
    outboxReports.connected(now: clock.now)
    relay.connected(sessionPresent: info.sessionPresent, patience: limits.patience, now: clock.now)
  }

  package func sessionEnding(isTaken: Bool?) {
    // A broker that disconnects the agent because of a frame's size gives the session to no other client.
    if isTaken == nil, division.isSuspected { return }
    guard let trouble = dialogue.ending(isTaken: isTaken, wall: wallClock()) else { return }
    troubleNews[.session] = trouble
    events.emit(SessionTaken(machine: machine, trouble: trouble))
  }

  package func sessionClosed(reason: String) {
    // What came over this connection is heard before it is given up.
    hear()
    onConnection(reason)
    events.emit(ConnectionLost(reason: reason))
    interrupted()
    if let suspect = division.closed() { blame(suspect, .connectionsEnd) }
    publisher = nil
    clockWatch.disconnected()
    announcements.disconnected()
    responder.disconnected()
    questions.disconnected()
    worklists.disconnected()
    outboxReports.disconnected()
    dialogue.closed()
    relay.disconnected()
  }

  /// Puts a batch aside for the next turn, which follows at once. A batch without room is refused as a whole.
  package func received(_ messages: [InboundMessage]) throws {
    guard inbound.append(messages) == .queued else { throw InboundQueueFull(waiting: inbound.count) }
  }

  package func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
    if let topic = announcements.acknowledged(token) {
      guard reason != .success, reason != .noMatchingSubscribers else { return }
      return events.emit(AnnouncementRefused(topic: topic, reason: reason, user: user))
    }
    if responder.acknowledged(token) || acknowledged(worklist: token, reason)
      || questions.acknowledged(token, reason, machine: machine)
    {
      return
    }
    division.answered(token)
    guard let publication = relay.acknowledged(token, reason: reason, now: clock.now) else { return }
    guard reason != .success else { return division.accepted(stream: publication.stream) }
    publicationRefused(publication, reason)
  }

  package func turn(now: ContinuousClock.Instant) -> Duration {
    beat()
    hear()
    if let wait = database.begins(now: now) { return wait }
    do {
      return try live(now: now)
    } catch {
      return react(to: database.failed(error, began: now, now: clock.now), error)
    }
  }

  /// What a turn does when nothing is in its way. Returns how long the next may wait.
  private func live(now: ContinuousClock.Instant) throws(EdgeStoreError) -> Duration {
    if let publisher { questions.publish(machine, publisher) }
    watchClock()
    takeConfirmation(now: now)
    try stepEpoch(now: now)
    if publisher != nil, !isStopping, dialogue.isQuestionDue(now: now) { ask() }
    try look()
    try moveUnsendable()
    let downWait = try applyDown()
    var wait = min(downWait, try send(now: now))
    try settle(now: clock.now)
    database.worked()
    try maintain(now: now)
    wait = min(wait, try workOnLists())
    if let line = traffic.line(
      sent: relay.sentEvents, confirmed: relay.confirmedEvents, isIdle: isIdle, isConnected: publisher != nil,
      now: clock.now)
    {
      events.emit(TrafficCounted(line: line))
    }
    if publisher != nil, !announcements.isEmpty { wait = min(wait, limits.reporting.announcementRetry) }
    if let at = settling.at { wait = min(wait, max(.zero, clock.now.duration(to: at))) }
    if let again = commits.again { wait = min(wait, again) }
    if let length = database.ended(now: clock.now) { events.emit(DatabaseFreed(length: length)) }
    return wait
  }

  /// The connection is gone, or the cloud does not hear: the log says later how long this lasted.
  func interrupted() {
    traffic.interrupted(sent: relay.sentEvents, confirmed: relay.confirmedEvents, now: clock.now)
  }

  // MARK: What it is asked

  /// Whether everything that was seen in the outbox is confirmed and written down.
  var isIdle: Bool { relay.isIdle && !relay.hasSettlement && unsendable.isEmpty }

  /// What is unconfirmed outside of the edge's disk.
  package var outstanding: (events: Int, bytes: Int) { (relay.outstandingEvents, relay.outstandingBytes) }

  /// Whether something is to be sent again, be it only an empty frame.
  package var hasIntervalsAgain: Bool { relay.hasIntervalsAgain }

  /// Whether a question to the cloud is open, or will be: perhaps it no longer has what it had confirmed.
  package var doubtsCloud: Bool { dialogue.question.isInDoubt }

  // MARK: Stopping

  package func isDrained() -> Bool {
    isStopping = true
    return database.isDamaged || dialogue.epoch.isAway || relay.isQuiet && !relay.hasSettlement
  }

  package func sessionWillClose(publisher: any Publisher) {
    // The last word stands until the agent comes back.
    if !database.isDamaged, !dialogue.epoch.isAway, let found = try? store.outboxFigures() {
      outboxReports.found(found, now: clock.now)
    }
    _ = try? publisher.publish(status(isOnline: false))
  }
}
