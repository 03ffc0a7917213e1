// The way down: edits of people get their numbers, and rows go to the machines that are online. `DownRelay` decides what is sent when. One consumer of a
// group does it, the leader.

import DroverCore
import DroverEvents
import DroverWire

extension Consumer {
  /// Most edits of one transaction.
  private static let mostEdits = 1000
  /// More machines than these are looked up together.
  private static let mostAsked = 16
  /// How often is looked for edits without a hint: nothing tells of commits on some filesystems.
  private static let pauseOfLooks: Duration = .seconds(1)
  /// How often all lanes are looked up because others have committed: they may have given numbers, or described streams.
  private static let pauseOfReloads: Duration = .milliseconds(100)

  /// How often is looked whether machines know how many conflicts they have, and whether triggers are missing.
  private static let pauseOfCounts: Duration = .seconds(1)
  private static let pauseOfMending: Duration = .seconds(10)

  /// What is known of the way down when a session begins.
  func openDown(_ transaction: any CloudTransaction) throws {
    down.epoch = try transaction.downEpoch()
    if try !transaction.downStreams(of: nil).isEmpty { beginDown() }
    down.isDue = true
    down.toLoad.formUnion(isOnline.filter(\.value).keys)
  }

  private func beginDown() {
    guard !down.hasStreams else { return }
    down.hasStreams = true
    onDownStreams()
  }

  /// What a machine says it has received.
  func hear(
    _ confirmation: DownConfirmation, of machine: MachineID, _ transaction: any CloudTransaction,
    _ group: inout MessageGroup
  ) throws {
    let isCurrent = try transaction.note(confirmation, machine: machine)
    group.downConfirmations[machine] = isCurrent ? confirmation : nil
    if !isCurrent { group.hasNewNumbering = try transaction.downEpoch() != down.epoch || group.hasNewNumbering }
  }

  /// What comes after a commit.
  func followDown(_ group: MessageGroup) {
    if group.describesDown {
      beginDown()
      // The rows that its table has are to get numbers.
      down.isDue = true
    }
    guard down.hasStreams else { return }
    for (machine, confirmation) in group.downConfirmations {
      down.relay.confirmed(confirmation.streams, of: machine, now: down.now ?? ContinuousClock().now)
    }
    for (machine, status) in group.statuses {
      if status.isOnline { down.toLoad.insert(machine) } else { down.relay.left(machine) }
    }
    down.toLoad.formUnion(group.downNews)
    for (stream, last) in group.raised { down.relay.raised(stream, to: last) }
    if group.hasNewNumbering { down.isDue = true }
  }

  /// Returns how long the next turn may wait.
  func sendDown(now: ContinuousClock.Instant, _ publisher: any Publisher) -> Duration {
    down.now = now
    guard down.hasStreams, isLeader() else { return .seconds(1) }
    do {
      mendCapture(now: now)
      try takeEdits(now: now)
      try loadLanes(now: now)
      for _ in 0..<down.limits.framesPerTurn {
        switch down.relay.next(now: now) {
        case .wait(let duration):
          if down.isDue { return .zero }
          let reload = down.reloadAt.map { max(.zero, now.duration(to: $0)) }
          return min(duration ?? .seconds(1), down.commits.again ?? .seconds(1), reload ?? .seconds(1), .seconds(1))
        case .send(let stream, let after): try send(stream, after: after, now: now, publisher)
        }
      }
      return .zero
    } catch {
      failed(error)
      events.emit(DownFailed(error: error))
      return .seconds(1)
    }
  }

  private func takeEdits(now: ContinuousClock.Instant) throws {
    if editHint.take() { down.commits.hinted() }
    var isHinted = false
    if down.commits.again != nil {
      // A transaction of the consumer's may have seen the commit since.
      isHinted = store.hasForeignCommits || store.foreignChanges != down.foreignChanges
      down.commits.looked(found: isHinted)
    }
    guard down.isDue || isHinted || down.lookedAt.map({ $0.advanced(by: Self.pauseOfLooks) <= now }) ?? true else {
      return
    }
    down.lookedAt = now
    down.isDue = false
    var epoch = down.epoch
    let countsConflicts =
      answers != nil && down.countedAt.map { $0.advanced(by: Self.pauseOfCounts) <= now } ?? true
    let (hasMore, raised, counts) = try store.transaction { transaction in
      epoch = try transaction.downEpoch()
      let found = try transaction.takeEdits(limit: Self.mostEdits)
      return (found.hasMore, transaction.raised, countsConflicts ? try transaction.conflictCounts() : nil)
    }
    if let counts {
      down.countedAt = now
      try tellConflicts(counts)
    }
    down.isDue = hasMore
    down.foreignChanges = store.foreignChanges
    if epoch != down.epoch {
      // Numbers mean something else now, and each machine has to hear of it before it takes a row.
      down.epoch = epoch
      down.toLoad.formUnion(down.relay.machines)
      down.relay.disconnected()
      let machines = try store.transaction { try $0.machines() }
      for (machine, epoch) in machines { confirmations.touch(machine, epoch: epoch) }
    }
    for (stream, last) in raised { down.relay.raised(stream, to: last) }
    // Others give numbers by themselves: other consumers, and who resolves a conflict.
    if isHinted || store.isShared { down.reloadAt = down.reloadAt ?? max(now, down.reloadedAt.map(afterPause) ?? now) }
  }

