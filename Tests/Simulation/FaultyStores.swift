// The real stores behind a thin layer that fails by chance, and that kills the process before or after a commit.

import DroverCore

/// A process that a fault has killed: nothing that it does from then on has an effect.
final class Life {
  private(set) var isOver = false
  private let onEnd: () -> Void

  init(onEnd: @escaping () -> Void) { self.onEnd = onEnd }

  func end() {
    isOver = true
    onEnd()
  }
}

struct Killed: Error, CustomStringConvertible {
  var description: String { "killed" }
}

final class FaultyEdgeStore: EdgeStore {
  private let store: any EdgeStore
  private let chance: Chance
  private let life: Life
  private let mistake: Mistake?
  /// Asked before anything is forgotten.
  private let willSettle: (Settlement) -> Void
  /// Asked before entries are sent.
  var willSend: (inout [OutboxEntry]) -> Void = { _ in }
  /// Told when rows that came down are written.
  var didApply: (DownFrame) throws -> Void = { _ in }

  init(
    _ store: any EdgeStore, chance: Chance, life: Life, mistake: Mistake?, willSettle: @escaping (Settlement) -> Void
  ) {
    self.store = store
    self.chance = chance
    self.life = life
    self.mistake = mistake
    self.willSettle = willSettle
  }

  var epoch: Epoch { store.epoch }
  var runs: Runs { store.runs }
  var streams: [EdgeStream] { store.streams }
  var hasBackfill: Bool { store.hasBackfill }
  var gaps: [StreamName: String] { store.gaps }
  var waits: [StreamWait] { store.waits }
  func lockHolders() -> String? { store.lockHolders() }
  var backfillRate: Int? { store.backfillRate }

  func hasChanged() throws(EdgeStoreError) -> Bool {
    try mayFail()
    return try store.hasChanged()
  }

  func refresh() throws(EdgeStoreError) -> Bool {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in try store.refresh() }
  }

  func confirmed() throws(EdgeStoreError) -> [Int: IntervalSet] {
    try mayFail()
    return try store.confirmed()
  }

  func startEpoch(because reason: String) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in try store.startEpoch(because: reason) }
  }

  func acknowledged() throws(EdgeStoreError) -> [Int: IntervalSet] {
    try mayFail()
    return try store.acknowledged()
  }

  func read(_ request: ReadRequest, maximumBytes: Int) throws(EdgeStoreError) -> OutboxRead {
    try mayFail()
    var read = try store.read(request, maximumBytes: maximumBytes)
    willSend(&read.entries)
    return read
  }

  func backfill(limit: Int) throws(EdgeStoreError) -> Bool {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in try store.backfill(limit: limit) }
  }

  func moveToDeadLetters(_ event: UnsendableEvent) throws(EdgeStoreError) -> Bool {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in try store.moveToDeadLetters(event) }
  }

  func resync(_ order: ResyncOrder, stream: Int) throws(EdgeStoreError) -> ResyncProgress {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in try store.resync(order, stream: stream) }
  }

  func resyncProgress(stream: Int) throws(EdgeStoreError) -> ResyncProgress? {
    try mayFail()
    return try store.resyncProgress(stream: stream)
  }

  func standing(worklist stream: Int) throws(EdgeStoreError) -> WorklistStanding {
    try mayFail()
    return try store.standing(worklist: stream)
  }

  func openRequest(worklist stream: Int, new: RefillID, now: Int64) throws(EdgeStoreError) -> RefillID? {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in try store.openRequest(worklist: stream, new: new, now: now) }
  }

  func refill(
    worklist stream: Int, request: RefillID, orders: [ReadOrder], left: Int, now: Int64
  ) throws(EdgeStoreError) -> RefillOutcome? {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in
      try store.refill(worklist: stream, request: request, orders: orders, left: left, now: now)
    }
  }

  func close(worklist stream: Int, request: RefillID, why: String, now: Int64) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in
      try store.close(worklist: stream, request: request, why: why, now: now)
    }
  }

  func noted(worklist stream: Int, _ outcome: RefillOutcome) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in try store.noted(worklist: stream, outcome) }
  }

  func note(worklist stream: Int, waits why: String?) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in try store.note(worklist: stream, waits: why) }
  }

  func clear(worklist stream: Int) throws(EdgeStoreError) -> (removed: Int, unfinished: [String]) {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in try store.clear(worklist: stream) }
  }

  func survey(
    stream: Int, after cursor: [Value], limit: Int, _ see: ([Value], UInt64) -> Void
  ) throws(EdgeStoreError) -> [Value]? {
    try mayFail()
    return try store.survey(stream: stream, after: cursor, limit: limit, see)
  }

  func values(
    of column: Int, stream: Int, after cursor: [Value], limit: Int, _ see: (Value) -> Void
  ) throws(EdgeStoreError) -> [Value]? {
    try mayFail()
    return try store.values(of: column, stream: stream, after: cursor, limit: limit, see)
  }

  func states(of keys: [[Value]], stream: Int) throws(EdgeStoreError) -> [RowState] {
    try mayFail()
    return try store.states(of: keys, stream: stream)
  }

  func enter(_ keys: [[Value]], stream: Int) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in try store.enter(keys, stream: stream) }
  }

  func lineage(stream: Int) -> Lineage? { store.lineage(stream: stream) }

  func downReceived() throws(EdgeStoreError) -> DownConfirmation? {
    try mayFail()
    return try store.downReceived()
  }

  func apply(_ frame: DownFrame) throws(EdgeStoreError) -> DownOutcome? {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in
      let outcome = try store.apply(frame)
      if let outcome, outcome.applied > 0 {
        do { try didApply(frame) } catch { throw .failed("\(error)") }
      }
      return outcome
    }
  }

  func note(numbering: Epoch) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in try store.note(numbering: numbering) }
  }

  func retryRefused() throws(EdgeStoreError) -> DownOutcome {
    try mayFail()
    return try writing { () throws(EdgeStoreError) in try store.retryRefused() }
  }

  func refusedRows() throws(EdgeStoreError) -> RefusedRows {
    try mayFail()
    return try store.refusedRows()
  }

  func retry(_ order: RetryOrder) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in try store.retry(order) }
  }

  func watchSpace() throws(EdgeStoreError) { try store.watchSpace() }

  func outboxFigures() throws(EdgeStoreError) -> OutboxFigures {
    try mayFail()
    return try store.outboxFigures()
  }

  func note(_ clock: ClockNews) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in try store.note(clock) }
  }

  func note(_ trouble: Trouble?, _ kind: Trouble.Kind) throws(EdgeStoreError) {
    try mayFail()
    try writing { () throws(EdgeStoreError) in try store.note(trouble, kind) }
  }

  func settle(_ settlement: Settlement) throws(EdgeStoreError) {
    try mayFail()
    var settlement = settlement
    if mistake == .forgetOnPuback {
      for (stream, set) in settlement.synced {
        settlement.confirmed[stream, default: IntervalSet()].formUnion(set)
      }
    }
    willSettle(settlement)
    let settled = settlement
    try writing { () throws(EdgeStoreError) in try store.settle(settled) }
  }

  private func mayFail() throws(EdgeStoreError) {
    if life.isOver { throw .failed("killed") }
    if chance.happens(.appLock) { throw .busy }
  }

  private func writing<Result>(_ body: () throws(EdgeStoreError) -> Result) throws(EdgeStoreError) -> Result {
    if chance.happens(.edgeDiskFull) { throw .failed("database or disk is full") }
    if chance.happens(.edgeCrashBeforeCommit) {
      life.end()
      throw .failed("killed")
    }
    let result = try body()
    if chance.happens(.edgeCrashAfterCommit) {
      life.end()
      throw .failed("killed")
    }
    return result
  }
}

