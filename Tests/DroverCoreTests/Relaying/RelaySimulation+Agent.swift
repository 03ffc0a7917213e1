// The agent of the simulation: it does with the relay what EdgeRelay does, step by step and in its order.

import DroverCore
import DroverTesting

extension RelaySimulation {
  mutating func startAgent() {
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

  @discardableResult mutating func turn() -> Duration {
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
          sendOldRows(limits.readEvents)
          relay.didBackfill(hasMore: backfill > 0)
        case .read(let request):
          guard !random.percent(faults.storeError) else { return storeFails() }
          let read = read(request, stopEarly: random.percent(10))
          relay.didRead(request, scannedThrough: read.scannedThrough, lastSeq: read.lastSeq)
          publish(read, request)
          if relay.outstandingEvents > max(limits.window.events, leftByEarlierRun) {
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

  mutating func storeFails() -> Duration {
    retryAt = now.advanced(by: .milliseconds(20))
    return .milliseconds(20)
  }

  mutating func sendOldRows(_ limit: Int) {
    for _ in 0..<min(limit, backfill) {
      backfill -= 1
      insert(stream: 1, key: 1000 + backfill)
    }
  }

  mutating func publish(_ read: OutboxRead, _ request: ReadRequest) {
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

  mutating func send(
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
  mutating func check(_ draft: Draft, _ stream: Int, _ interval: Interval) {
    for entry in outbox where entry.stream == stream && interval.contains(entry.seq) && !gone.contains(entry.seq) {
      guard draft.seqs.contains(entry.seq) else {
        fail("a frame of stream \(stream) claims \(interval) and does not carry \(entry.seq)")
        return
      }
    }
    if !draft.seqs.allSatisfy(interval.contains) { fail("a frame carries events outside of \(interval)") }
  }
}