  /// A person may have resolved a conflict, and the machine's next event may be far away.
  private func tellConflicts(_ counts: [MachineID: Int]) throws {
    let stale = toldConflicts.filter { machine, told in isOnline[machine] ?? false && told != counts[machine] ?? 0 }
    guard !stale.isEmpty else { return }
    let epochs = try store.transaction { try $0.machines() }
    for machine in stale.keys.sorted() {
      if let epoch = epochs[machine] { confirmations.touch(machine, epoch: epoch) }
    }
  }

  /// Edits that no trigger notes stay in the cloud, and nothing tells of them but a comparison.
  private func mendCapture(now: ContinuousClock.Instant) {
    guard down.mendedAt.map({ $0.advanced(by: Self.pauseOfMending) <= now }) ?? true else { return }
    down.mendedAt = now
    do {
      let faults = try store.transaction { try $0.mendCapture() }
      for fault in faults where !down.captureFaults.contains(fault) { events.emit(CaptureLost(fault: fault)) }
      // What is mended may be lost again.
      down.captureFaults = faults.filter { !$0.isMended }
    } catch {
      failed(error)
      events.emit(CaptureNotMended(error: error))
    }
  }

  private func afterPause(_ instant: ContinuousClock.Instant) -> ContinuousClock.Instant {
    instant.advanced(by: Self.pauseOfReloads)
  }

  /// The lanes of machines that came, or whose streams have new rows.
  private func loadLanes(now: ContinuousClock.Instant) throws {
    if let due = down.reloadAt, due <= now {
      down.toLoad.formUnion(down.relay.machines)
      (down.reloadAt, down.reloadedAt) = (nil, now)
    }
    guard !down.toLoad.isEmpty else { return }
    let machines = down.toLoad.sorted()
    let streams = try store.transaction { transaction in
      guard machines.count > Self.mostAsked else { return try machines.map { try transaction.downStreams(of: $0) } }
      let all = Dictionary(grouping: try transaction.downStreams(of: nil), by: \.machine)
      return machines.map { all[$0] ?? [] }
    }
    down.toLoad = []
    for (machine, streams) in zip(machines, streams) where isOnline[machine] ?? false {
      down.relay.loaded(streams, of: machine)
    }
  }

  private func send(
    _ stream: DownStream, after: Int64, now: ContinuousClock.Instant, _ publisher: any Publisher
  ) throws {
    guard let epoch = down.epoch else { return }
    let read = try store.transaction {
      try $0.readDown(stream, after: after, limit: down.limits.rows, maximumBytes: down.limits.bytes)
    }
    guard read.last > after else { return down.relay.found(last: read.last, of: stream) }
    guard read.scannedThrough > after else { return down.relay.failed(stream, now: now) }
    let declaration = StreamDeclaration(name: stream.stream, kind: stream.schema.kind, table: stream.stream.text)
    var encoder = FrameEncoder(
      epoch: epoch, run: read.run?.number ?? 0, stream: EdgeStream(number: 0, declaration, schema: stream.schema),
      lineage: read.run.map { Lineage(since: $0.first) })
    encoder.cover(after + 1)
    for entry in read.entries { encoder.append(entry) }
    let topic = Topic.down(stream.machine, stream.schema.kind, stream.stream)
    let frame = encoder.finish(covering: Interval(after: after, through: read.scannedThrough), last: read.last)
    do throws(PublishError) {
      _ = try publisher.publish(OutboundMessage(topic: topic.text, payload: frame, contentType: "application/json"))
      down.relay.published(stream, through: read.scannedThrough, last: read.last, now: now)
    } catch {
      down.relay.failed(stream, now: now)
      events.emit(DownNotPublished(topic: topic.text, bytes: frame.count, error: error))
    }
  }
}

/// What the consumer keeps for the way down.
struct DownState {
  var limits = DownLimits()
  var relay = DownRelay()
  /// The numbering of the store.
  var epoch: Epoch?
  /// A stream of some machine goes down. Otherwise nothing is asked.
  var hasStreams = false
  /// Machines whose lanes are to be looked up.
  var toLoad: Set<MachineID> = []
  /// Edits may wait in the store.
  var isDue = true
  /// A hint may come before the commit that it is about can be seen.
  var commits = CommitWatch(limits: DatabaseLimits())
  var lookedAt: ContinuousClock.Instant?
  /// What was known of the store's changes by others then.
  var foreignChanges = 0
  /// When all lanes are to be looked up, and when they last were because of others.
  var reloadAt: ContinuousClock.Instant?
  var reloadedAt: ContinuousClock.Instant?
  /// When machines' conflicts were counted last, and when triggers were looked at.
  var countedAt: ContinuousClock.Instant?
  var mendedAt: ContinuousClock.Instant?
  /// Faults of the triggers that a person has to mend, as reported.
  var captureFaults: [CaptureFault] = []
  /// The time of the last turn.
  var now: ContinuousClock.Instant?
}
