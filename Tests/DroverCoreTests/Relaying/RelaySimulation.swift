// A machine, a broker and a cloud in memory, small enough to be read, bad enough to lose, repeat, reorder and refuse. What is real
// in it is the Relay; the agent around it does with the relay what DroverEdge's EdgeRelay does, step by step and in its order.

import DroverCore
import DroverTesting

struct RelaySimulation {
  struct Faults {
    /// Shares of a hundred.
    var drop = 0
    var refuse = 0
    var reorder = 0
    var duplicate = 0
    var noPuback = 0
    /// Shares of a thousand steps.
    var disconnect = 0
    var edgeRestart = 0
    var brokerRestart = 0
    var cloudRestart = 0
    /// Shares of a hundred.
    var publishError = 0
    var storeError = 0

    static let none = Faults()
  }

  struct Entry {
    let seq: Int64
    let stream: Int
    let key: Int
    var synced = false
    /// Its row is gone past the triggers: there is nothing left of it to send.
    var isVanished = false
  }

  private struct Frame {
    let stream: Int
    let interval: Interval
    let seqs: [Int64]
  }

  private struct Publication {
    let token: PublishToken
    let frame: Frame
  }

  /// `FrameEncoder`, without the bytes.
  private struct Draft {
    var seqs: [Int64] = []
    var first: Int64 = 0
    var last: Int64 = 0
    var isStarted = false

    mutating func cover(_ seq: Int64) {
      if !isStarted { first = seq }
      isStarted = true
      last = seq
    }

    mutating func append(_ seq: Int64) {
      cover(seq)
      seqs.append(seq)
    }
  }

  private struct OutboxRead {
    var entries: [Entry] = []
    var scannedThrough: Int64
    var lastSeq: Int64
  }

  static let streams = 1...4
  static let bytesOfEvent = 10

  private var random: Seeded
  private var faults: Faults
  private(set) var limits: Relay.Limits
  private var frameEvents: Int
  private let start = ContinuousClock().now
  private var now: ContinuousClock.Instant

  // The machine's disk.
  private(set) var outbox: [Entry] = []
  private var lastSeq: Int64 = 0
  private var written: [Entry] = []
  private var gone: Set<Int64> = []
  private var backfill = 0
  /// Per stream up to where everything is confirmed, as the store wrote it down.
  private var confirmed: [Int: IntervalSet] = [:]

  // The agent.
  private var relay: Relay
  private var isOpen = false
  private var tokens: Int32 = 0
  private var settleAt: ContinuousClock.Instant?
  private var retryAt: ContinuousClock.Instant?
  private var hasCommitted = false
  /// Streams whose table is not there for now.
  private var tableless: Set<Int> = []
  private var leftByEarlierRun = 0

  // The broker.
  private var handed: [Publication] = []
  private var pubacks: [(PublishToken, AcknowledgementReason)] = []
  private var queue: [Frame] = []
  /// Every event in a frame that had a PUBACK of success.
  private var promised: Set<Int64> = []
  private var edgeSession = false
  private var retained: (sets: [Int: IntervalSet], session: String)?
  private var confirmations: [(sets: [Int: IntervalSet], session: String)] = []

  // The cloud.
  private var covered: [Int: IntervalSet] = [:]
  private var applied: Set<Int64> = []
  private var session = 1
  private var isDirty = false

  // What is counted.
  private(set) var sent = 0
  private(set) var frames = 0
  private(set) var emptyFrames = 0
  /// The first invariant that was broken.
  private(set) var violation: String?

  init(seed: UInt64, faults: Faults) {
    random = Seeded(seed)
    self.faults = faults
    now = start
    limits = Relay.Limits()
    frameEvents = 1
    relay = Relay(limits: limits, seed: seed, acknowledged: [:], hasBackfill: false, now: start)
    configure()
    backfill = Int.random(in: 0...40, using: &random)
    startAgent()
  }

  /// An operator may change the limits between two runs.
  private mutating func configure() {
    limits.windowEvents = .random(in: 1...60, using: &random)
    limits.windowBytes = .random(in: 20...1000, using: &random)
    limits.readEvents = .random(in: 1...20, using: &random)
    limits.liveLag = .random(in: 3...60, using: &random)
    frameEvents = .random(in: 1...8, using: &random)
  }

  // MARK: Time and chance

  mutating func run(steps: Int) {
    for step in 0..<steps where violation == nil {
      chance()
      if violation != nil { violation! += " (step \(step))" }
    }
  }

