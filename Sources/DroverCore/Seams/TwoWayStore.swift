// The seams of the way down: what the cloud's store keeps of rows that both sides edit, and what the edge's database does with a row that comes down.

/// A stream of a machine that goes down.
package struct DownStream: Equatable, Sendable {
  package var machine: MachineID
  package var stream: StreamName
  package var schema: StreamSchema
  /// The highest number that was given.
  package var last: Int64
  /// What the machine has confirmed.
  package var received: IntervalSet

  package init(machine: MachineID, stream: StreamName, schema: StreamSchema, last: Int64, received: IntervalSet) {
    self.machine = machine
    self.stream = stream
    self.schema = schema
    self.last = last
    self.received = received
  }
}

extension DownStream {
  /// Whose rows go down in it: the machine's own, or those of all machines.
  package var owner: MachineID { schema.flow.reach == .all ? .all : machine }
}

/// Rows that go down, in the order of their numbers.
package struct DownRead: Equatable, Sendable {
  package var entries: [OutboxEntry]
  /// Everything up to here was looked at.
  package var scannedThrough: Int64
  /// The highest number that was given.
  package var last: Int64
  /// The newest run of the numbers; nil for numbers from before there were runs.
  package var run: StoreRun?

  package init(entries: [OutboxEntry], scannedThrough: Int64, last: Int64, run: StoreRun? = nil) {
    self.entries = entries
    self.scannedThrough = scannedThrough
    self.last = last
    self.run = run
  }
}

/// Of the cloud's store, within a transaction: rows that both sides edit. `RowStore.merge` merges the events of their streams by `TwoWayMerge`.
package protocol TwoWayStore {
  /// Notes from which history an epoch of a machine continues, and when the bookkeeping of a stream began.
  func note(_ lineage: Lineage, epoch: Epoch, machine: MachineID, stream: StreamName) throws
  /// Takes up to `limit` rows that were edited in the cloud: each gets its cloud version and its number. What others have not committed is not seen, and
  /// found by a later call.
  /// - Returns: the streams with edits, and whether more are left.
  func takeEdits(limit: Int) throws -> (streams: Set<StreamName>, hasMore: Bool)
  /// The highest numbers that this transaction has given until now, by owner (`MachineID.all` for rows of all machines) and stream.
  var raised: [MachineStream: Int64] { get }
  /// Names the numbering. Another one begins where the store has gone back.
  func downEpoch() throws -> Epoch
  /// The machine's streams that go down; of all machines, without one.
  func downStreams(of machine: MachineID?) throws -> [DownStream]
  /// Reads rows of a stream with a number above `after`, with their content as it is now. Stops early after about `maximumBytes` of values.
  func readDown(_ stream: DownStream, after: Int64, limit: Int, maximumBytes: Int) throws -> DownRead
  /// How many conflicts of a machine's rows wait for a person.
  func conflictCount(of machine: MachineID) throws -> Int
  /// How many conflicts wait, by machine; none of a machine without any.
  func conflictCounts() throws -> [MachineID: Int]
  /// Makes triggers again that are missing on tables from which rows go down.
  /// - Returns: what was wrong since the last call, and what still is.
  func mendCapture() throws -> [CaptureFault]
  /// Keeps what a machine has received, and which rows it refuses. Sees to it that there is something to send of reference data to a machine that has
  /// received nothing in this numbering: it has to hear which of its rows the store does not have.
  /// - Returns: whether it belongs to the store's numbering. If a machine has received what the store has not given, or not in that run, the store went back,
  ///   and another numbering begins.
  func note(_ confirmation: DownConfirmation, machine: MachineID) throws -> Bool
}

/// A conflict as people see it.
package struct Conflict: Equatable, Sendable {
  package var id: Int64
  package var machine: MachineID
  package var stream: StreamName
  package var localID: String
  /// Microseconds since 1970.
  package var at: Int64
  package var lost: LostEdit
  /// The names of the columns of the value that lost.
  package var columns: [String]
  /// How the row is now; nil where it is gone.
  package var present: [Value]?
  /// The row has changed since the conflict was decided.
  package var hasChangedSince: Bool
  /// Why the row cannot be compared: the table is not as it was. Only keeping is possible then.
  package var problem: String?

  package init(
    id: Int64, machine: MachineID, stream: StreamName, localID: String, at: Int64, lost: LostEdit, columns: [String],
    present: [Value]?, hasChangedSince: Bool, problem: String? = nil
  ) {
    self.problem = problem
    self.id = id
    self.machine = machine
    self.stream = stream
    self.localID = localID
    self.at = at
    self.lost = lost
    self.columns = columns
    self.present = present
    self.hasChangedSince = hasChangedSince
  }
}

