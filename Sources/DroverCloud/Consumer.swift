// The cloud consumer: takes groups of messages, commits them in one transaction, and only then lets them be acknowledged and confirmed.
// It knows only the seams: its caller provides the broker's session and the store.

package import DroverCore
package import DroverEvents
private import DroverWire
package import Logging

package final class Consumer: SessionHandler {
  package struct Limits: Sendable {
    /// Larger messages are refused: kept as dead letters with their beginning.
    package var messageBytes: Int
    /// Least time between two confirmations to one machine.
    package var confirmInterval: Duration
    /// What one machine may use.
    package var machine: MachineLimits

    package init(
      messageBytes: Int = 4 << 20, confirmInterval: Duration = .milliseconds(50),
      machine: MachineLimits = MachineLimits()
    ) {
      self.machine = machine
      self.messageBytes = messageBytes
      self.confirmInterval = confirmInterval
    }
  }

  /// Of one turn, so that messages are heard in between when all of a fleet waits.
  private static let mostConfirmations = 1000

  let store: any CloudStore
  let limits: Limits
  /// Who the consumer is to the broker, for the person who reads its ACL; nil when it connects without a user.
  private let user: String?
  var events: ConsumerLog
  /// Wall clock, microseconds since 1970.
  let wallClock: () -> Int64
  private(set) var publisher: (any Publisher)?
  /// The broker may have dropped messages that it acknowledged to the machines, and the machines do not know yet.
  private var hasLostSession = false
  /// What was known of the store's changes by others when something was last taken from it.
  private var foreignChanges = 0
  var confirmations = ConfirmationSchedule()
  var received = ReceivedCache<StreamOrigin, IntervalSet>()
  var runs = ReceivedCache<OutboxOrigin, Runs>()
  var gate: MachineGate
  var clock = HybridClock()
  var requests: [Topic: [UInt8]] = [:]
  /// What waits for its PUBACK, for the day when the broker refuses it.
  private var published: [PublishToken: Topic] = [:]
  /// The last question of each machine, which its next confirmations answer.
  private var questions: [MachineID: Int64] = [:]
  private var lastGroupJobs: ContinuousClock.Instant?
  /// Over messages that may end the process; nil until the first ones come.
  var watch: PoisonWatch?
  /// The process ends in order; what still comes is processed without a watch.
  var hasEnded = false
  /// The turn since which nothing has come that was delivered before.
  var concernedAt: ContinuousClock.Instant?
  /// Under which the store keeps what this consumer has in its hands; each of several has its own.
  package var noteName = "in_hand"
  /// What each machine said last, as far as it was heard since the start.
  var isOnline: [MachineID: Bool] = [:]
  /// Who is heard under each name, the names under which there are two, and what was found and is not written down yet.
  var watches: [MachineID: DuplicateMachineWatch] = [:]
  var duplicates: [MachineID: Trouble] = [:]
  var areDuplicatesKnown = false
  var verdicts: [MachineID: DuplicateMachineWatch.Verdict] = [:]
  /// Streams that wait because of their sink tables, and descriptions that are asked for again when the tables may be free.
  var blocks = BlockedSinks()
  var undescribed: Set<MachineStream> = []
  var lastLookAtBlocks: ContinuousClock.Instant?
  /// How many conflicts each machine was said to have.
  var toldConflicts: [MachineID: Int] = [:]
  /// What goes down to the machines.
  var down = DownState()
  /// Answers the questions of machines on another thread; nil where none are answered.
  package var answers: (any MachineAnswers)?
  /// The streams for which there is a queue of orders; nil where the configuration has none.
  package var worklists: [StreamName]?
  /// Another thread says through it that another program may have edited rows in the store.
  package let editHint = NewsHint()
  /// Called once when there is a stream that goes down: from now on edits in the store matter.
  package var onDownStreams: () -> Void = {}
  /// Whether another client takes this consumer's session, and what of it is not written down yet.
  private var session = SessionWatch()
  private var taken: Trouble?

  package init(
    store: any CloudStore, limits: Limits, user: String? = nil, logger: Logger, wallClock: @escaping () -> Int64
  ) {
    self.store = store
    self.limits = limits
    gate = MachineGate(limits.machine)
    self.user = user
    events = ConsumerLog(logger: logger)
    self.wallClock = wallClock
  }

  /// Called once when the work cannot go on, with advice. The owner of the session ends it.
  package var onFatal: (String) -> Void = { _ in }
  /// Called after each try to commit messages.
  package var onCommit: (CommitResult) -> Void {
    get { events.onMetric }
    set { events.onMetric = newValue }
  }
  /// It joined a group and has had no session before, so it cannot have lost messages.
  package var isNewcomer = false
  /// Whether it is the leader, which does the group's jobs.
  package var isLeader: () -> Bool = { true }
  /// Called in every turn, as a heartbeat.
  package var beat: () -> Void = {}

  // MARK: The session

  package func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    self.publisher = publisher
    session.opened(now: wallClock())
    hasLostSession = hasLostSession || (!info.sessionPresent && !isNewcomer)
    do {
      let machines = try store.transaction { transaction in
        _ = try nameSession(transaction)
        // Each confirmation says whether its machine has to hold.
        duplicates = try transaction.troubles(.cloned)
        blocks.take(try transaction.blockedSinks())
        try openDown(transaction)
        return try transaction.machines()
      }
      (hasLostSession, isNewcomer) = (false, false)
      for (machine, epoch) in machines.sorted(by: { $0.key < $1.key }) { confirmations.touch(machine, epoch: epoch) }
    } catch {
      failed(error)
      events.emit(SessionNotOpened(error: error))
    }
  }

  /// The name by which machines know that nothing of what the broker had for the consumers was lost: the present one, or another.
  private func nameSession(_ transaction: any CloudTransaction) throws -> String {
    if !hasLostSession, let name = try transaction.session() { return name }
    let name = Epoch(random: .random(in: .min ... .max)).text
    try transaction.setSession(name)
    return name
  }

  package func sessionEnding(isTaken: Bool?) {
    guard let trouble = session.closed(isTaken: isTaken, now: wallClock()) else { return }
    taken = trouble
    events.emit(SessionTaken(trouble: trouble))
  }

  package func sessionClosed(reason: String) {
    publisher = nil
    published = [:]
    down.relay.disconnected()
  }

  package func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
    let topic = published.removeValue(forKey: token)
    // A confirmation is retained, so it matters little whether the edge is there to hear it.
    guard let topic, reason != .success, reason != .noMatchingSubscribers else { return }
    events.emit(PublishRefused(topic: topic, reason: reason, user: user))
  }

  package func received(_ messages: [InboundMessage]) throws {
    do {
      try process(messages)
      events.emit(MessagesCommitted())
    } catch {
      forgetReceived()
      gate.forgetKnown()
      failed(error)
      events.emit(CommitFailed(messages: messages.count, error: error))
      throw error
    }
  }

  /// Commits what of the messages one transaction takes.
  /// - Parameter note: written down with the last of them.
  /// - Returns: the others.
  func commit(_ messages: [InboundMessage], note: String?) throws -> [InboundMessage] {
    var group = MessageGroup()
    var later: [InboundMessage] = []
    var isAgain = false
    var found: [MachineID: Trouble] = [:]
    try store.transaction { transaction in
      group = MessageGroup()
      group.blocks = blocks
      // What an attempt before this one took for received is not in the store, and others may have received more.
      if isAgain { gate.forgetKnown() }
      // Another command may have removed a machine, and with it what was received of it.
      let isForeign = store.foreignChanges != foreignChanges
      foreignChanges = store.foreignChanges
      if isForeign { gate.forgetKnown() }
      if isAgain || isForeign || store.isShared { forgetReceived() }
      isAgain = true
      found = try judge(transaction)
      group.duplicates = found
      if let taken { try transaction.note(taken, machine: nil) }
      var now = messages
      if store.isShared {
        let division = try Division(messages, transaction)
        (now, later) = (division.now, division.later)
      }
      group.awaitsReplays = try transaction.awaitsReplays()
      for message in now {
        let outcome = try take(message, transaction, &group)
        group.outcomes[outcome, default: 0] += 1
        // What became of it this time is in this transaction, a new letter at worst. A frame that waits for its schema was not taken.
        if group.awaitsReplays, ![.waiting, .overtaken, .held, .setAside].contains(outcome) {
          try transaction.settleReplay(topic: message.topic, raw: message.payload)
        }
      }
      try finish(&group, transaction)
      group.raised = transaction.raised
      if let note, later.isEmpty { try transaction.setNote(noteName, note) }
    }
    taken = nil
    tell(found)
    follow(group)
    return later
  }

  /// What comes after a commit.
  private func follow(_ group: MessageGroup) {
    for (machine, epoch) in group.machines.sorted(by: { $0.key < $1.key }) {
      if let epoch { confirmations.touch(machine, epoch: epoch) }
    }
    reportBlocks(group)
    followDown(group)
    for question in group.asked { answers?.ask(question) }
    requests.merge(group.requests) { _, new in new }
    for (machine, status) in group.statuses {
      guard let ask = status.ask, let epoch = status.epoch else { continue }
      questions[machine] = ask
      confirmations.touch(machine, epoch: epoch)
    }
    report(group)
  }

  func failed(_ error: any Error) {
    if let unusable = error as? StoreUnusable { onFatal(unusable.description) }
  }

  private func forgetReceived() {
    received = ReceivedCache()
    runs = ReceivedCache()
    areDuplicatesKnown = false
  }

  package func turn(now: ContinuousClock.Instant) -> Duration {
    beat()
    guard let publisher else { return .seconds(1) }
    doGroupJobs(now: now)
    lookAtBlocks(now: now)
    calmDown(now: now)
    for (topic, payload) in requests.sorted(by: { $0.key.text < $1.key.text }) {
      guard let token = try? publisher.publish(OutboundMessage(topic: topic.text, payload: payload)) else { continue }
      published[token] = topic
    }
    requests = [:]
    publishAnswers(publisher)
    confirmDue(now: now, publisher)
    let rest = sendDown(now: now, publisher)
    return min(rest, confirmations.nextDue(now: now) ?? .seconds(1))
  }

  package func isDrained() -> Bool {
    guard confirmations.isEmpty || publisher == nil else { return false }
    endWatch()
    return true
  }

  package func sessionWillClose(publisher: any Publisher) {}

  /// All machines whose turn it is, from one look into the store: with a transaction for each, a fleet's confirmations would cost more than
  /// its events.
  private func confirmDue(now: ContinuousClock.Instant, _ publisher: any Publisher) {
    var due = confirmations.takeDue(now: now, interval: limits.confirmInterval, limit: Self.mostConfirmations)[...]
    guard !due.isEmpty else { return }
    do {
      let (session, known) = try store.transaction { transaction in
        // The runs last: whatever was received is of a run that they tell of.
        let known = try due.map { machine, epoch in
          (
            try transaction.receivedStreams(machine: machine, epoch: epoch),
            try transaction.runs(machine: machine, epoch: epoch),
            answers == nil || !down.hasStreams ? nil : try transaction.conflictCount(of: machine)
          )
        }
        if store.isShared {
          duplicates = try transaction.troubles(.cloned)
          down.epoch = try transaction.downEpoch()
        }
        return (try nameSession(transaction), known)
      }
      hasLostSession = false
      for (sets, runs, conflicts) in known {
        try confirm(due.first!.machine, due.first!.epoch, sets, runs, conflicts, session, publisher)
        due.removeFirst()
      }
    } catch {
      failed(error)
      for (machine, epoch) in due { confirmations.touch(machine, epoch: epoch) }
      events.emit(ConfirmationFailed(machine: due.first!.machine, others: due.count - 1, error: error))
    }
  }

  private func confirm(
    _ machine: MachineID, _ epoch: Epoch, _ sets: [StreamName: IntervalSet], _ runs: Runs, _ conflicts: Int?,
    _ session: String,
    _ publisher: any Publisher
  ) throws {
    let confirmation = Confirmation(
      epoch: epoch, session: session, at: wallClock(), streams: sets, runs: runs.told, answer: questions[machine],
      maxMessageBytes: limits.messageBytes, clonedSince: duplicates[machine]?.since, down: down.epoch,
      conflicts: conflicts, compares: answers != nil, worklists: worklists)
    let token = try publisher.publish(
      OutboundMessage(
        topic: Topic.confirm(machine).text, payload: confirmation.document, isRetained: true,
        contentType: "application/json"))
    published[token] = .confirm(machine)
    toldConflicts[machine] = conflicts
  }

  private func doGroupJobs(now: ContinuousClock.Instant) {
    guard isLeader(), lastGroupJobs.map({ $0.advanced(by: .seconds(3600)) <= now }) ?? true else { return }
    lastGroupJobs = now
    let weekAgo = wallClock() - 7 * 86_400 * 1_000_000
    do {
      try store.transaction { try $0.retireTombstones(madeBefore: weekAgo) }
    } catch {
      events.emit(TombstonesNotRetired(error: error))
    }
  }

  /// In one order, and what all consumers change last: then they seldom wait for each other, and not in a circle.
  private func finish(_ group: inout MessageGroup, _ transaction: any CloudTransaction) throws {
    for (origin, known) in received.changed {
      try transaction.setReceived(
        known, machine: origin.outbox.machine, epoch: origin.outbox.epoch, stream: origin.stream)
    }
    received.saved()
    for (outbox, known) in runs.changed.sorted(by: { $0.key.machine < $1.key.machine }) {
      if let run = known.newest { try transaction.raise(run, machine: outbox.machine, epoch: outbox.epoch) }
    }
    runs.saved()
    for machine in group.withdrawn.sorted() { try transaction.withdrawStatus(machine: machine) }
    for (machine, status) in group.latestStatuses.sorted(by: { $0.key < $1.key }) {
      try transaction.setStatus(status, machine: machine)
    }
    for (machine, epoch) in group.machines.sorted(by: { $0.key < $1.key }) {
      try transaction.heard(machine: machine, epoch: epoch)
    }
    for (machine, counts) in group.overruns.sorted(by: { $0.key < $1.key }) {
      for (budget, count) in counts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        try transaction.note(count, over: budget, machine: machine)
      }
    }
    for (origin, progress) in group.progress.sorted(by: { $0.key < $1.key }) {
      try transaction.note(progress, machine: origin.machine, stream: origin.stream)
    }
    try writeBlocks(group, transaction)
    try transaction.count(group.outcomes)
  }
}
