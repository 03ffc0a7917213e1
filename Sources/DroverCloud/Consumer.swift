// The cloud consumer: takes groups of messages, commits them in one transaction, and only then lets them be acknowledged and confirmed.
// It knows the seams alone: whoever drives it brings the broker's session and the store.

package import DroverCore
private import DroverWire
package import Logging

package final class Consumer: SessionHandler {
  package struct Limits: Sendable {
    /// Larger messages are refused: kept as dead letters with their beginning.
    package var messageBytes: Int
    /// Least time between two confirmations to one machine.
    package var confirmInterval: Duration

    package init(messageBytes: Int = 4 << 20, confirmInterval: Duration = .milliseconds(50)) {
      self.messageBytes = messageBytes
      self.confirmInterval = confirmInterval
    }
  }

  /// Of one turn, so that messages are heard in between when all of a fleet waits.
  private static let mostConfirmations = 1000

  private let store: any CloudStore
  private let limits: Limits
  /// Who the consumer is to the broker, for the person who reads its ACL; nil when it connects without a user.
  private let user: String?
  private let logger: Logger
  /// Wall clock, microseconds since 1970.
  private let wallClock: () -> Int64
  private var publisher: (any Publisher)?
  private var sessionName = ""
  private var confirmations = ConfirmationSchedule()
  private var received = ReceivedCache<StreamOrigin, IntervalSet>()
  private var runs = ReceivedCache<OutboxOrigin, Runs>()
  private var clock = HybridClock()
  private var requests: [Topic: [UInt8]] = [:]
  /// What waits for its PUBACK, for the day when the broker refuses it.
  private var published: [PublishToken: Topic] = [:]
  /// The last question of each machine, which its next confirmations answer.
  private var questions: [MachineID: Int64] = [:]
  private var lastHousekeeping: ContinuousClock.Instant?
  private var warned: [String: Int] = [:]

  package init(
    store: any CloudStore, limits: Limits, user: String? = nil, logger: Logger, wallClock: @escaping () -> Int64
  ) {
    self.store = store
    self.limits = limits
    self.user = user
    self.logger = logger
    self.wallClock = wallClock
  }

  /// Told once when the work cannot go on, with what to do about it; whoever runs the session ends it.
  package var onFatal: (String) -> Void = { _ in }
  /// Called in every turn, to show that the consumer moves.
  package var beat: () -> Void = {}

  // MARK: The session

  package func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    self.publisher = publisher
    do {
      let machines = try store.transaction { transaction in
        // Without a session the broker may have dropped what it acknowledged to the edges: they are told by another name.
        if info.sessionPresent, let name = try transaction.session() {
          sessionName = name
        } else {
          sessionName = Epoch(random: .random(in: .min ... .max)).text
          try transaction.setSession(sessionName)
        }
        return try transaction.machines()
      }
      for (machine, epoch) in machines.sorted(by: { $0.key < $1.key }) { confirmations.touch(machine, epoch: epoch) }
    } catch {
      logger.error("open the session: \(error); confirmations wait for the next message")
    }
  }

  package func sessionClosed(reason: String) {
    publisher = nil
    published = [:]
  }

  package func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
    let topic = published.removeValue(forKey: token)
    // A confirmation is retained, so it matters little whether the edge is there to hear it.
    guard let topic, reason != .success, reason != .noMatchingSubscribers else { return }
    let why =
      reason == .notAuthorised
      ? "\(user.map { "user \($0)" } ?? "a client without a user name") is not authorised on it; check the broker's ACL"
      : "the broker answered \(reason)"
    warnRarely("confirm \(reason)", "publish on \(topic): \(why); the machine forgets nothing without it")
  }

  package func received(_ messages: [InboundMessage]) throws {
    var group = MessageGroup()
    var isAgain = false
    do {
      try store.transaction { transaction in
        group = MessageGroup()
        // What an attempt before this one took for received is not in the store.
        if isAgain { forgetReceived() }
        isAgain = true
        group.awaitsReplays = try transaction.awaitsReplays()
        for message in messages {
          let outcome = try take(message, transaction, &group)
          group.outcomes[outcome, default: 0] += 1
          // What became of it this time is in this transaction, a new letter at worst. A frame that waits for its schema was not taken.
          if group.awaitsReplays, ![.waiting, .overtaken, .held].contains(outcome) {
            try transaction.settleReplay(topic: message.topic, raw: message.payload)
          }
        }
        try finish(&group, transaction)
      }
    } catch {
      forgetReceived()
      if let damage = error as? StoreDamaged { onFatal(damage.description) }
      logger.error("commit \(messages.count) messages: \(error); the broker keeps them and delivers them again")
      throw error
    }
    for (machine, epoch) in group.machines.sorted(by: { $0.key < $1.key }) {
      if let epoch { confirmations.touch(machine, epoch: epoch) }
    }
    requests.merge(group.requests) { _, new in new }
    for (machine, status) in group.statuses {
      guard let ask = status.ask, let epoch = status.epoch else { continue }
      questions[machine] = ask
      confirmations.touch(machine, epoch: epoch)
    }
    report(group)
  }

  private func forgetReceived() {
    received = ReceivedCache()
    runs = ReceivedCache()
  }

  package func turn(now: ContinuousClock.Instant) -> Duration {
    beat()
    guard let publisher else { return .seconds(1) }
    keepHouse(now: now)
    for (topic, payload) in requests.sorted(by: { $0.key.text < $1.key.text }) {
      guard let token = try? publisher.publish(OutboundMessage(topic: topic.text, payload: payload)) else { continue }
      published[token] = topic
    }
    requests = [:]
    confirmDue(now: now, publisher)
    return min(.seconds(1), confirmations.nextDue(now: now) ?? .seconds(1))
  }

  package func isDrained() -> Bool { confirmations.isEmpty || publisher == nil }

  package func sessionWillClose(publisher: any Publisher) {}

  /// All machines whose turn it is, from one look into the store: with a transaction for each, a fleet's confirmations would cost more than
  /// its events.
  private func confirmDue(now: ContinuousClock.Instant, _ publisher: any Publisher) {
    var due = confirmations.takeDue(now: now, interval: limits.confirmInterval, limit: Self.mostConfirmations)[...]
    guard !due.isEmpty else { return }
    do {
      let known = try store.transaction { transaction in
        try due.map { machine, epoch in
          (
            try transaction.receivedStreams(machine: machine, epoch: epoch),
            try transaction.runs(machine: machine, epoch: epoch)
          )
        }
      }
      for (sets, runs) in known {
        try confirm(due.first!.machine, due.first!.epoch, sets, runs, publisher)
        due.removeFirst()
      }
    } catch {
      for (machine, epoch) in due { confirmations.touch(machine, epoch: epoch) }
      warnRarely("confirm", "confirm to \(due.first!.machine) and \(due.count - 1) others: \(error)")
    }
  }

  private func confirm(
    _ machine: MachineID, _ epoch: Epoch, _ sets: [StreamName: IntervalSet], _ runs: Runs, _ publisher: any Publisher
  ) throws {
    let confirmation = Confirmation(
      epoch: epoch, session: sessionName, at: wallClock(), streams: sets, runs: runs.told, answer: questions[machine],
      maxMessageBytes: limits.messageBytes)
    let token = try publisher.publish(
      OutboundMessage(
        topic: Topic.confirm(machine).text, payload: confirmation.document, isRetained: true,
        contentType: "application/json"))
    published[token] = .confirm(machine)
  }

  private func keepHouse(now: ContinuousClock.Instant) {
    guard lastHousekeeping.map({ $0.advanced(by: .seconds(3600)) <= now }) ?? true else { return }
    lastHousekeeping = now
    let weekAgo = wallClock() - 7 * 86_400 * 1_000_000
    do {
      try store.transaction { try $0.retireTombstones(madeBefore: weekAgo) }
    } catch {
      logger.warning("retire tombstones: \(error); tried again in an hour")
    }
  }

  // MARK: One message

  private func take(
    _ message: InboundMessage, _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    let topic: Topic
    do throws(InvalidName) {
      topic = try Topic(parsing: message.topic)
    } catch {
      return try bury(message, nil, .topic, error.message, transaction, &group)
    }
    // An empty retained message takes the one before it away; there is nothing to apply.
    if message.payload.isEmpty, message.isRetained { return .ignored }
    guard message.payload.count <= limits.messageBytes else {
      return try tooLarge(
        message, topic, bytes: message.payload.count, beginning: message.payload, transaction, &group)
    }
    switch topic {
    case .events(let machine, let kind, let stream):
      return try takeEvents(message, topic, machine, kind, stream, transaction, &group)
    case .schema(let machine, let stream):
      let schema: StreamSchema
      do throws(WireError) {
        schema = try StreamSchema(document: message.payload)
      } catch {
        return try bury(message, topic, .unparsable, error.description, transaction, &group)
      }
      guard let reason = try transaction.adopt(schema, machine: machine, stream: stream) else { return .document }
      logger.warning(
        "describe \(stream) of \(machine): \(reason); the stream waits at the edge, see `drover schema list`"
      )
      return try bury(message, topic, .schema, reason, transaction, &group)
    case .status(let machine):
      let status: MachineStatus
      do throws(WireError) {
        status = try MachineStatus(document: message.payload)
      } catch {
        return try bury(message, topic, .unparsable, error.description, transaction, &group)
      }
      var current = status
      if let epoch = status.epoch, try !transaction.isLatest(epoch, machine: machine) {
        // Nothing is confirmed in an epoch that is over, so there is no answer either: the machine asks until it has another.
        group.requests[.command(machine, name: "epoch")] = Array(epoch.text.utf8)
        current.epoch = nil
      }
      try transaction.setStatus(current, machine: machine)
      group.statuses.append((machine, current))
      return .document
    case .confirm, .command, .reply: return .ignored
    }
  }

  /// - Parameters:
  ///   - bytes: how many it has, or at least.
  ///   - beginning: of its text.
  private func tooLarge(
    _ message: InboundMessage, _ topic: Topic, bytes: Int, beginning: [UInt8], _ transaction: any CloudTransaction,
    _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    if case .events(let machine, _, _) = topic, let epoch = FrameDecoder.epoch(ofBeginning: beginning) {
      // The agent still has it, and hears with the confirmation how much one message may hold: it comes again in parts, or stays there as a
      // dead letter of the edge.
      if try transaction.isLatest(epoch, machine: machine) { group.machines[machine] = epoch }
      group.oversize[machine] = bytes
      return .waiting
    }
    return try bury(
      message, topic, .tooLarge, "\(bytes) bytes, and limits.message_bytes is \(limits.messageBytes)", transaction,
      &group)
  }

  private func takeEvents(
    _ message: InboundMessage, _ topic: Topic, _ machine: MachineID, _ kind: Kind, _ stream: StreamName,
    _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    let decoded: DecodedMessage
    do {
      let payload: [UInt8]
      switch try Compression.unpack(message.payload, most: limits.messageBytes) {
      case .frame(let frame): payload = frame
      case .tooLarge(let beginning):
        return try tooLarge(
          message, topic, bytes: limits.messageBytes + 1, beginning: beginning, transaction, &group)
      }
      decoded = try FrameDecoder.decode(payload) {
        try transaction.schema($0, machine: machine, stream: stream)
      }
    } catch let error as WireError {
      return try bury(message, topic, .unparsable, error.description, transaction, &group)
    }
    switch decoded {
    case .unknownSchema(let header):
      // No dead letter: the frame is not covered, so the edge sends it again once it has described the stream.
      group.machines[machine] = header.epoch
      if let id = header.schema, try transaction.isWaiting(id, machine: machine, stream: stream) {
        // It is known and cannot be followed. The machine's other streams need the room that this one takes on the way.
        group.hold(stream, of: machine)
      } else {
        group.requests[.command(machine, name: "schema")] = []
      }
      return .waiting
    case .bare(var event):
      // A dead letter that is sent again still bears the number that it had in its frame; outside it means nothing.
      event.seq = nil
      let schema = try transaction.latestSchema(machine: machine, stream: stream)
      let sink = Sink(machine: machine, stream: stream, kind: kind, schema: schema)
      let epoch =
        group.awaitsReplays ? try transaction.epochOfReplay(topic: message.topic, raw: message.payload) : nil
      guard try merge([event], of: message, epoch: epoch, into: sink, transaction, &group) else { return .held }
      if group.machines[machine] == nil { group.machines[machine] = .some(nil) }
      return .bare
    case .frame(let frame):
      let epoch = frame.header.epoch
      let schema = try frame.header.schema.flatMap { try transaction.schema($0, machine: machine, stream: stream) }
      if let schema, schema.kind != kind {
        return try bury(message, topic, .topic, "the stream's schema says \(schema.kind.rawValue)", transaction, &group)
      }
      let isLatest = try transaction.isLatest(epoch, machine: machine)
      if isLatest { group.machines[machine] = epoch }
      let outbox = OutboxOrigin(machine: machine, epoch: epoch)
      let origin = StreamOrigin(outbox: outbox, stream: stream)
      var known = try received.of(origin) {
        try transaction.received(machine: machine, epoch: epoch, stream: stream)
      }
      let sink = Sink(machine: machine, stream: stream, kind: kind, schema: schema)
      if isLatest, try isOvertaken(frame.header.run, outbox, transaction) {
        // Perhaps it is late, and the edge sends it again because nothing confirms it. Perhaps it is of a future that the edge's database
        // has lost, and its numbers are other events now: then its rows are none of the machine's, and its facts are true all the same.
        if kind == .payload { try takeFacts(of: frame, into: sink, transaction, &group) }
        return .overtaken
      }
      if !isLatest {
        // Either the frame has lain in a broker since before the machine's latest epoch, or the machine was put back to an epoch that is
        // over, together with what remembers it. Facts are taken all the same, and nothing counts as received: in the second case rows of
        // the later epoch have won, and the machine has to send all of them in a newer one. In the first it ignores the command.
        group.requests[.command(machine, name: "epoch")] = Array(epoch.text.utf8)
        known = IntervalSet()
      }
      guard !known.contains(frame.header.interval) else { return .duplicate }
      var isWhole = true
      for broken in frame.broken {
        let isKept = try buryEvent(
          broken.raw, message, machine, stream, epoch, .event, broken.reason, transaction, &group)
        isWhole = isWhole && isKept
      }
      let interval = frame.header.interval
      let isNew = known.lastMember(below: interval.through + 1) <= interval.after
      let events = isNew ? frame.events : frame.events.filter { !known.contains($0.seq!) }
      let isMerged = try merge(events, of: message, epoch: epoch, into: sink, transaction, &group)
      guard isWhole, isMerged else { return .held }
      guard isLatest else { return .waiting }
      known.insert(frame.header.interval)
      received.update(origin, known)
      try raise(Run(number: frame.header.run, reached: frame.header.last), outbox, transaction)
      return .frame
    }
  }

  /// Whether a later run of the agent was heard of than this one, which is taken note of.
  private func isOvertaken(_ run: Int64, _ outbox: OutboxOrigin, _ transaction: any CloudTransaction) throws -> Bool {
    let known = try runs(of: outbox, transaction)
    guard !known.isOver(run) else { return true }
    guard known.newest?.number != run else { return false }
    // From now on the one before never changes; what is written at the end is the newest.
    if let before = known.newest { try transaction.raise(before, machine: outbox.machine, epoch: outbox.epoch) }
    try raise(Run(number: run, reached: 0), outbox, transaction)
    return false
  }

  private func raise(_ run: Run, _ outbox: OutboxOrigin, _ transaction: any CloudTransaction) throws {
    var known = try runs(of: outbox, transaction)
    guard known.newest != run else { return }
    known.raise(run.number, to: run.reached)
    runs.update(outbox, known)
  }

  private func runs(of outbox: OutboxOrigin, _ transaction: any CloudTransaction) throws -> Runs {
    try runs.of(outbox) { try transaction.runs(machine: outbox.machine, epoch: outbox.epoch) }
  }

  /// Merges the facts of a frame that covers nothing. What cannot be merged is no dead letter here: it becomes one when it comes again.
  private func takeFacts(
    of frame: DecodedFrame, into sink: Sink, _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws {
    let ready = frame.events.compactMap { try? prepare($0, sink.schema) }
    guard !ready.isEmpty else { return }
    var progress = StreamProgress()
    progress.version = ready.map(\.version).max() ?? 0
    for outcome in try transaction.merge(ready, epoch: frame.header.epoch, into: sink) where outcome == .applied {
      progress.applied += 1
    }
    group.note(progress, machine: sink.machine, stream: sink.stream)
  }

  /// Merges events and buries what cannot be merged. False when there was no room for one of these: the others are applied, and will be the
  /// same when the frame comes again.
  private func merge(
    _ events: [Event], of message: InboundMessage, epoch: Epoch?, into sink: Sink, _ transaction: any CloudTransaction,
    _ group: inout MessageGroup
  ) throws -> Bool {
    var isWhole = true
    var progress = StreamProgress()
    var ready: [SinkEvent] = []
    ready.reserveCapacity(events.count)
    for event in events {
      do throws(WireError) {
        ready.append(try prepare(event, sink.schema))
      } catch {
        progress.refused += 1
        let isKept = try buryEvent(
          FrameEncoder.text(of: event, schema: sink.schema), message, sink.machine, sink.stream, epoch, .event,
          error.description, transaction, &group)
        isWhole = isWhole && isKept
      }
    }
    if !ready.isEmpty {
      let outcomes = try transaction.merge(ready, epoch: epoch, into: sink)
      for (event, outcome) in zip(ready, outcomes) {
        progress.version = max(progress.version, event.version)
        switch outcome {
        case .applied: progress.applied += 1
        case .superseded: progress.superseded += 1
        case .refused(let reason, let detail):
          progress.refused += 1
          let sent = events.first { $0.seq == event.seq && $0.localID == event.localID }!
          let isKept = try buryEvent(
            FrameEncoder.text(of: sent, schema: sink.schema), message, sink.machine, sink.stream, epoch, reason, detail,
            transaction, &group)
          isWhole = isWhole && isKept
        }
      }
    }
    group.note(progress, machine: sink.machine, stream: sink.stream)
    return isWhole
  }

  private func prepare(_ event: Event, _ schema: StreamSchema?) throws(WireError) -> SinkEvent {
    let version = event.version ?? clock.next(now: wallClock())
    if event.isList, let schema, case .row(let row) = event.content {
      // Its id is made of the row.
      let key = schema.lines.isEmpty ? [] : schema.keyValues(of: row)
      return SinkEvent(
        seq: event.seq, localID: event.localID, version: version, at: event.at, keyIn: schema.key, row: row,
        lines: try lines(of: event, event.content, key: key, schema), raw: event.raw)
    }
    var content = event.content
    var key: [Value] = []
    if let schema {
      if case .json(let body) = content { content = .row(try FrameDecoder.row(body, schema: schema)) }
      key = try LocalIDCodec.key(event.localID, schema: schema)
      if case .row(let values) = content, schema.keyValues(of: values) != key {
        throw WireError("the id is not the key that the body holds")
      }
    }
    let lines = try lines(of: event, content, key: key, schema)
    return SinkEvent(
      seq: event.seq, localID: event.localID, version: version, at: event.at, key: key, content: content, lines: lines,
      raw: event.raw)
  }

  /// The rows that come with a header's. A delete has none: with the header its lines go.
  private func lines(
    of event: Event, _ content: Content, key: [Value], _ schema: StreamSchema?
  ) throws(WireError) -> [[[Value]]] {
    guard let schema, !schema.lines.isEmpty else {
      guard case .none = event.lines else {
        throw WireError("the event has lines, and its stream has no tables of lines")
      }
      return []
    }
    let lines: [[[Value]]]
    switch (content, event.lines) {
    case (.none, _): return []
    case (_, .none): throw WireError("the event puts a header without its lines (\"with\")")
    case (_, .rows(let rows)): lines = rows
    case (_, .json(let with)): lines = try FrameDecoder.lines(with, schema: schema)
    }
    if let fault = schema.fault(in: lines, key: key) { throw WireError(fault) }
    return lines
  }

  private func finish(_ group: inout MessageGroup, _ transaction: any CloudTransaction) throws {
    for (origin, known) in received.changed {
      try transaction.setReceived(
        known, machine: origin.outbox.machine, epoch: origin.outbox.epoch, stream: origin.stream)
    }
    received.saved()
    for (outbox, known) in runs.changed {
      if let run = known.newest { try transaction.raise(run, machine: outbox.machine, epoch: outbox.epoch) }
    }
    runs.saved()
    try transaction.count(group.outcomes)
    for (machine, epoch) in group.machines { try transaction.heard(machine: machine, epoch: epoch) }
    for (origin, progress) in group.progress {
      try transaction.note(progress, machine: origin.machine, stream: origin.stream)
    }
  }

  // MARK: Dead letters

  private func bury(
    _ message: InboundMessage, _ topic: Topic?, _ reason: DeadLetterReason, _ detail: String,
    _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> MessageOutcome {
    var stream: StreamName?
    switch topic {
    case .events(_, _, let name), .schema(_, let name): stream = name
    default: break
    }
    let burial = try transaction.bury(
      DeadLetter(
        topic: message.topic, machine: topic?.machine, stream: stream, reason: reason, detail: detail,
        raw: message.payload[...]))
    group.note(burial, reason, machine: topic?.machine)
    return .deadLetter
  }

  /// False when there is no room for it, and the edge has to keep it.
  private func buryEvent(
    _ raw: ArraySlice<UInt8>, _ message: InboundMessage, _ machine: MachineID, _ stream: StreamName, _ epoch: Epoch?,
    _ reason: DeadLetterReason, _ detail: String, _ transaction: any CloudTransaction, _ group: inout MessageGroup
  ) throws -> Bool {
    let burial = try transaction.bury(
      DeadLetter(
        topic: message.topic, machine: machine, stream: stream, epoch: epoch, reason: reason, detail: detail, raw: raw))
    group.note(burial, reason, machine: machine)
    return burial != .full
  }

  // MARK: Telling

  private func report(_ group: MessageGroup) {
    for (machine, status) in group.statuses {
      logger.info("\(machine) is \(status.isOnline ? "online" : "offline")")
    }
    for (reason, count) in group.deadLetters.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      warnRarely(
        "dead \(reason)", "\(count) dead letters, reason \(reason.rawValue); `drover dead list` shows them")
    }
    let farthest = wallClock() + HybridClock.tolerance
    for (origin, progress) in group.progress.sorted(by: { $0.key < $1.key }) where progress.version > farthest {
      warnRarely(
        "ahead \(origin.machine)",
        "versions of \(origin.stream) of \(origin.machine) are ahead of the clock here, the newest is of \(Timestamp.text(microseconds: progress.version)): the clock there was set wrong, or the one here is; order is kept"
      )
    }
    if group.dropped > 0 {
      warnRarely(
        "dropped",
        "\(group.dropped) dead letters were dropped for want of room, none an agent's event; `drover status` has the record, dead_letters.max_count and max_bytes the bound"
      )
    }
    for machine in group.full.sorted() {
      warnRarely(
        "full \(machine)",
        "there is no room for a dead letter of \(machine), so its frame stays at the edge, which sends it again; replay or purge dead letters, or raise dead_letters.max_count and max_bytes"
      )
    }
    for (machine, bytes) in group.oversize.sorted(by: { $0.key < $1.key }) {
      warnRarely(
        "oversize \(machine)",
        "a frame of \(machine) has \(bytes) bytes, and limits.message_bytes is \(limits.messageBytes); the machine is told to divide it"
      )
    }
    if let waiting = group.outcomes[.waiting], group.oversize.isEmpty {
      warnRarely(
        "waiting", "\(waiting) frames wait for the schema of their stream, or for a new epoch; it was asked for")
    }
    guard logger.logLevel <= .debug else { return }
    for (origin, progress) in group.progress.sorted(by: { $0.key < $1.key }) {
      logger.debug(
        "\(origin.stream) of \(origin.machine): \(progress.applied) applied, \(progress.superseded) superseded, \(progress.refused) refused"
      )
    }
  }

  /// The first of a kind, then the 10th, the 100th and so on: a flood of garbage must not become a flood of lines.
  private func warnRarely(_ subject: String, _ text: String) {
    let count = warned[subject, default: 0] + 1
    warned[subject] = count
    var power = 1
    while power < count { power *= 10 }
    if power == count { logger.warning("\(text)\(count > 1 ? " (\(count) times since the start)" : "")") }
  }
}

