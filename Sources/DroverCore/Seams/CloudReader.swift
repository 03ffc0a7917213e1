// The seam through which people look into a cloud store: `drover status`, `drover doctor` and the HTTP server. Beside the consumer, on a
// connection of its own that can only read. DroverSQLite and DroverPostgreSQL implement it.

package protocol CloudReader: Sendable {
  /// What is read, as a person knows it: a path, or a server and its database.
  var name: String { get }
  /// The consumers that use the store.
  func workers() throws -> [Worker]
  /// nil when there is no store yet.
  func report(_ scope: ReportScope) throws -> CloudReport?
  /// The schemas that wait for a person; none where there is no store yet.
  func waitingSchemas() throws -> [WaitingSchema]
  /// The streams that wait because their sink tables cannot be written; none where there is no store yet.
  func blockedSinks() throws -> [BlockedSink]
  /// Why edits of tables from which rows go down are not noticed; none where all are, and where there is no store yet.
  func captureFaults() throws -> [CaptureFault]
  /// Rows that machines refuse, in the order in which they were heard of; none where there is no store yet.
  func refusals(_ filter: RefusalFilter, after id: Int64, limit: Int) throws -> RefusalList
  /// The process that holds a lock on the whole store, as the running consumer found it; nil without a lock, or if the store has none.
  func storeLock() -> StoreLock?
  /// The tables that hold the replica, by name; none where there is no store yet.
  func sinks() throws -> [SinkDescription]
  /// For each machine's stream that has a table what it described last; none where there is no store yet.
  func latestSchemas() throws -> [ReplicatedStream]
  /// Reads the sink tables row by row, all as one moment had them.
  /// - Parameters:
  ///   - stream: only this one and the tables of its lines; nil: all of them.
  ///   - take: gets every row, on the caller's thread. What it throws ends the reading.
  func readRows(of stream: StreamName?, _ take: (SinkDescription, SinkRow) throws -> Void) throws
}

/// A table from which rows go down, and whose edits stay in the cloud because its triggers are not what they have to be.
package struct CaptureFault: Equatable, Sendable {
  package var table: String
  /// What is wrong with them.
  package var cause: String
  /// What to do.
  package var advice: String
  /// The consumer makes them again by itself.
  package var isMended: Bool

  package init(table: String, cause: String, advice: String, isMended: Bool) {
    self.table = table
    self.cause = cause
    self.advice = advice
    self.isMended = isMended
  }

  package var text: String { "edits of \(table) in SQL do not reach the machines: \(cause)" }

  /// What the consumer mends by itself when it looks at the table.
  package static let restart =
    "a running consumer makes the triggers again within seconds, and one that starts does so too; then `drover check` finds edits that were missed"
}

/// A table of the replica.
package struct SinkDescription: Equatable, Sendable {
  package var stream: StreamName
  package var kind: Kind
  /// The stream whose lines it holds; nil for a stream's own table.
  package var header: StreamName?
  /// The source's columns and its key; nil for events without a table: their local ID and body are kept.
  package var schema: StreamSchema?

  package init(stream: StreamName, kind: Kind, header: StreamName?, schema: StreamSchema?) {
    self.stream = stream
    self.kind = kind
    self.header = header
    self.schema = schema
  }
}

/// One row of a sink table.
package struct SinkRow: Sendable {
  package enum Content: Sendable {
    /// By the schema's columns.
    case values([Value])
    /// The body's JSON text, and when it happened where the sender said so.
    case body(localID: String, occurredAt: String?, text: [UInt8])
  }

  package var machine: String
  package var version: Int64
  package var content: Content

  package init(machine: String, version: Int64, content: Content) {
    self.machine = machine
    self.version = version
    self.content = content
  }
}
