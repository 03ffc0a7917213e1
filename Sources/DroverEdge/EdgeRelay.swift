// The edge agent's work: it asks the relay's state machine (DroverCore) what to do, reads the outbox, builds frames, publishes them, and
// writes down what the broker acknowledged and the cloud confirmed. It knows the seams alone.

package import DroverCore
import DroverWire
package import Logging
private import Synchronization

package final class EdgeRelay: SessionHandler {
  package struct Limits: Sendable {
    package var relay = Relay.Limits()
    /// Most events and bytes of one frame.
    package var frameEvents = 100
    package var frameBytes = 64 << 10
    package var compression = Compression.none
    /// Streams whose frames may hold other numbers of them.
    package var streamFrames: [StreamName: FrameSize] = [:]
    /// About how many bytes of rows are in memory at a time.
    package var readBytes = 1 << 20
    /// Marks and forgets gather for so long, so that the app meets few of Drover's write transactions.
    package var settleInterval: Duration = .milliseconds(100)
    /// How long to wait after connecting for the retained confirmation.
    package var patience: Duration = .milliseconds(500)
    /// How long a stream waits whose event has no room among the dead letters.
    package var roomDelay: Duration = .seconds(10)
    /// How often the cloud is told how the outbox stands, while that changes.
    package var standingInterval: Duration = .seconds(60)

    package init() {}
  }

  let machine: MachineID
  let store: any EdgeStore
  let limits: Limits
  private let software: String
  /// Who the agent is to the broker, for the person who reads its ACL; nil when it connects without a user.
  private let user: String?
  let logger: Logger
  /// Wall clock, microseconds since 1970.
  private let wallClock: () -> Int64
  let clock: Clock
  private let random: () -> UInt64

  var relay: Relay
  private var publisher: (any Publisher)?
  var encoders: [Int: FrameEncoder] = [:]
  /// How large a stream's frames may be, where that has turned out.
  var sizes: [Int: FrameSize] = [:]
  /// Half of what broker and consumer take, as far as it is known.
  var takenBytes = Int.max / 2
  var maximumPacketSize: Int?
  /// The largest message that the consumer takes, as it said last.
  var cloudLimit: Int?
  var largestSent = 0
  /// Events that are to become dead letters before anything else is read.
  var unsendable: [UnsendableEvent] = []
  /// What is still to be said once on this connection.
  private var announcements: [OutboundMessage] = []
  private var announced: [PublishToken: String] = [:]
  /// Questions from the cloud about what the tables hold.
  private var responder: StreamResponder
  /// Rows that are brought at a rate wait until then.
  private var backfillAt: ContinuousClock.Instant?
  private var settleAt: ContinuousClock.Instant?
  private var spaceAt: ContinuousClock.Instant?
  private var standing: StandingSchedule
  private var traffic = TrafficLog()
  var suspicion = SizeSuspicion()
  /// The gaps that the cloud was told of last.
  private var toldGaps: [StreamName: String] = [:]
  private var toldWaits: [StreamWait] = []
  /// The database is locked by another program.
  private var lock = LockWatch()
  private var hasMetLock = false
  /// When tables that streams wait for are looked at again, if anything was committed until then.
  private var mendAt: ContinuousClock.Instant?
  private var hasMendingNews = false
  private static let mendingInterval = Duration.seconds(5)
  private var retryAt: ContinuousClock.Instant?
  /// After a wake the commit may not be visible yet: it is looked for a few times more, at growing distances.
  private var lookAgain: Duration?
  /// Names this connection's birth message; a confirmation that answers it is fresh.
  private var ask: Int64 = 0
  private var askedAt: ContinuousClock.Instant?
  /// Since when answers lack something that was confirmed after they were asked for.
  private var behindSince: ContinuousClock.Instant?
  private var isAnswered = false
  private static let firstAskDelay = Duration.seconds(30)
  private var askDelay = firstAskDelay
  private var clockOffset: Int64?
  private var measure = ClockMeasure()
  /// When the cloud is asked once more because its answer was too slow to tell.
  private var measureAt: ContinuousClock.Instant?
  /// What the store has not been told of the clock yet.
  private var clockNews: ClockNews?
  /// Both clocks as they were in the last turn.
  private var lastClocks: (wall: Int64, instant: ContinuousClock.Instant)?
  private static let clockTolerance: Int64 = 60_000_000
  private static let stepTolerance: Int64 = 2_000_000
  /// The newest confirmation that was not acted on yet.
  private var confirmation: Confirmation?
  /// Whether the broker kept it.
  private var isConfirmationKept = false
  /// Why a new epoch has to begin, as soon as the store can.
  private var epochIsOver: String?
  private var rivals = Rivals()
  /// Names this process in its statuses.
  private let process: Int64
  /// What the store has not been told of yet; nil where the trouble is over.
  private var troubleNews: [Trouble.Kind: Trouble?] = [.cloned: nil]
  /// The new epoch stands in the store, and the relay does not know yet.
  private var hasBegunEpoch = false
  /// The database is gone, or another one that cannot be attached yet: nothing of it can be said.
  private var isAway = false
  /// The cloud has been told so on this connection.
  private var isAwayTold = false
  private var isStopping = false
  private var isDamaged = false
  /// Since when the file looks damaged. While it is copied over it does, until all of it is there.
  private var damagedSince: ContinuousClock.Instant?
  private static let copyingLimit = Duration.seconds(2)
  var said = Said()

  /// - Parameters:
  ///   - wallClock: microseconds since 1970.
  ///   - clock: the time of all waiting; the one that `turn(now:)` is called with.
  ///   - random: what questions are named by, and the jitter of retries is drawn from.
  package init(
    machine: MachineID, store: any EdgeStore, limits: Limits, software: String, user: String? = nil,
    logger: Logger, wallClock: @escaping () -> Int64,
    clock: @escaping () -> ContinuousClock.Instant = { ContinuousClock().now },
    random: @escaping () -> UInt64 = { .random(in: .min ... .max) }
  ) throws {
    self.machine = machine
    self.store = store
    responder = StreamResponder(machine: machine)
    standing = StandingSchedule(interval: limits.standingInterval)
    self.limits = limits
    self.software = software
    self.user = user
    self.logger = logger
    self.wallClock = wallClock
    self.clock = Clock(read: clock)
    self.random = random
    relay = try Self.makeRelay(store, limits, seed: random(), now: clock())
    process = Int64(random() >> 11) | 1
    makeEncoders()
  }

  private static func makeRelay(
    _ store: any EdgeStore, _ limits: Limits, seed: UInt64, now: ContinuousClock.Instant
  ) throws(EdgeStoreError) -> Relay {
    Relay(
      limits: limits.relay, seed: seed, confirmed: try store.confirmed(),
      acknowledged: try store.acknowledged(), hasBackfill: store.hasBackfill, now: now)
  }

  /// The last will: what the broker says when the agent is gone without a word.
  package static func lastWill(machine: MachineID) -> OutboundMessage {
    OutboundMessage(
      topic: Topic.status(machine).text,
      payload: MachineStatus(isOnline: false, epoch: nil, software: nil, at: nil).document, isRetained: true,
      contentType: "application/json")
  }

  /// Told once when the work cannot go on, with what to do about it; whoever runs the session ends it.
  package var onFatal: (String) -> Void = { _ in }
  /// Told when a connection stands, with nil, and when it is gone, with the reason.
  package var onConnection: (String?) -> Void = { _ in }
  /// Told what went wrong on the way to the cloud, each time.
  package var onFailure: (DeliveryFailure.Kind) -> Void = { _ in }
  /// Called in every turn, to show that the relay moves.
  package var beat: () -> Void = {}

  /// Another thread says through it that another process may have committed.
  package let hint = NewsHint()

  // MARK: The session

  package func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    self.publisher = publisher
    onConnection(nil)
    rivals.opened(now: wallClock())
    askDelay = Self.firstAskDelay
    newQuestion()
    maximumPacketSize = info.maximumPacketSize
    suspicion.opened(level: info.protocolLevel)
    limitFrames()
    announce(publisher)
    standing.connected(now: clock.now)
    relay.connected(sessionPresent: info.sessionPresent, patience: limits.patience, now: clock.now)
  }

  package func sessionEnding(isTaken: Bool?) {
    // A broker that throws the agent out for a frame's size gives the session to nobody.
    if isTaken == nil, suspicion.isLikely { return }
    guard let trouble = rivals.closed(isTaken: isTaken, now: wallClock()) else { return }
    troubleNews[.session] = trouble
    said.rarely("session") { logger.warning("\(trouble.text(machine.text)); \(trouble.advice)\($0)") }
  }

  package func sessionClosed(reason: String) {
    onConnection(reason)
    onFailure(.connectionLost)
    traffic.interrupted(now: clock.now)
    if let suspect = suspicion.closed() {
      blame(suspect, "the connection to the broker ends whenever it is sent", "max_packet_size")
    }
    publisher = nil
    clockOffset = nil
    measure = ClockMeasure()
    measureAt = nil
    announced = [:]
    responder.disconnected()
    standing.disconnected()
    relay.disconnected()
  }

  package func received(_ messages: [InboundMessage]) {
    for message in messages {
      guard let topic = try? Topic(parsing: message.topic), topic.machine == machine else { continue }
      if !message.isRetained { relay.heardConsumer(now: clock.now) }
      switch topic {
      case .confirm:
        // An empty retained message takes the one before it away.
        guard !message.payload.isEmpty else { continue }
        do throws(WireError) {
          hear(try Confirmation(document: message.payload))
          isConfirmationKept = message.isRetained
        } catch {
          said.rarely("confirm") {
            logger.warning(
              "read \(message.topic): \(error); it is not from a Drover consumer of this version, so nothing of it counts\($0)"
            )
          }
        }
      case .command(_, name: "schema"):
        if let publisher { announceSchemas(publisher) }
      case .command(_, name: "epoch"):
        // It may have lain in the broker since an epoch that is over anyway.
        guard message.payload.elementsEqual(store.epoch.text.utf8), !rivals.isHeld else { continue }
        epochIsOver = "the cloud has other events under the same numbers: the database was put back to an earlier state"
      case .command(_, name: "hold"): hold(message.payload)
      case .command(_, name: "present"):
        guard publisher != nil, !isStopping else { continue }
        newQuestion()
        announcements.append(status(isOnline: true))
      case .command(_, name: "stream"):
        do throws(WireError) {
          responder.ask(try StreamRequest(document: message.payload))
        } catch {
          said.rarely("command") { logger.warning("read \(message.topic): \(error)\($0)") }
        }
      case .command(_, let name):
        said.rarely("unknown command") {
          logger.warning("command \(name.prefix(64)): this version of the agent does not know it\($0)")
        }
      default: continue
      }
    }
  }

  /// Each confirmation is held against the agent's own runs, also one that a newer one follows at once: it may be the only one that tells.
  private func hear(_ confirmation: Confirmation) {
    if rivals.hear(clonedSince: confirmation.clonedSince) { heedRivals() }
    guard !rivals.isHeld else { return }
    guard confirmation.epoch == store.epoch else {
      self.confirmation = confirmation
      return
    }
    if store.runs.contradicts(confirmation.runs) {
      epochIsOver =
        "the cloud has heard of a run of the agent that is not known here: the database was put back to an earlier state"
    } else if let highest = confirmation.streams.values.compactMap(\.last).max(), highest > store.runs.reached {
      // A consumer tells of the run with everything that it has of it, so this is none of its words.
      return said.rarely("impossible confirmation") {
        logger.warning(
          "read the confirmation: it covers event \(highest), and this agent has handed out none above \(store.runs.reached); nothing of it counts, and everything stays in the outbox. Somebody else than the consumer may write to \(Topic.confirm(machine).text): check the broker's ACL\($0)"
        )
      }
    }
    self.confirmation = confirmation
  }

  /// Two agents are at work under this name, or no longer.
  private func heedRivals() {
    relay.disconnected()
    if !isAway { epochIsOver = nil }
    confirmation = nil
    guard let since = rivals.clonedSince else {
      troubleNews[.cloned] = .some(nil)
      logger.info("only this machine is called \(machine) now: it goes on")
      guard let publisher else { return }
      askDelay = Self.firstAskDelay
      newQuestion()
      announce(publisher)
      return relay.connected(sessionPresent: false, patience: limits.patience, now: clock.now)
    }
    let trouble = Trouble(.cloned, since: since, last: since, count: 1)
    troubleNews[.cloned] = trouble
    logger.error("\(trouble.text(machine.text)). What the app writes is captured meanwhile. \(trouble.advice)")
  }

  /// While another may be at work under this name, the consumer has to hear of this one.
  private func showPresence(now: ContinuousClock.Instant) {
    guard publisher != nil, !isStopping, rivals.isDue(now: now) else { return }
    newQuestion()
    announcements.append(status(isOnline: true))
  }

  /// The cloud cannot take these streams now: their frames give the window free, and are tried again after a while.
  private func hold(_ names: [UInt8]) {
    for name in names.split(separator: UInt8(ascii: "\n")) {
      guard let stream = store.streams.first(where: { name.elementsEqual($0.name.text.utf8) }) else { continue }
      relay.hold(stream: stream.number, until: clock.now.advanced(by: limits.roomDelay))
      said.rarely("hold \(stream.name)") {
        logger.warning(
          "send \(stream.name): the cloud cannot take it now, so it waits; `drover status` in the cloud says why\($0)"
        )
      }
    }
  }

  /// The answer was written about half the round trip ago. Told to the cloud once a connection, and to the operator when it is far off;
  /// order and delivery rest on numbers, epochs and versions.
  private func measureClock(_ confirmation: Confirmation) {
    guard clockOffset == nil, let askedAt else { return }
    let roundTrip = Int64(askedAt.duration(to: clock.now) / .microseconds(1))
    guard case .take(let offset) = measure.answered(ahead: wallClock() - confirmation.at, roundTrip: roundTrip) else {
      measureAt = clock.now.advanced(by: .seconds(10))
      return
    }
    clockOffset = offset
    clockNews = .measured(ahead: offset)
    announcements.append(status(isOnline: true))
    if abs(offset) > Self.clockTolerance {
      logger.warning(
        "clock: this machine is \(abs(offset) / 1_000_000) s \(offset > 0 ? "ahead of" : "behind") the cloud; set it, for people read its times"
      )
    }
  }

  /// A wall clock that runs away from the one that nobody can set has been set. Versions are put right at once, and the cloud is asked.
  private func watchClock() {
    let (wall, instant) = (wallClock(), clock.now)
    defer { lastClocks = (wall, instant) }
    guard let lastClocks else { return }
    let step = wall - lastClocks.wall - Int64(lastClocks.instant.duration(to: instant) / .microseconds(1))
    guard abs(step) > Self.stepTolerance else { return }
    said.rarely("step") {
      logger.warning(
        "clock: it was set \(step > 0 ? "forward" : "back") by \(abs(step) / 1_000_000) s; order and delivery do not depend on it\($0)"
      )
    }
    // A measure that the store has not seen yet was of the clock before.
    if case .measured(let ahead) = clockNews {
      clockNews = .measured(ahead: ahead + step)
    } else if case .stepped(let before) = clockNews {
      clockNews = .stepped(by: before + step)
    } else {
      clockNews = .stepped(by: step)
    }
    clockOffset = nil
    measure = ClockMeasure()
    isAnswered = false
    if publisher != nil { askAgain() }
  }

  /// What stays behind has to answer a new question.
  private func doubtLaggard(now: ContinuousClock.Instant) {
    if publisher != nil, let behindSince, behindSince.advanced(by: .seconds(1)) <= now { askAgain() }
  }

  private func askAgain() {
    guard askedAt.map({ $0.advanced(by: .seconds(5)) <= clock.now }) ?? true else { return }
    newQuestion()
    announcements.append(status(isOnline: true))
  }

  private func newQuestion() {
    askedAt = clock.now
    ask = Int64(random() >> 11) | 1
    isAnswered = false
    behindSince = nil
    relay.asked(ask)
  }

  /// A birth message or its answer may be lost in a queue. Without them the cloud believes what it last heard, and an outbox or a cloud
  /// that went back is not found out: so the question is put again, ever more rarely.
  private func insistOnAnswer(now: ContinuousClock.Instant) {
    if let measureAt, measureAt <= now, publisher != nil, !isStopping {
      self.measureAt = nil
      newQuestion()
      announcements.append(status(isOnline: true))
    }
    guard publisher != nil, !isStopping, !isAnswered, let askedAt, askedAt.advanced(by: askDelay) <= now else { return }
    askDelay = min(askDelay * 2, .seconds(600))
    newQuestion()
    announcements.append(status(isOnline: true))
  }

  /// Acts on the newest confirmation; on none while the epoch is over.
  private func takeConfirmation(now: ContinuousClock.Instant) {
    guard epochIsOver == nil, let confirmation, confirmation.epoch == store.epoch else { return }
    var received: [Int: IntervalSet] = [:]
    for stream in store.streams { received[stream.number] = confirmation.streams[stream.name] }
    self.confirmation = nil
    heedLimit(confirmation.maxMessageBytes)
    if confirmation.answer == ask {
      // Each later confirmation answers the same question once more.
      if !isAnswered { measureClock(confirmation) }
      isAnswered = true
    }
    if let answer = confirmation.answer, relay.cloudWentBack(received, answering: answer) {
      epochIsOver =
        received.values.allSatisfy(\.isEmpty) && confirmation.runs.newest == nil
        ? "the cloud knows nothing of this outbox under the name \(machine): the machine has got another name, was forgotten there, or the cloud has another database; everything is sent"
        : "the cloud no longer has what it had confirmed: its database was put back to an earlier state"
      return
    }
    if relay.isBehind(received) {
      // Perhaps an old message, perhaps an old database: the answer to a new question tells.
      guard confirmation.answer == ask else { return askAgain() }
      // Of several consumers one may have looked before another committed. What comes next is ahead again.
      behindSince = behindSince ?? now
    } else {
      behindSince = nil
    }
    relay.confirmed(
      received, session: confirmation.session, isKept: isConfirmationKept, isAnswer: confirmation.answer == ask,
      now: now)
  }

  package func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
    if let topic = announced.removeValue(forKey: token) {
      guard reason != .success, reason != .noMatchingSubscribers else { return }
      if let kind = DeliveryFailure.Kind(reason) { onFailure(kind) }
      logger.warning("announce on \(topic): \(advice(on: reason, topic: topic))")
      return
    }
    if responder.acknowledged(token) { return }
    suspicion.acknowledged(token)
    guard let publication = relay.acknowledged(token, reason: reason, now: clock.now) else { return }
    guard reason != .success else {
      sizes[publication.stream]?.accepted()
      return
    }
    if let kind = DeliveryFailure.Kind(reason) { onFailure(kind) }
    if reason == .noMatchingSubscribers { traffic.interrupted(now: clock.now) }
    let stream = store.streams.first { $0.number == publication.stream }
    let topic = stream.map { Topic.events(machine, $0.kind, $0.name).text } ?? ""
    if reason == .packetTooLarge, !publication.isEmpty {
      tooLarge(
        publication.stream, topic, events: publication.events, bytes: publication.bytes, onlySeq: publication.onlySeq)
      return
    }
    said.rarely("refused \(publication.stream) \(reason)") {
      logger.warning(
        "publish \(publication.events) events on \(topic): \(advice(on: reason, topic: topic)); they stay in the outbox and are tried again\($0)"
      )
    }
  }

  private func advice(on reason: AcknowledgementReason, topic: String) -> String {
    let name = user.map { "user \($0)" } ?? "a client without a user name"
    return switch reason {
    case .noMatchingSubscribers: "nobody subscribes; is the consumer running?"
    case .notAuthorised: "\(name) is not authorised on \(topic); check the broker's ACL for it"
    case .packetTooLarge: "it is larger than the broker takes"
    case .quotaExceeded: "the broker's quota is used up"
    default: "the broker answered \(reason)"
    }
  }

  // MARK: A turn

  package func turn(now: ContinuousClock.Instant) -> Duration {
    beat()
    guard !isDamaged else { return .seconds(1) }
    hasMetLock = false
    if let retryAt, retryAt > now { return now.duration(to: retryAt) }
    retryAt = nil
    do {
      watchClock()
      takeConfirmation(now: now)
      // What the cloud has heard may be another's. What the database is, the agent knows by itself.
      if let epochIsOver, isAway || !rivals.doubts(now: now, wall: wallClock()) { try startEpoch(because: epochIsOver) }
      showPresence(now: now)
      insistOnAnswer(now: now)
      doubtLaggard(now: now)
      try look(now: now)
      try bury()
      var wait = try work(now: now)
      try settle(now: clock.now)
      damagedSince = nil
      try lookAround(now: now)
      sayTraffic()
      if publisher != nil, !announcements.isEmpty { wait = min(wait, .milliseconds(100)) }
      if let settleAt { wait = min(wait, max(.zero, clock.now.duration(to: settleAt))) }
      if let lookAgain { wait = min(wait, lookAgain) }
      if !hasMetLock { sayFree() }
      return wait
    } catch .busy {
      return yieldToLock()
    } catch .schemaChanged {
      return refresh()
    } catch .otherDatabase(let reason) {
      return leave(because: reason)
    } catch .damaged(let text) {
      damagedSince = damagedSince ?? now
      guard let damagedSince, damagedSince.advanced(by: Self.copyingLimit) <= now else {
        retryAt = clock.now.advanced(by: .milliseconds(500))
        return .milliseconds(500)
      }
      isDamaged = true
      onFatal(text)
      return .seconds(1)
    } catch {
      onFailure(.store)
      said.rarely("store") { logger.error("work on the outbox: \(error); tried again in a second\($0)") }
      retryAt = clock.now.advanced(by: .seconds(1))
      sayAway()
      return .seconds(1)
    }
  }

  /// The app is writing. It goes first.
  private func yieldToLock() -> Duration {
    meetLock()
    retryAt = clock.now.advanced(by: .milliseconds(20))
    return .milliseconds(20)
  }

  private func meetLock() {
    hasMetLock = true
    guard let length = lock.met(now: clock.now) else { return }
    logger.warning(
      "work on the outbox: the database has been locked for \(ageText(Int64(length / .microseconds(1)))) by \(store.lockHolders() ?? "another program"), and the agent waits for it; end its open transaction, or that program, and see that it does not set PRAGMA locking_mode = EXCLUSIVE; nothing is lost meanwhile"
    )
  }

  private func sayFree() {
    guard let length = lock.free(now: clock.now) else { return }
    logger.info(
      "work on the outbox: the database is free again after \(ageText(Int64(length / .microseconds(1))))")
  }

  /// The database is not the one that the relay knows. Nothing that is known of it counts any more.
  private func leave(because reason: String) -> Duration {
    epochIsOver = reason
    hasBegunEpoch = false
    isAway = true
    unsendable = []
    sizes = [:]
    responder.databaseChanged()
    return .zero
  }

  /// While there is no database that could be attached, the cloud is not told that all is well.
  private func sayAway() {
    guard isAway, !isAwayTold, let publisher else { return }
    isAwayTold = true
    _ = try? publisher.publish(status(isOnline: false))
  }

  /// The relay forgets what it knew: in the new epoch nothing is sent and nothing is confirmed yet.
  private func startEpoch(because reason: String) throws(EdgeStoreError) {
    // Once begun, an epoch is not begun again because a lock of the app's is in the way of what follows.
    if !hasBegunEpoch { try store.startEpoch(because: reason) }
    hasBegunEpoch = true
    relay = try Self.makeRelay(store, limits, seed: random(), now: clock.now)
    hasBegunEpoch = false
    epochIsOver = nil
    isAway = false
    isAwayTold = false
    rivals.epochBegan()
    settleAt = nil
    makeEncoders()
    guard let publisher else { return }
    askDelay = Self.firstAskDelay
    newQuestion()
    announce(publisher)
    relay.connected(sessionPresent: true, patience: .zero, now: clock.now)
  }

  private func look(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    if hint.take() { lookAgain = .microseconds(100) }
    if try store.hasChanged() {
      relay.news()
      hasMendingNews = true
      if store.hasBackfill { relay.backfillNeeded() }
      lookAgain = nil
    } else if let delay = lookAgain {
      lookAgain = delay < .milliseconds(50) ? delay * 2 : nil
    }
  }

  /// What the store is to know of clock and disk; the disk once a second, for the app and others fill it without a word. A disk that is
  /// full must not keep events from being sent, which is what empties it.
  private func lookAround(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    do throws(EdgeStoreError) {
      if let news = clockNews {
        try store.note(news)
        clockNews = nil
      }
      for (kind, trouble) in troubleNews {
        try store.note(trouble, kind)
        troubleNews[kind] = nil
      }
      if spaceAt.map({ $0 <= now }) ?? true {
        spaceAt = now.advanced(by: .seconds(1))
        try store.watchSpace()
      }
      try tellStanding(now: now)
      try lookForMending(now: now)
    } catch {
      switch error {
      case .busy:
        spaceAt = nil
        meetLock()
      case .failed, .noRoom: said.rarely("look around") { logger.error("look at clock and disk: \(error)\($0)") }
      case .schemaChanged, .otherDatabase, .damaged: throw error
      }
    }
  }

  /// How much waits is what the cloud cannot know of itself.
  private func tellStanding(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    if publisher != nil, !isStopping, toldGaps != store.gaps || toldWaits != store.waits {
      toldGaps = store.gaps
      toldWaits = store.waits
      announcements.append(status(isOnline: true))
    }
    standing.sees(isIdle: isIdle, now: now)
    guard standing.isDue(now: now), !isStopping else { return }
    let begin = clock.now
    let found = try store.outboxStanding()
    let oldest = found.oldest.map { Duration.microseconds(wallClock() - $0) }
    if standing.looked(found, oldest: oldest, took: begin.duration(to: clock.now), now: now) {
      announcements.append(status(isOnline: true))
    }
  }

  /// What a stream waits for may be mended without a change of the schema: a row that could not be read.
  private func lookForMending(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    guard !store.waits.isEmpty, hasMendingNews, mendAt.map({ $0 <= now }) ?? true else { return }
    mendAt = now.advanced(by: Self.mendingInterval)
    hasMendingNews = false
    throw .schemaChanged
  }

  /// Whether everything that was seen in the outbox is confirmed and written down.
  private var isIdle: Bool { relay.isIdle && !relay.hasSettlement && unsendable.isEmpty }

  private func sayTraffic() {
    let line = traffic.line(
      sent: relay.sentEvents, confirmed: relay.confirmedEvents, isIdle: isIdle, now: clock.now)
    if let line { logger.info("\(line)") }
  }

  private func work(now: ContinuousClock.Instant) throws(EdgeStoreError) -> Duration {
    guard let publisher, !isStopping else { return .seconds(1) }
    while let message = announcements.first {
      do throws(PublishError) {
        announced[try publisher.publish(message)] = message.topic
      } catch {
        guard error == .tooLarge else { return .milliseconds(100) }
        // What can never be said must not hold back what can.
        logger.error(
          "announce on \(message.topic): \(message.payload.count) bytes are more than the broker takes; raise its limit for packets"
        )
      }
      announcements.removeFirst()
    }
    // What is sent now would be mixed with another's, or is of an epoch that is over.
    guard !rivals.isHeld, epochIsOver == nil else { return .milliseconds(250) }
    if responder.isBusy, try responder.turn(store, publisher) {
      relay.news()
      if store.hasBackfill { relay.backfillNeeded() }
    }
    // A few reads a turn, so that PUBACKs and confirmations are heard in between.
    for _ in 0..<4 {
      switch nextStep() {
      case .wait(let duration): return responder.isBusy ? .zero : min(duration ?? .seconds(1), .seconds(1))
      case .backfill:
        if let backfillAt, clock.now < backfillAt {
          return responder.isBusy ? .zero : min(clock.now.duration(to: backfillAt), .seconds(1))
        }
        try backfill()
      case .read(let request):
        var read = try store.read(request, maximumBytes: limits.readBytes)
        relay.didRead(request, scannedThrough: read.scannedThrough, lastSeq: read.lastSeq)
        publish(&read, request, publisher)
        try bury()
      }
    }
    return .zero
  }

  private func backfill() throws(EdgeStoreError) {
    guard let rate = store.backfillRate else {
      backfillAt = nil
      return relay.didBackfill(hasMore: try store.backfill(limit: limits.relay.readEvents))
    }
    // In pieces of a quarter of a second.
    let piece = min(max(1, rate / 4), limits.relay.readEvents)
    relay.didBackfill(hasMore: try store.backfill(limit: piece))
    backfillAt = clock.now.advanced(by: .seconds(1) * piece / rate)
  }

  private func nextStep() -> Relay.Step {
    let probes = relay.probes
    let step = relay.next(now: clock.now)
    if relay.probes > probes {
      onFailure(.unconfirmed)
      traffic.interrupted(now: clock.now)
      logger.info(
        "no word from the cloud of what the broker took; a frame is sent again to ask. Is the consumer running?")
    }
    for publication in relay.takeLost() where !publication.isEmpty {
      let suspect = SizeSuspicion.Suspect(
        stream: publication.stream, events: publication.events, bytes: publication.bytes)
      if suspicion.lost(suspect, confirmed: relay.largestConfirmed, isAnswered: isAnswered) {
        blame(
          suspect, "the broker acknowledges it, and the consumer, which answers, does not get it", "message_size_limit")
      }
    }
    return step
  }

  private func refresh() -> Duration {
    do {
      if try store.refresh() {
        makeEncoders()
        if let publisher { announceSchemas(publisher) }
      }
      if store.hasBackfill { relay.backfillNeeded() }
      return .zero
    } catch .otherDatabase(let reason) {
      return leave(because: reason)
    } catch .busy {
      // The schema is still another one than is known, so this is come to again.
      return yieldToLock()
    } catch {
      said.rarely("refresh") { logger.error("look at the tables: \(error); tried again in a second\($0)") }
      retryAt = clock.now.advanced(by: .seconds(1))
      return .seconds(1)
    }
  }

  // MARK: Settling

  private func settle(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    guard relay.hasSettlement else {
      settleAt = nil
      return
    }
    guard let due = settleAt else {
      settleAt = now.advanced(by: limits.settleInterval)
      return
    }
    guard due <= now || isStopping else { return }
    let settlement = relay.takeSettlement()
    do throws(EdgeStoreError) {
      try store.settle(settlement)
      settleAt = nil
    } catch {
      relay.settlementFailed(settlement)
      throw error
    }
  }

  // MARK: Announcing

  private func announce(_ publisher: any Publisher) {
    toldGaps = store.gaps
    toldWaits = store.waits
    isAwayTold = false
    announcements = [status(isOnline: !isAway)]
    announceSchemas(publisher)
  }

  private func announceSchemas(_ publisher: any Publisher) {
    for stream in store.streams {
      guard let schema = stream.schema else { continue }
      announcements.append(
        OutboundMessage(
          topic: Topic.schema(machine, stream.name).text, payload: schema.document, isRetained: true,
          contentType: "application/json"))
    }
  }

  private func status(isOnline: Bool) -> OutboundMessage {
    OutboundMessage(
      topic: Topic.status(machine).text,
      payload: MachineStatus(
        isOnline: isOnline, epoch: store.epoch, software: software, at: wallClock(), ask: ask, clockOffset: clockOffset,
        outbox: standing.told, outboxAge: Int64(standing.age(now: clock.now) / .microseconds(1)), gaps: store.gaps,
        process: process, taken: rivals.taken, waits: store.waits
      )
      .document, isRetained: true, contentType: "application/json")
  }

  private func makeEncoders() {
    encoders = [:]
    let run = store.runs.newest?.number ?? 0
    for stream in store.streams {
      encoders[stream.number] = FrameEncoder(epoch: store.epoch, run: run, stream: stream)
    }
  }

  /// What is unconfirmed outside of the edge's disk.
  package var outstanding: (events: Int, bytes: Int) { (relay.outstandingEvents, relay.outstandingBytes) }

  /// Whether something is to be sent again, be it only an empty frame.
  package var hasIntervalsAgain: Bool { relay.hasIntervalsAgain }

  /// Whether a question to the cloud is open, or will be: perhaps it no longer has what it had confirmed.
  package var doubtsCloud: Bool { behindSince != nil || !isAnswered }

  // MARK: Stopping

  package func isDrained() -> Bool {
    isStopping = true
    return isDamaged || isAway || relay.isQuiet && !relay.hasSettlement
  }

  package func sessionWillClose(publisher: any Publisher) {
    // The last word stands until the agent comes back.
    if !isDamaged, !isAway, let found = try? store.outboxStanding() { standing.found(found, now: clock.now) }
    _ = try? publisher.publish(status(isOnline: false))
  }
}

/// The time that goes on whatever the wall clock does.
struct Clock {
  let read: () -> ContinuousClock.Instant
  var now: ContinuousClock.Instant { read() }
}

/// Set by whoever watches the database file, taken by the relay at its next turn.
package final class NewsHint: Sendable {
  private let isSet = Atomic(false)

  package func set() { isSet.store(true, ordering: .releasing) }
  fileprivate func take() -> Bool { isSet.exchange(false, ordering: .acquiring) }
}

/// Says a thing the first time, the 10th, the 100th and so on.
struct Said {
  private var counts: [String: Int] = [:]

  mutating func rarely(_ subject: String, _ say: (String) -> Void) {
    let count = counts[subject, default: 0] + 1
    counts[subject] = count
    var power = 1
    while power < count { power *= 10 }
    if power == count { say(count > 1 ? " (\(count) times since the start)" : "") }
  }
}
