// The seam to the edge's database: the outbox, the tables it speaks of, and the bookkeeping. DroverSQLite implements it.
// All calls come from one thread and return within a short time: a lock that is held by the app is an error to try again.

/// A stream as the edge's database knows it.
package struct EdgeStream: Equatable, Sendable {
  /// Its number in the outbox; never used again for another stream.
  package var number: Int
  /// What the configuration says of it.
  package var declaration: StreamDeclaration
  /// The table's columns; nil without a table, or while the table is not there.
  package var schema: StreamSchema?

  package init(number: Int, _ declaration: StreamDeclaration, schema: StreamSchema? = nil) {
    self.number = number
    self.declaration = declaration
    self.schema = schema
  }

  package var name: StreamName { declaration.name }
  package var kind: Kind { declaration.kind }
  package var table: String? { declaration.table }
  /// Some of the table's rows do not travel.
  package var isFiltered: Bool { declaration.selection.filter != nil }
}

/// One entry of the outbox with what its row holds now.
package struct OutboxEntry: Equatable, Sendable {
  package var seq: Int64
  package var stream: Int
  package var version: Int64
  /// The key's values, in the key's order; for a stream without a table one text, the local ID.
  package var key: Values
  /// `.none` when the row is gone, or does not travel: a delete.
  package var content: Content
  /// For each of the schema's tables of lines its rows, read with the row; empty without such tables, and for a delete.
  package var lines: [[[Value]]]
  /// Of a two-way stream: what the row had seen.
  package var ancestry: Ancestry?
  /// Of a row that goes down: the machine's newest own edit that the cloud had seen.
  package var edge: DownEvent.Mark?

  package init(
    seq: Int64, stream: Int, version: Int64, key: Values, content: Content, lines: [[[Value]]] = [],
    ancestry: Ancestry? = nil, edge: DownEvent.Mark? = nil
  ) {
    self.ancestry = ancestry
    self.edge = edge
    self.lines = lines
    self.seq = seq
    self.stream = stream
    self.version = version
    self.key = key
    self.content = content
  }
}

/// What was found out about this machine's wall clock.
package enum ClockNews: Equatable, Sendable {
  /// The machine's clock less the cloud's, in microseconds.
  case measured(ahead: Int64)
  /// It was set, by so many microseconds, since the last look.
  case stepped(by: Int64)
}

/// What one read transaction found.
package struct OutboxRead: Equatable, Sendable {
  package var entries: [OutboxEntry]
  /// Everything of the request up to here was looked at.
  package var scannedThrough: Int64
  /// The highest sequence number given so far.
  package var lastSeq: Int64

  package init(entries: [OutboxEntry], scannedThrough: Int64, lastSeq: Int64) {
    self.entries = entries
    self.scannedThrough = scannedThrough
    self.lastSeq = lastSeq
  }
}

/// What a row is at this moment.
package struct RowState: Equatable, Sendable {
  /// The digest of its values; nil when there is no such row.
  package var digest: UInt64?
  /// The outbox holds an event of it that is not confirmed.
  package var isWaiting: Bool
  /// The digests of row and lines apart; nil where no lines travel with it, or they are too many to be sent.
  package var unit: UnitDigest?

  package init(digest: UInt64?, isWaiting: Bool, unit: UnitDigest? = nil) {
    self.unit = unit
    self.digest = digest
    self.isWaiting = isWaiting
  }
}

/// An event that the broker will never take.
package struct UnsendableEvent: Equatable, Sendable {
  package var stream: Int
  package var seq: Int64
  package var reason: DeadLetterReason
  package var detail: String
  /// The size of the frame that held it alone.
  package var bytes: Int

  package init(stream: Int, seq: Int64, reason: DeadLetterReason, detail: String, bytes: Int) {
    self.stream = stream
    self.seq = seq
    self.reason = reason
    self.detail = detail
    self.bytes = bytes
  }
}

package enum EdgeStoreError: Error, CustomStringConvertible, Sendable {
  /// The app holds the lock: try again soon.
  case busy
  /// The tables are not what they were when the streams were last looked at: call `refresh`.
  case schemaChanged
  /// The database is not the one that was used before: it was restored, or another file has its name. Nothing was read or written; call
  /// `startEpoch`, which attaches what is there now. The text completes "because …".
  case otherDatabase(String)
  /// The edge's dead letters are at their bound, and the event stays in the outbox; the text says what to do.
  case noSpace(String)
  /// The file is damaged. Nothing may be written to it any more; the text says what was found and what to do.
  case damaged(String)
  /// Anything else; the text names operation, subject, cause and what to do.
  case failed(String)

  package var description: String {
    switch self {
    case .busy:
      "the database is locked by another program: end its open transaction, or that program, and try again"
    case .schemaChanged: "the database's schema has changed"
    case .otherDatabase(let text): text
    case .noSpace(let text): text
    case .damaged(let text): text
    case .failed(let text): text
    }
  }
}

/// All that the agent asks of the database, by role.
package typealias EdgeStore = CapturedStreams & EdgeEpochs & Outbox & Backfill & ComparedRows & EdgeHealth
  & DownTables & EdgeWorklists