/// What one transaction brings together, and what follows after its commit.
private struct MessageGroup {
  struct Origin: Hashable, Comparable {
    var machine: MachineID
    var stream: StreamName

    static func < (a: Self, b: Self) -> Bool { (a.machine, a.stream) < (b.machine, b.stream) }
  }

  /// Dead letters were sent again, and may be among the messages.
  var awaitsReplays = false
  var machines: [MachineID: Epoch?] = [:]
  var progress: [Origin: StreamProgress] = [:]
  var deadLetters: [DeadLetterReason: Int] = [:]
  var statuses: [(MachineID, MachineStatus)] = []
  /// Commands to machines, and what stands in them.
  var requests: [Topic: [UInt8]] = [:]
  var outcomes: [MessageOutcome: Int] = [:]
  /// Dead letters for which there was no room: how many are gone, and machines that have to keep theirs.
  var dropped = 0
  var full: Set<MachineID> = []
  /// Machines with a frame that is larger than a message may be, and its bytes.
  var oversize: [MachineID: Int] = [:]

  /// Tells a machine to wait with streams; their names stand one in a line.
  mutating func hold(_ stream: StreamName, of machine: MachineID) {
    let topic = Topic.command(machine, name: "hold")
    let names = requests[topic, default: []]
    guard !names.split(separator: UInt8(ascii: "\n")).contains(where: { $0.elementsEqual(stream.text.utf8) }) else {
      return
    }
    requests[topic] = names + (names.isEmpty ? [] : [UInt8(ascii: "\n")]) + Array(stream.text.utf8)
  }

  mutating func note(_ burial: Burial, _ reason: DeadLetterReason, machine: MachineID?) {
    switch burial {
    case .kept: deadLetters[reason, default: 0] += 1
    case .dropped: dropped += 1
    case .full: if let machine { full.insert(machine) }
    }
  }

  mutating func note(_ progress: StreamProgress, machine: MachineID, stream: StreamName) {
    var sum = self.progress[Origin(machine: machine, stream: stream), default: StreamProgress()]
    sum.applied += progress.applied
    sum.superseded += progress.superseded
    sum.refused += progress.refused
    sum.version = max(sum.version, progress.version)
    self.progress[Origin(machine: machine, stream: stream)] = sum
  }
}
