// The seam through which the replica is compared with its sources, beside the consumer and on a connection of its own. DroverSQLite
// and DroverPostgreSQL implement it.

/// One row of a sink table as a comparison sees it.
package struct ReplicaRow: Equatable, Sendable {
  /// The digest of the source's columns.
  package var digest: UInt64
  /// The epoch's number and the version that the row came with; whatever is applied changes them.
  package var epoch: Int64
  package var version: Int64
  /// It is complete, so nothing changes it any more.
  package var isFinal: Bool
  /// The digests of row and lines apart; nil where no lines travel with it.
  package var unit: UnitDigest?

  package init(digest: UInt64, epoch: Int64, version: Int64, isFinal: Bool = false, unit: UnitDigest? = nil) {
    self.isFinal = isFinal
    self.unit = unit
    self.digest = digest
    self.epoch = epoch
    self.version = version
  }
}

/// A machine's stream that has a table on both sides.
package struct ReplicatedStream: Equatable, Sendable {
  package var machine: MachineID
  package var stream: StreamName
  /// The one that the machine described last.
  package var schema: StreamSchema
  /// Whether the machine is connected, as far as the store has heard.
  package var isOnline: Bool

  package init(machine: MachineID, stream: StreamName, schema: StreamSchema, isOnline: Bool) {
    self.machine = machine
    self.stream = stream
    self.schema = schema
    self.isOnline = isOnline
  }

  package var origin: MachineStream { MachineStream(machine: machine, stream: stream) }

  /// Whose rows of the sink table the machine's are compared with.
  package var owner: MachineID { schema.flow.reach == .all ? .all : machine }
}

/// A stream whose description in the store cannot be read, because a part of it was changed or deleted. The machine has to describe it again.
package struct UnreadableStream: Equatable, Sendable {
  package var origin: MachineStream
  /// Whether the machine is connected, as far as the store has heard.
  package var isOnline: Bool

  package init(_ origin: MachineStream, isOnline: Bool) {
    self.origin = origin
    self.isOnline = isOnline
  }

  /// Why it is not compared, and what to do.
  package var reason: String {
    "a person or program has changed or deleted what the store keeps of this table's columns (drover_schema_column, drover_schema_line); the machine describes its table again when it is asked, which `drover check` does while the machine is online, and when its agent is restarted"
  }
}

/// What a comparison says about deleted notes on sink tables.
package enum SinkNote {
  private static let remedy = "a running consumer makes it again within ten seconds, so compare again then"

  package static func tableIsGone(_ table: StreamName) -> String {
    "a person or program has deleted the note of the sink table \(table) (drover_sink); \(remedy)"
  }

  package static func columnsAreGone(_ columns: [String], _ table: StreamName) -> String {
    "the sink table \(table) has lost \(columns.joined(separator: ", ")), or the note of it was deleted (drover_sink_column); \(remedy)"
  }
}

/// Of a row that differs and whose stream goes down: on which side the newer edit is.
package enum NewerEdit: String, Equatable, Sendable {
  /// At the edge. It waits to be confirmed.
  case edge
  /// In the cloud. It is on its way down.
  case cloud
  case both
  /// The row changed while it was looked at.
  case changing
  /// Nothing of it is on its way: drift.
  case neither

  package init(isWaiting: Bool, isUnderway: Bool) {
    self =
      switch (isWaiting, isUnderway) {
      case (true, false): .edge
      case (false, true): .cloud
      case (true, true): .both
      case (false, false): .changing
      }
  }

  package var text: String {
    switch self {
    case .edge: "edited at the edge, and waits to go up"
    case .cloud: "edited in the cloud, and on its way down"
    case .both: "edited on both sides, and on its way in both directions"
    case .changing: "changed while it was looked at"
    case .neither: "differs with nothing on its way"
    }
  }
}

package struct DifferingRow: Equatable, Sendable {
  package var id: String
  package var newer: NewerEdit

  package init(id: String, newer: NewerEdit) {
    self.id = id
    self.newer = newer
  }
}