  private mutating func chance() {
    switch Int.random(in: 0..<1000, using: &random) {
    case ..<faults.disconnect: disconnect()
    case ..<(faults.disconnect + faults.edgeRestart):
      disconnect()
      if random.percent(30) { configure() }
      startAgent()
    case ..<(faults.disconnect + faults.edgeRestart + faults.brokerRestart): restartBroker()
    case ..<(faults.disconnect + faults.edgeRestart + faults.brokerRestart + faults.cloudRestart): restartCloud()
    default: break
    }
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<22: write(Int.random(in: 1...3, using: &random))
    case 22..<23: write(80)
    case 23..<50: turn()
    case 50..<62: brokerTakes()
    case 62..<74: edgeHears()
    case 74..<84: cloudReceives()
    case 84..<92: cloudConfirms()
    case 92..<98: now = now.advanced(by: .milliseconds(Int.random(in: 1...400, using: &random)))
    case 98: now = now.advanced(by: .seconds(Int.random(in: 1...40, using: &random)))
    default:
      let stream = Int.random(in: Self.streams, using: &random)
      if tableless.remove(stream) == nil, faults.publishError > 0 { tableless.insert(stream) }
    }
    if !isOpen, random.percent(10) { connect() }
  }

  /// No more faults: lets everything come to rest. False when it does not in so many turns,
  /// which are hours: probes of what is lost are far apart.
  mutating func settle() -> Bool {
    faults = .none
    tableless = []
    for _ in 0..<20_000 where violation == nil {
      if !isOpen { connect() }
      var wait = turn()
      while !handed.isEmpty { brokerTakes() }
      while !queue.isEmpty { cloudReceives() }
      cloudConfirms()
      while !pubacks.isEmpty || !confirmations.isEmpty {
        edgeHears()
        wait = .zero
      }
      if outbox.isEmpty, backfill == 0, relay.outstandingEvents == 0, relay.isQuiet, !relay.hasSettlement {
        return true
      }
      now = now.advanced(by: max(wait, .milliseconds(1)))
    }
    return false
  }

  // MARK: The machine

  mutating func write(_ count: Int) {
    for _ in 0..<count {
      insert(stream: .random(in: Self.streams, using: &random), key: .random(in: 0..<25, using: &random))
    }
    hasCommitted = true
    if random.percent(3), !outbox.isEmpty {
      let index = Int.random(in: outbox.indices, using: &random)
      outbox[index].isVanished = true
      gone.insert(outbox[index].seq)
    }
  }

  /// One event of each stream.
  mutating func writeToAll() {
    for stream in Self.streams { insert(stream: stream, key: 0) }
    hasCommitted = true
  }

  private mutating func insert(stream: Int, key: Int) {
    lastSeq += 1
    if let older = outbox.firstIndex(where: { $0.stream == stream && $0.key == key }) {
      gone.insert(outbox[older].seq)
      outbox.remove(at: older)
    }
    outbox.append(Entry(seq: lastSeq, stream: stream, key: key))
    written.append(outbox.last!)
  }

  private func read(_ request: ReadRequest, stopEarly: Bool) -> OutboxRead {
    let after: Int64
    let bound: Int64
    var most: Int
    var entries: [Entry]
    switch request {
    case .fresh(let from, let through, let limit):
      (after, bound, most) = (from, min(through, lastSeq), limit)
      entries = outbox.filter { $0.seq > after && $0.seq <= bound && !$0.synced }
    case .again(let stream, let interval, let limit):
      (after, bound, most) = (interval.after, interval.through, limit)
      entries = outbox.filter { $0.stream == stream && interval.contains($0.seq) }
    }
    if stopEarly { most = max(1, most / 2) }
    var result = OutboxRead(scannedThrough: max(after, bound), lastSeq: lastSeq)
    if entries.count >= most {
      entries = Array(entries.prefix(most))
      result.scannedThrough = entries[most - 1].seq
    }
    result.entries = entries
    return result
  }

  private mutating func settleStore(_ settlement: Settlement) {
    for index in outbox.indices where settlement.synced[outbox[index].stream]?.contains(outbox[index].seq) == true {
      outbox[index].synced = true
      let entry = outbox[index]
      if !promised.contains(entry.seq), !entry.isVanished { fail("seq \(entry.seq) is synced without a PUBACK") }
    }
    for entry in outbox where settlement.confirmed[entry.stream]?.contains(entry.seq) == true {
      if !applied.contains(entry.seq), !gone.contains(entry.seq) {
        fail("seq \(entry.seq) is forgotten and was never applied")
      }
    }
    confirmed.merge(settlement.confirmed) { IntervalSet($0.intervals + $1.intervals) }
    for (stream, front) in settlement.fronts where confirmed[stream]?.front != front {
      fail(
        "the front of stream \(stream) is \(front), and what is confirmed is \(confirmed[stream]?.description ?? "")")
    }
    outbox.removeAll { settlement.confirmed[$0.stream]?.contains($0.seq) == true }
  }

  // MARK: The agent, as EdgeRelay is

  private mutating func startAgent() {
    var acknowledged: [Int: IntervalSet] = [:]
    for entry in outbox where entry.synced {
      acknowledged[entry.stream, default: IntervalSet()].insert(Interval(after: entry.seq - 1, through: entry.seq))
    }
    relay = Relay(
      limits: limits, seed: random.next(), confirmed: confirmed, acknowledged: acknowledged, hasBackfill: backfill > 0,
      now: now)
    if relay.isBehind(covered) { fail("the cloud holds less than what was written down as confirmed") }
    leftByEarlierRun = relay.outstandingEvents
    settleAt = nil
    retryAt = nil
  }

  @discardableResult private mutating func turn() -> Duration {
    if let retryAt, retryAt > now { return now.duration(to: retryAt) }
    retryAt = nil
    if hasCommitted {
      relay.news()
      hasCommitted = false
    }
    var wait = Duration.zero
    if isOpen {
      loop: for _ in 0..<4 {
        switch relay.next(now: now) {
        case .wait(let duration):
          wait = duration ?? .seconds(1)
          break loop
        case .backfill:
          guard !random.percent(faults.storeError) else { return storeFails() }
          bringOldRows(limits.readEvents)
          relay.didBackfill(hasMore: backfill > 0)
        case .read(let request):
          guard !random.percent(faults.storeError) else { return storeFails() }
          let read = read(request, stopEarly: random.percent(10))
          relay.didRead(request, scannedThrough: read.scannedThrough, lastSeq: read.lastSeq)
          publish(read, request)
          if relay.outstandingEvents > max(limits.windowEvents, leftByEarlierRun) {
            fail("\(relay.outstandingEvents) events are in the window")
          }
        }
      }
    } else {
      wait = .seconds(1)
    }
    guard relay.hasSettlement else {
      settleAt = nil
      return wait
    }
    guard let due = settleAt else {
      settleAt = now.advanced(by: .milliseconds(100))
      return min(wait, .milliseconds(100))
    }
    guard due <= now else { return min(wait, now.duration(to: due)) }
    let settlement = relay.takeSettlement()
    guard !random.percent(faults.storeError) else {
      relay.settlementFailed(settlement)
      return storeFails()
    }
    settleStore(settlement)
    settleAt = nil
    return wait
  }

  private mutating func storeFails() -> Duration {
    retryAt = now.advanced(by: .milliseconds(20))
    return .milliseconds(20)
  }

  private mutating func bringOldRows(_ limit: Int) {
    for _ in 0..<min(limit, backfill) {
      backfill -= 1
      insert(stream: 1, key: 1000 + backfill)
    }
  }

  private mutating func publish(_ read: OutboxRead, _ request: ReadRequest) {
    var blocked: Set<Int> = []
    var drafts: [Int: Draft] = [:]
    for entry in read.entries {
      guard !relay.claims(stream: entry.stream).isConfirmed(entry.seq) else { continue }
      var draft = drafts[entry.stream] ?? Draft()
      let isFull = draft.seqs.count >= frameEvents
      if draft.isStarted,
        isFull || !relay.claims(stream: entry.stream).canJoin(previous: draft.last, next: entry.seq, request: request)
      {
        send(&draft, entry.stream, request, through: draft.last, &blocked)
      }
      if entry.isVanished { draft.cover(entry.seq) } else { draft.append(entry.seq) }
      drafts[entry.stream] = draft
    }
    var end: Int64?
    if case .again(_, let interval, _) = request, read.scannedThrough >= interval.through { end = interval.through }
    for stream in drafts.keys.sorted() where drafts[stream]!.isStarted {
      var draft = drafts[stream]!
      send(&draft, stream, request, through: end ?? draft.last, &blocked)
    }
    if case .again(let stream, let interval, _) = request, read.entries.isEmpty {
      var draft = Draft()
      draft.cover(interval.after + 1)
      send(&draft, stream, request, through: interval.through, &blocked)
    }
  }

  private mutating func send(
    _ draft: inout Draft, _ stream: Int, _ request: ReadRequest, through: Int64, _ blocked: inout Set<Int>
  ) {
    defer { draft = Draft() }
    let interval = relay.coverage(stream: stream, first: draft.first, last: through, request: request)
    let isWaitingForTable = tableless.contains(stream)
    guard !isWaitingForTable, !blocked.contains(stream), !relay.isHeld(stream: stream, now: now) else {
      relay.held(stream: stream, interval: interval, until: isWaitingForTable ? now.advanced(by: .seconds(5)) : nil)
      blocked.insert(stream)
      return
    }
    if random.percent(faults.publishError) {
      relay.held(stream: stream, interval: interval, until: random.percent(50) ? nil : now.advanced(by: .seconds(10)))
      blocked.insert(stream)
      return
    }
    check(draft, stream, interval)
    tokens += 1
    let token = PublishToken(rawValue: tokens)
    handed.append(Publication(token: token, frame: Frame(stream: stream, interval: interval, seqs: draft.seqs)))
    relay.published(
      token, stream: stream, interval: interval, events: draft.seqs.count,
      bytes: 20 + Self.bytesOfEvent * draft.seqs.count, now: now)
    sent += draft.seqs.count
    frames += 1
    if draft.seqs.isEmpty { emptyFrames += 1 }
  }

  /// A frame never claims an entry that it does not carry.
  private mutating func check(_ draft: Draft, _ stream: Int, _ interval: Interval) {
    for entry in outbox where entry.stream == stream && interval.contains(entry.seq) && !gone.contains(entry.seq) {
      guard draft.seqs.contains(entry.seq) else {
        fail("a frame of stream \(stream) claims \(interval) and does not carry \(entry.seq)")
        return
      }
    }
    if !draft.seqs.allSatisfy(interval.contains) { fail("a frame carries events outside of \(interval)") }
  }

  // MARK: The connection

  private mutating func connect() {
    isOpen = true
    relay.connected(sessionPresent: edgeSession, patience: .milliseconds(500), now: now)
    edgeSession = true
    if let retained { confirmations = [retained] }
  }

  private mutating func disconnect() {
    guard isOpen else { return }
    isOpen = false
    // What was handed over may have reached the broker; its PUBACK does not come any more.
    for publication in handed where random.percent(50) { queue.append(publication.frame) }
    handed = []
    pubacks = []
    confirmations = []
    relay.disconnected()
  }

  private mutating func brokerTakes() {
    guard !handed.isEmpty else { return }
    let publication = handed.removeFirst()
    if random.percent(faults.refuse) {
      let reasons: [AcknowledgementReason] = [.noMatchingSubscribers, .notAuthorised, .quotaExceeded, .other(0x80)]
      pubacks.append((publication.token, reasons.randomElement(using: &random)!))
      return
    }
    if !random.percent(faults.drop) {
      queue.append(publication.frame)
      if random.percent(faults.duplicate) { queue.append(publication.frame) }
    }
    // A PUBACK stays away only where the connection ends.
    guard !random.percent(faults.noPuback) else { return disconnect() }
    pubacks.append((publication.token, .success))
    promised.formUnion(publication.frame.seqs)
  }

  private mutating func edgeHears() {
    if !confirmations.isEmpty, pubacks.isEmpty || random.percent(50) {
      let confirmation = confirmations.removeFirst()
      relay.confirmed(confirmation.sets, session: confirmation.session, now: now)
    } else if !pubacks.isEmpty {
      let (token, reason) = pubacks.removeFirst()
      relay.acknowledged(token, reason: reason, now: now)
      if random.percent(faults.duplicate) { relay.acknowledged(token, reason: .success, now: now) }
    }
  }

  /// All that the broker kept is gone, and every session with it.
  private mutating func restartBroker() {
    disconnect()
    queue = []
    edgeSession = false
    if random.percent(50) { retained = nil }
    session += 1
    isDirty = true
  }

  // MARK: The cloud

  private mutating func restartCloud() {
    isDirty = true
    guard random.percent(50) else { return }
    // Its session was gone: what waited in it is lost, and it gives itself another name.
    queue = []
    session += 1
  }

  private mutating func cloudReceives() {
    guard !queue.isEmpty else { return }
    let index = random.percent(faults.reorder) ? Int.random(in: queue.indices, using: &random) : 0
    let frame = queue.remove(at: index)
    isDirty = true
    var set = covered[frame.stream] ?? IntervalSet()
    guard !set.contains(frame.interval) else { return }
    applied.formUnion(frame.seqs)
    set.insert(frame.interval)
    covered[frame.stream] = set
    for entry in written where entry.stream == frame.stream && frame.interval.contains(entry.seq) {
      guard applied.contains(entry.seq) || gone.contains(entry.seq) else {
        fail("the cloud covers \(frame.interval) of stream \(frame.stream) without \(entry.seq)")
        return
      }
    }
  }

  private mutating func cloudConfirms() {
    guard isDirty else { return }
    isDirty = false
    let confirmation = (sets: covered, session: "session \(session)")
    retained = confirmation
    if isOpen { confirmations.append(confirmation) }
  }

  // MARK: What must hold in the end

  private mutating func fail(_ text: String) {
    if violation == nil { violation = text }
  }

  /// Entries that were neither applied nor superseded.
  var lost: [Int64] { written.map(\.seq).filter { !applied.contains($0) && !gone.contains($0) } }
  var superseded: Int { gone.count }
  var writtenEvents: Int { written.count }
  var holes: [Int: [Interval]] { covered.mapValues(\.gaps).filter { !$0.value.isEmpty } }
  var outstanding: (events: Int, bytes: Int) { (relay.outstandingEvents, relay.outstandingBytes) }
}