/// The streams, and the tables that they are captured from.
package protocol CapturedStreams: AnyObject {
  var streams: [EdgeStream] { get }
  /// Streams of which changes may have been missed, with a name for the last time: their rows have entered the outbox once more since, and rows
  /// that are gone are found by a comparison. A stream is among them for good.
  var gaps: [StreamName: String] { get }
  /// Streams that wait while the others go on, in the order of `streams`: their tables are not there, not as configured, or cannot be read. Of such
  /// a stream nothing is to be sent. `refresh` finds that a table is as configured again.
  var waits: [StreamWait] { get }
  /// Looks at the tables anew, puts the triggers in order; true when a stream's schema is another one now.
  func refresh() throws(EdgeStoreError) -> Bool
  /// Whether another connection has committed since the last call. Throws `schemaChanged` if the tables are no longer as `refresh` found them.
  func hasChanged() throws(EdgeStoreError) -> Bool
}

/// The incarnation of the outbox, and the runs of the agent in it.
package protocol EdgeEpochs: AnyObject {
  var epoch: Epoch { get }
  /// The agent's runs in this epoch, the present one the newest, each with the highest sequence number that it read in order to publish it.
  var runs: Runs { get }
  /// Begins a new epoch: the outbox went back, or the cloud has lost what it had confirmed. Everything is unconfirmed again. Where another
  /// file has the database's name, that one is opened and attached; while there is none, or it is not ready yet, this throws `failed`.
  /// - Parameter reason: for the operator; completes "because …".
  func startEpoch(because reason: String) throws(EdgeStoreError)
}

/// The events that are on their way.
package protocol Outbox: AnyObject {
  /// Reads entries and their rows in one read transaction; stops early after about `maximumBytes` of values. What it returns survives a
  /// power loss, and `runs` has reached it.
  func read(_ request: ReadRequest, maximumBytes: Int) throws(EdgeStoreError) -> OutboxRead
  /// Per stream what of this epoch is confirmed, also beyond a gap.
  func confirmed() throws(EdgeStoreError) -> [Int: IntervalSet]
  /// Per stream what is `synced` and not confirmed.
  func acknowledged() throws(EdgeStoreError) -> [Int: IntervalSet]
  /// Marks and forgets in one transaction, and sets the app's own `synced` columns.
  func settle(_ settlement: Settlement) throws(EdgeStoreError)
  /// Moves an entry from the outbox to the edge's dead letters, in one transaction. False when it is no longer there: a newer entry of
  /// its key has taken its place. Throws `noSpace` at the operator's bound for dead letters.
  func moveToDeadLetters(_ event: UnsendableEvent) throws(EdgeStoreError) -> Bool
}

/// Rows that were there before Drover, or that are brought once more.
package protocol Backfill: AnyObject {
  /// Rows that were there before Drover still wait to enter the outbox.
  var hasBackfill: Bool { get }
  /// How many of the rows that wait may be looked at in a second; nil: as many as the window allows.
  var backfillRate: Int? { get }
  /// Looks at up to `limit` rows that are to be brought, and puts them into the outbox; true when more are left.
  func backfill(limit: Int) throws(EdgeStoreError) -> Bool
  /// Sends a table's rows again. The same request continues where it is; another one while rows are being sent sends all.
  func resync(_ order: ResyncOrder, stream: Int) throws(EdgeStoreError) -> ResyncProgress
  /// How far the last order of a stream has come; nil when there was none.
  func resyncProgress(stream: Int) throws(EdgeStoreError) -> ResyncProgress?
}

/// The rows of captured tables, as a comparison with the cloud sees them.
package protocol ComparedRows: AnyObject {
  /// Shows up to `limit` rows of a captured table, in an order of the store's own.
  /// - Parameters:
  ///   - cursor: what the call before returned; empty at the beginning.
  ///   - see: a row's key, and the digest of the values that would be sent.
  /// - Returns: where to go on, or nil at the end.
  func survey(stream: Int, after cursor: [Value], limit: Int, _ see: ([Value], UInt64) -> Void)
    throws(EdgeStoreError) -> [Value]?
  /// Shows one column's values of up to `limit` rows of a captured table, as they would be sent.
  /// - Parameters:
  ///   - column: its position in the stream's schema.
  ///   - cursor: what the call before returned; empty at the beginning.
  /// - Returns: where to go on, or nil at the end.
  func values(of column: Int, stream: Int, after cursor: [Value], limit: Int, _ see: (Value) -> Void)
    throws(EdgeStoreError) -> [Value]?
  /// What rows of a captured table are, all at one moment.
  func states(of keys: [[Value]], stream: Int) throws(EdgeStoreError) -> [RowState]
  /// Puts rows into the outbox as if they had changed; one that is gone goes as a delete, but for a fact, which is left out.
  func enter(_ keys: [[Value]], stream: Int) throws(EdgeStoreError)
}

/// What the agent knows of the database's surroundings, and keeps for those who look.
package protocol EdgeHealth: AnyObject {
  /// Holds what the outbox takes, and what its disk has left, against the operator's limits; says what is reached, and closes and opens
  /// the intake. What it costs does not grow with the outbox.
  func watchSpace() throws(EdgeStoreError)
  /// What waits, and what room there is. What it costs grows with what waits.
  func outboxFigures() throws(EdgeStoreError) -> OutboxFigures
  /// The programs that hold a lock on the database now, for a sentence; nil where that is not known.
  func lockHolders() -> String?
  /// Takes note of the clock, so that versions can be compared with others'; says when they are beyond `HybridClock.tolerance`.
  func note(_ clock: ClockNews) throws(EdgeStoreError)
  /// Keeps what is wrong with who is connected under the machine's name, for those who look; nil when it is over.
  func note(_ trouble: Trouble?, _ kind: Trouble.Kind) throws(EdgeStoreError)
}