/// What a check found; also the last result that `drover status` shows.
package struct DriftFinding: Equatable, Sendable {
  package var rowsAtEdge = 0
  package var rowsInCloud = 0
  /// Rows that the cloud lacks, has too many, or has with other values.
  package var missing = 0
  package var extra = 0
  package var different = 0
  /// Rows that changed while they were looked at: no drift.
  package var inFlight = 0
  /// Of the rows that differ: those that are equal now because they were sent again, and of the stray lines those that are gone.
  package var repaired = 0
  /// Facts with other values in the cloud: they are never overwritten.
  package var conflicts = 0
  /// Of the rows with other values: those that are complete in the cloud, which no event changes.
  package var frozen = 0
  /// Lines in the cloud whose header is not there.
  package var strayLines = 0
  /// Facts and complete rows that the machine has deleted and the cloud keeps: no drift.
  package var kept = 0
  /// Why rows still differ after a repair, as far as that is known.
  package var obstacles: [String] = []
  /// Of a stream that goes down: the first rows that differ, those on their way too.
  package private(set) var rows: [DifferingRow] = []
  /// How many there are.
  package private(set) var differingRows = 0

  /// Rows that are named one by one.
  package static let mostRows = 1000

  package init() {}

  package mutating func name(_ row: DifferingRow) {
    differingRows += 1
    if rows.count < Self.mostRows { rows.append(row) }
  }

  /// How many rows still differ.
  package var drift: Int { missing + extra + different + conflicts + strayLines - repaired }

  /// What the figures come to, in words: nothing that they count is left out.
  package var verdict: String {
    var parts = [Self.summary(drift: drift, inFlight: inFlight)]
    if kept > 0 {
      parts.append("\(quantity(kept, "row")) that the machine has deleted \(kept == 1 ? "stays" : "stay") here")
    }
    return (parts + obstacles).joined(separator: "; ")
  }

  /// The figures that every report of a comparison shows. A row on its way is no difference, and it is not equal either.
  package static func summary(drift: Int, inFlight: Int) -> String {
    let differ = "\(drift) \(drift == 1 ? "differs" : "differ")"
    let onTheirWay = "\(inFlight) on \(inFlight == 1 ? "its" : "their") way"
    return switch (drift > 0, inFlight > 0) {
    case (true, true): "\(differ); \(onTheirWay)"
    case (true, false): differ
    case (false, true): "equal except for \(onTheirWay)"
    case (false, false): "equal"
    }
  }
}

package protocol Replica: AnyObject {
  /// Every stream that can be compared.
  func streams() throws -> [ReplicatedStream]
  /// Streams with a table that cannot be compared until their machines have described them again.
  func unreadable() throws -> [UnreadableStream]
  /// How many rows a machine's stream has.
  func count(_ stream: ReplicatedStream) throws -> Int
  /// Shows every row of a machine's stream, as of one moment.
  /// - Parameter see: the key's values, and the digest of the row.
  func survey(_ stream: ReplicatedStream, _ see: ([Value], UInt64) throws -> Void) throws
  /// The rows with these keys, in their order; nil where there is none.
  func rows(_ stream: ReplicatedStream, keys: [[Value]]) throws -> [ReplicaRow?]
  /// How many of the machine's rows have which value in a column.
  /// - Parameter column: its position in the stream's schema.
  func tally(_ stream: ReplicatedStream, column: Int) throws -> Tally
  /// What the machine has received of the rows that go down.
  func received(_ stream: ReplicatedStream) throws -> IntervalSet
  /// How many of the rows that go down have their number among `received` and not among `before`.
  func rowsDown(_ stream: ReplicatedStream, in received: IntervalSet, since before: IntervalSet) throws -> Int
  /// How many lines of the stream's headers are there without their header, which no comparison of headers sees.
  func strayLines(_ stream: ReplicatedStream) throws -> Int
  /// Removes them.
  func removeStrayLines(_ stream: ReplicatedStream) throws
  /// For each of these rows, whether an edit of the cloud is on its way to the machine: the consumer has not read it yet, or the machine has not confirmed it.
  func underway(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws -> [Bool]
  /// Of a stream that only goes down: sends these rows to its machines again, and a row that is gone as a delete.
  func sendDown(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws
  /// Takes the versions of rows that differ back to none, and forgets their tombstones, so that whatever the machine sends next counts: a person may have
  /// written a version that no event will reach.
  func takeBackVersions(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws
  /// What other programs have added to the stream's tables that may change or refuse what is written: triggers, rules, policies.
  func additions(to stream: ReplicatedStream) throws -> [String]
  /// Why the stream's tables cannot be written as they are; nil where nothing is known against it. A comparison shows no difference then.
  func fault(of stream: ReplicatedStream) throws -> String?
  /// Streams in which the machine's capture had a gap that no comparison has closed yet: rows that are gone there may be here still. The one that
  /// was tried longest ago comes first.
  func gaps() throws -> [(stream: ReplicatedStream, gap: String)]
  /// Notes that a comparison was tried for a gap.
  /// - Parameter isClosed: it found everything there is to find, and had it sent again.
  func note(gap: String, isClosed: Bool, of stream: ReplicatedStream) throws
  /// Keeps the result for `drover status`.
  /// - Parameter failure: why the check could not be made or finished.
  func note(_ finding: DriftFinding, failure: String?, of stream: MachineStream) throws
}