final class FaultyCloudStore: CloudStore {
  private let store: any CloudStore
  private let chance: Chance
  private let life: Life
  private let mistake: Mistake?
  private let didCommit: () -> Void

  init(_ store: any CloudStore, chance: Chance, life: Life, mistake: Mistake?, didCommit: @escaping () -> Void) {
    self.store = store
    self.chance = chance
    self.life = life
    self.mistake = mistake
    self.didCommit = didCommit
  }

  func note(_ name: String) throws -> String? {
    if life.isOver { throw Killed() }
    return try store.note(name)
  }

  func setNote(_ name: String, _ value: String?) throws {
    if life.isOver { throw Killed() }
    try store.setNote(name, value)
  }

  func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result {
    if life.isOver { throw Killed() }
    var result: Result?
    var covered: [MachineID: (Epoch, [StreamName: IntervalSet])] = [:]
    do {
      result = try store.transaction { transaction in
        result = try body(transaction)
        if chance.happens(.cloudDiskFull) {
          if mistake == .confirmBeforeCommit {
            for (machine, epoch) in try transaction.machines() {
              covered[machine] = (epoch, try transaction.receivedStreams(machine: machine, epoch: epoch))
            }
          }
          throw EdgeStoreError.failed("database or disk is full")
        }
        if chance.happens(.consumerCrashBeforeCommit) {
          life.end()
          throw Killed()
        }
        return result!
      }
    } catch {
      guard mistake == .confirmBeforeCommit, !life.isOver, let result else { throw error }
      try store.transaction { transaction in
        for (machine, (epoch, streams)) in covered {
          for (stream, received) in streams {
            try transaction.setReceived(received, machine: machine, epoch: epoch, stream: stream)
          }
        }
      }
      didCommit()
      return result
    }
    didCommit()
    if chance.happens(.consumerCrashAfterCommit) {
      life.end()
      throw Killed()
    }
    return result!
  }
}