/// How a person resolves a conflict.
package enum ConflictChoice: Equatable, Sendable {
  /// Keep the row as it is.
  case keep
  /// Write the value that lost into the row, or delete the row if a delete lost.
  case takeLost
  /// Insert the value that lost under another key, beside the row. Of a conflict about a key alone.
  case both
}

package enum ResolveOutcome: Equatable, Sendable {
  case resolved
  case unknown
  /// The row has changed since the person looked: nothing was done.
  case changed
  /// The database refuses it; nothing was done.
  case refused(String)
}

/// Conflicts, for those who look into them and resolve them.
package protocol ConflictStore {
  /// In the order in which they were decided.
  func conflicts(machine: MachineID?, stream: StreamName?, after id: Int64, limit: Int) throws -> [Conflict]
  func conflict(_ id: Int64) throws -> Conflict?
  /// - Parameter since: only those that were decided then or later, microseconds since 1970.
  func conflictCount(machine: MachineID?, stream: StreamName?, since: Int64) throws -> Int
  /// The highest number of a conflict that waits, 0 without any.
  func newestConflict() throws -> Int64
  /// - Parameter seen: the row as the person saw it; nil for a row that was gone.
  func resolve(_ id: Int64, _ choice: ConflictChoice, seen: [Value]?) throws -> ResolveOutcome
}

/// A frame of rows that came down.
package struct DownFrame: Equatable, Sendable {
  package var stream: Int
  /// The cloud's numbering.
  package var epoch: Epoch
  package var interval: Interval
  /// The highest number that the cloud had given when it read the rows.
  package var last: Int64
  /// The newest run of the cloud's store then; nil from a consumer that names none.
  package var run: StoreRun?
  package var events: [DownEvent]

  package init(
    stream: Int, epoch: Epoch, interval: Interval, last: Int64? = nil, run: StoreRun? = nil, events: [DownEvent]
  ) {
    self.stream = stream
    self.epoch = epoch
    self.interval = interval
    self.last = last ?? interval.through
    self.run = run
    self.events = events
  }
}

/// What became of the rows of a frame.
package struct DownOutcome: Equatable, Sendable {
  package var applied = 0
  /// The row was this new already.
  package var old = 0
  /// An own edit is on its way that the cloud answers.
  package var edited = 0
  /// Became dead letters at the edge.
  package var refused = 0
  /// Wait for a row that a foreign key names.
  package var waiting = 0
  /// More rows are to be tried again at once than one transaction has tried.
  package var hasMore = false
  /// The frame gives numbers again that were received from another run: nothing of it was applied or noted.
  package var repeatsNumbers = false

  package init() {}
}

/// Of the edge's database: rows that come down.
package protocol DownTables: AnyObject {
  /// What the frames of a two-way stream say of the epoch's history; nil for a stream that only goes up.
  func lineage(stream: Int) -> Lineage?
  /// What was received of what goes down, and what of it is refused; nil before the first frame.
  func downReceived() throws(EdgeStoreError) -> DownConfirmation?
  /// The cloud numbers what goes down in this numbering. If it is another one than that of the rows that were received, the cloud's store went back to an
  /// earlier state: rows that both sides edit are sent again, and of reference data everything that comes down counts.
  func note(numbering: Epoch) throws(EdgeStoreError)
  /// Applies the rows of a frame by `ApplyRule`, and notes its interval as received, in one transaction. Another epoch than the one known begins with
  /// nothing received. A frame whose run repeats numbers (`StoreRun`) is dropped.
  /// - Returns: nil while rows of the stream are sent again: nothing was applied or noted, and the frame is to be applied later.
  func apply(_ frame: DownFrame) throws(EdgeStoreError) -> DownOutcome?
  /// Tries again some of the rows that wait for others, or that a person wants to be tried again. Cheap where there are none; to be called now and then.
  func retryRefused() throws(EdgeStoreError) -> DownOutcome
  /// The rows that came down and that the app's tables refuse now.
  func refusedRows() throws(EdgeStoreError) -> RefusedRows
  /// Has rows that are refused tried again, by the next `retryRefused`.
  func retry(_ order: RetryOrder) throws(EdgeStoreError)
}
