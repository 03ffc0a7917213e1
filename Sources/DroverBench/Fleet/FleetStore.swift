// A machine's outbox in memory, for fleets: what EdgeDatabase is to a file. Its rows come of the rule of FleetTable, so what it keeps of an
// event is when it was made. A process that simulates a fleet does not die in the middle, so nothing is written down.

import DroverCore
import DroverSQLite

final class FleetStore: EdgeStore {
  private struct Made {
    var version: Int64
    var at: ContinuousClock.Instant
  }

  let epoch: Epoch
  private(set) var runs: Runs
  let streams = [
    EdgeStream(
      number: 1, StreamDeclaration(name: try! StreamName(FleetTable.name), kind: .snapshot, table: FleetTable.name),
      schema: FleetTable.schema)
  ]
  let hasBackfill = false
  let gaps: [StreamName: String] = [:]
  let waits: [StreamWait] = []
  let backfillRate: Int? = nil

  /// The machine's place in the fleet.
  private let number: Int
  /// The events that are not confirmed yet, the numbers behind `front`.
  private var waiting: ArraySlice<Made> = []
  private var front: Int64 = 0
  private var synced = IntervalSet()
  private var hasNews = false

  /// How many events it has made; their numbers and IDs begin with 1.
  var made: Int64 { front + Int64(waiting.count) }

  init(number: Int, now: Int64) {
    self.number = number
    epoch = Epoch(random: .random(in: .min ... .max))
    runs = .beginning
    runs.raise(now, to: 0)
  }

  /// What an app's commit is to a database.
  /// - Parameter version: wall clock, microseconds since 1970.
  func commit(_ count: Int, version: Int64, at now: ContinuousClock.Instant) {
    let first = max(version, (waiting.last?.version ?? 0) + 1)
    for index in 0..<count { waiting.append(Made(version: first + Int64(index), at: now)) }
    hasNews = true
  }

  /// Everything up to a number is confirmed.
  /// - Parameter see: told of each event that was not before, when it was made.
  func confirm(through seq: Int64, _ see: (ContinuousClock.Instant) -> Void) {
    let count = Int(min(seq, made) - front)
    guard count > 0 else { return }
    for event in waiting.prefix(count) { see(event.at) }
    waiting = waiting.dropFirst(count)
    front += Int64(count)
  }

  // MARK: The outbox

  func hasChanged() -> Bool {
    defer { hasNews = false }
    return hasNews
  }

  func read(_ request: ReadRequest, maximumBytes: Int) -> OutboxRead {
    runs.raise(runs.newest!.number, to: made)
    let (after, through, limit, isAgain) =
      switch request {
      case .fresh(let after, let through, let limit): (after, through, limit, false)
      case .again(_, let interval, let limit): (interval.after, interval.through, limit, true)
      }
    let end = min(through, made)
    var read = OutboxRead(entries: [], scannedThrough: max(after, end), lastSeq: made)
    guard max(after, front) < end else { return read }
    for seq in (max(after, front) + 1)...end where isAgain || !synced.contains(seq) {
      guard read.entries.count < limit else {
        read.scannedThrough = seq - 1
        break
      }
      read.entries.append(entry(seq))
    }
    return read
  }

  private func entry(_ seq: Int64) -> OutboxEntry {
    OutboxEntry(
      seq: seq, stream: 1, version: waiting[waiting.startIndex + Int(seq - front - 1)].version, key: [.integer(seq)],
      content: .row(Values(FleetTable.values(of: seq, machine: number))))
  }

  func settle(_ settlement: Settlement) {
    synced.formUnion(settlement.synced[1] ?? IntervalSet())
    synced.subtract(settlement.confirmed[1] ?? IntervalSet())
  }

  // MARK: What a file has and memory has not

  func confirmed() -> [Int: IntervalSet] {
    front > 0 ? [1: IntervalSet(CollectionOfOne(Interval(after: 0, through: front)))] : [:]
  }

  func acknowledged() -> [Int: IntervalSet] { [1: synced] }
  func refresh() -> Bool { false }
  func backfill(limit: Int) -> Bool { false }
  func watchSpace() {}
  func outboxFigures() -> OutboxFigures {
    OutboxFigures(waiting: waiting.count, oldest: waiting.first?.version, deadLetters: 0, freeBytes: nil)
  }
  func note(_ clock: ClockNews) {}
  func note(_ trouble: Trouble?, _ kind: Trouble.Kind) {}
  func lockHolders() -> String? { nil }
  func resyncProgress(stream: Int) -> ResyncProgress? { nil }

  func startEpoch(because reason: String) throws(EdgeStoreError) { throw unable("begin an epoch because \(reason)") }
  func resync(_ order: ResyncOrder, stream: Int) throws(EdgeStoreError) -> ResyncProgress { throw unable("resync") }
  func moveToDeadLetters(_ event: UnsendableEvent) throws(EdgeStoreError) -> Bool {
    throw unable("make a dead letter of \(event.detail)")
  }
  func survey(
    stream: Int, after cursor: [Value], limit: Int, _ see: ([Value], UInt64) -> Void
  ) throws(EdgeStoreError) -> [Value]? { throw unable("survey") }
  func values(
    of column: Int, stream: Int, after cursor: [Value], limit: Int, _ see: (Value) -> Void
  ) throws(EdgeStoreError) -> [Value]? { throw unable("count values") }
  func states(of keys: [[Value]], stream: Int) throws(EdgeStoreError) -> [RowState] { throw unable("compare rows") }
  func enter(_ keys: [[Value]], stream: Int) throws(EdgeStoreError) { throw unable("enter rows") }

  func lineage(stream: Int) -> Lineage? { nil }
  func downReceived() -> DownConfirmation? { nil }
  func apply(_ frame: DownFrame) throws(EdgeStoreError) -> DownOutcome? { throw unable("apply rows") }
  func note(numbering: Epoch) {}
  func retryRefused() throws(EdgeStoreError) -> DownOutcome { throw unable("apply rows") }
  func refusedRows() -> RefusedRows { RefusedRows() }
  func retry(_ order: RetryOrder) throws(EdgeStoreError) { throw unable("apply rows") }

  func standing(worklist stream: Int) throws(EdgeStoreError) -> WorklistStanding { throw unable("refill a worklist") }
  func openRequest(worklist stream: Int, new: RefillID, now: Int64) throws(EdgeStoreError) -> RefillID? {
    throw unable("refill a worklist")
  }
  func refill(
    worklist stream: Int, request: RefillID, orders: [ReadOrder], left: Int, now: Int64
  ) throws(EdgeStoreError) -> RefillOutcome? { throw unable("refill a worklist") }
  func close(worklist stream: Int, request: RefillID, why: String, now: Int64) {}
  func noted(worklist stream: Int, _ outcome: RefillOutcome) {}
  func note(worklist stream: Int, waits why: String?) {}
  func clear(worklist stream: Int) throws(EdgeStoreError) -> (removed: Int, unfinished: [String]) {
    throw unable("clear a worklist")
  }

  private func unable(_ what: String) -> EdgeStoreError {
    .failed("\(what): a simulated machine cannot; the fleet's broker and consumer are its own, so none should ask")
  }
}
