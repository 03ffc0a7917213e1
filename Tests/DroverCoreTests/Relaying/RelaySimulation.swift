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
    /// Its row is gone past the triggers: nothing of it is left to send.
    var isVanished = false
  }

  struct Frame {
    let stream: Int
    let interval: Interval
    let seqs: [Int64]
  }

  struct Publication {
    let token: PublishToken
    let frame: Frame
  }

  /// `FrameEncoder`, without the bytes.
  struct Draft {
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

  struct OutboxRead {
    var entries: [Entry] = []
    var scannedThrough: Int64
    var lastSeq: Int64
  }

  static let streams = 1...4
  static let bytesOfEvent = 10

  var random: Seeded
  var faults: Faults
  var limits: RelayLimits
  var frameEvents: Int
  let start = ContinuousClock().now
  var now: ContinuousClock.Instant

  // The machine's disk.
  var outbox: [Entry] = []
  var lastSeq: Int64 = 0
  var written: [Entry] = []
  var gone: Set<Int64> = []
  var backfill = 0
  /// Per stream up to where everything is confirmed, as the store wrote it down.
  var confirmed: [Int: IntervalSet] = [:]

  // The agent.
  var relay: Relay
  var isOpen = false
  var tokens: Int32 = 0
  var settleAt: ContinuousClock.Instant?
  var retryAt: ContinuousClock.Instant?
  var hasCommitted = false
  /// Streams whose table is not there for now.
  var tableless: Set<Int> = []
  var leftByEarlierRun = 0

  // The broker.
  var handed: [Publication] = []
  var pubacks: [(PublishToken, AcknowledgementReason)] = []
  var queue: [Frame] = []
  /// Every event in a frame that had a PUBACK of success.
  var promised: Set<Int64> = []
  var edgeSession = false
  var retained: (sets: [Int: IntervalSet], session: String)?
  var confirmations: [(sets: [Int: IntervalSet], session: String)] = []

  // The cloud.
  var covered: [Int: IntervalSet] = [:]
  var applied: Set<Int64> = []
  var session = 1
  var isDirty = false

  // What is counted.
  var sent = 0
  var frames = 0
  var emptyFrames = 0
  /// The first invariant that was broken.
  var violation: String?

  init(seed: UInt64, faults: Faults) {
    random = Seeded(seed)
    self.faults = faults
    now = start
    limits = RelayLimits()
    frameEvents = 1
    relay = Relay(limits: limits, seed: seed, acknowledged: [:], hasBackfill: false, now: start)
    configure()
    backfill = Int.random(in: 0...40, using: &random)
    startAgent()
  }

  /// An operator may change the limits between two runs.
  mutating func configure() {
    limits.window.events = .random(in: 1...60, using: &random)
    limits.window.bytes = .random(in: 20...1000, using: &random)
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

  mutating func chance() {
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

  mutating func insert(stream: Int, key: Int) {
    lastSeq += 1
    if let older = outbox.firstIndex(where: { $0.stream == stream && $0.key == key }) {
      gone.insert(outbox[older].seq)
      outbox.remove(at: older)
    }
    outbox.append(Entry(seq: lastSeq, stream: stream, key: key))
    written.append(outbox.last!)
  }

  func read(_ request: ReadRequest, stopEarly: Bool) -> OutboxRead {
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

  mutating func settleStore(_ settlement: Settlement) {
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

  // MARK: The connection

  mutating func connect() {
    isOpen = true
    relay.connected(sessionPresent: edgeSession, patience: .milliseconds(500), now: now)
    edgeSession = true
    if let retained { confirmations = [retained] }
  }

  mutating func disconnect() {
    guard isOpen else { return }
    isOpen = false
    // What was handed over may have reached the broker; its PUBACK does not come any more.
    for publication in handed where random.percent(50) { queue.append(publication.frame) }
    handed = []
    pubacks = []
    confirmations = []
    relay.disconnected()
  }

  mutating func brokerTakes() {
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

  mutating func edgeHears() {
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
  mutating func restartBroker() {
    disconnect()
    queue = []
    edgeSession = false
    if random.percent(50) { retained = nil }
    session += 1
    isDirty = true
  }

  // MARK: The cloud

  mutating func restartCloud() {
    isDirty = true
    guard random.percent(50) else { return }
    // Its session was gone: what waited in it is lost, and it gives itself another name.
    queue = []
    session += 1
  }

  mutating func cloudReceives() {
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

  mutating func cloudConfirms() {
    guard isDirty else { return }
    isDirty = false
    let confirmation = (sets: covered, session: "session \(session)")
    retained = confirmation
    if isOpen { confirmations.append(confirmation) }
  }

  // MARK: What must hold in the end

  mutating func fail(_ text: String) {
    if violation == nil { violation = text }
  }

  /// Entries that were neither applied nor superseded.
  var lost: [Int64] { written.map(\.seq).filter { !applied.contains($0) && !gone.contains($0) } }
  var superseded: Int { gone.count }
  var writtenEvents: Int { written.count }
  var holes: [Int: [Interval]] { covered.mapValues(\.gaps).filter { !$0.value.isEmpty } }
  var outstanding: (events: Int, bytes: Int) { (relay.outstandingEvents, relay.outstandingBytes) }
}
