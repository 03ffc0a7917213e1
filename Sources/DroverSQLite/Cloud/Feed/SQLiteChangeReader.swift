// The change feed of a store in SQLite, read beside the consumer. A session keeps its connection, so that it hears of commits for next to nothing
// (https://www.sqlite.org/pragma.html#pragma_data_version).

package import DroverCore
private import Foundation
import GRDB
import Synchronization

package struct SQLiteChangeReader: ChangeReader {
  package let path: String

  package init(path: String) { self.path = path }

  package func open() throws -> any ChangeSession { try SQLiteChangeSession(path: path) }
}

private final class SQLiteChangeSession: ChangeSession {
  /// A machine's changes are looked for among those of all machines: in so many numbers at a time.
  private static let window: Int64 = 1_000_000

  private let path: String
  private let queue: DatabaseQueue
  private let file: FileIdentity
  private let known = Mutex(Known())

  private struct Known {
    var dataVersion: Int64 = -1
    /// Of the tables as they were at this version of the schema.
    var schemaVersion: Int64 = -1
    var sinks: [SinkDescription] = []
  }

  init(path: String) throws {
    guard let file = FileIdentity(of: path) else {
      throw CloudStoreError(description: "open \(path): there is no store yet; `drover cloud` makes it when it starts")
    }
    self.path = path
    self.file = file
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(10)
    configuration.label = "drover changes"
    do {
      queue = try DatabaseQueue(path: path, configuration: configuration)
    } catch let error as DatabaseError {
      throw CloudStoreError(description: "open \(path): \(error.explanation)")
    }
  }

  func hasMoved() throws -> Bool {
    let version = try access { database in
      try Int64.fetchOne(database.cachedStatement(sql: "PRAGMA data_version"))!
    }
    return known.withLock { known in
      defer { known.dataVersion = version }
      return known.dataVersion != version
    }
  }

  func report() throws -> ChangeReport {
    try reading { database in
      let sinks = try sinks(database)
      let feed = try FeedState(database)
      return ChangeReport(
        newest: feed.newest,
        streams: sinks.map { sink in
          .init(stream: sink.stream, kind: sink.kind, header: sink.header, counts: feed.counts(of: sink.stream))
        })
    }
  }

  func read(_ question: ChangeQuestion, _ take: (Change) throws -> Bool) throws -> ChangePage {
    try reading { database in
      let sinks = try sinks(database).filter { question.stream == nil || $0.stream == question.stream }
      let feed = try FeedState(database)
      if let stream = question.stream, sinks.isEmpty { throw ChangesError.unknownStream(stream) }
      let after = question.after ?? ChangeCursor(era: feed.newest.era, number: 0, start: feed.newest.number)
      if let gap = after.gap(in: feed.newest, lost: feed.lost(question.stream)) { throw gap }
      var end = feed.newest.number
      if question.machine != nil { end = min(end, after.number + Self.window) }
      let changed = sinks.filter { feed.newest(of: $0.stream) > after.number }
      let stopped = try ChangeMerge(changed, after: after, through: end, question.machine, database).run(take)
      return ChangePage(
        next: after.moved(to: stopped ?? end), hasMore: stopped != nil || end < feed.newest.number,
        counts: sinks.reduce(into: ChangeCounts()) { $0 += feed.counts(of: $1.stream) })
    }
  }

  // MARK: Access

  /// One moment of the store.
  private func reading<Result>(_ body: (Database) throws -> Result) throws -> Result {
    try access { database in
      var result: Result?
      try database.inTransaction(.deferred) {
        result = try body(database)
        return .commit
      }
      return result!
    }
  }

  private func access<Result>(_ body: (Database) throws -> Result) throws -> Result {
    guard FileIdentity(of: path) == file else {
      throw ChangesError.gone("at \(path) there is another store now")
    }
    do {
      return try queue.inDatabase(body)
    } catch let error as DatabaseError {
      throw CloudStoreError(description: "read \(path): \(error.explanation)")
    }
  }

  private func sinks(_ database: Database) throws -> [SinkDescription] {
    let version = try Int64.fetchOne(database.cachedStatement(sql: "PRAGMA schema_version"))!
    if let sinks = known.withLock({ $0.schemaVersion == version ? $0.sinks : nil }) { return sinks }
    // GRDB remembers which tables there were.
    database.clearSchemaCache()
    let sinks = try SinkDescription.all(database)
    known.withLock { known in
      known.schemaVersion = version
      known.sinks = sinks
    }
    return sinks
  }
}

/// How far the feed and its streams are, in one moment.
private struct FeedState {
  private struct Stream {
    var counts: ChangeCounts
    var newest: Int64
    var lost: Int64
  }

  let newest: ChangeCursor
  private var streams: [SQLName: Stream] = [:]

  /// - Throws: `ChangesError.off`.
  init(_ database: Database) throws {
    // A store that no consumer of this version has opened yet has no such table.
    guard try database.tableExists("drover_feed"),
      let row = try Row.fetchOne(database.cachedStatement(sql: "SELECT era, newest FROM drover_feed"))
    else { throw ChangesError.off }
    newest = ChangeCursor(era: row["era"], number: row["newest"])
    for row in try Row.fetchAll(database.cachedStatement(sql: "SELECT * FROM drover_feed_stream")) {
      streams[SQLName(row["stream"])] = Stream(
        counts: ChangeCounts(puts: row["puts"], deletes: row["deletes"]), newest: row["newest"], lost: row["lost"])
    }
  }

  func counts(of stream: StreamName) -> ChangeCounts { streams[SQLName(stream.text)]?.counts ?? ChangeCounts() }
  func newest(of stream: StreamName) -> Int64 { streams[SQLName(stream.text)]?.newest ?? 0 }

  /// - Parameter stream: nil for all, those too whose tables are there no more.
  func lost(_ stream: StreamName?) -> Int64 {
    if let stream { return streams[SQLName(stream.text)]?.lost ?? 0 }
    return streams.values.map(\.lost).max() ?? 0
  }
}

/// The changes of several tables in the order of their numbers.
private final class ChangeMerge {
  /// A table's rows, or what was deleted of it, and the number at which it stands.
  private struct Source {
    let select: SinkSelect
    let statement: Statement
    let isGone: Bool
    var number: Int64

    func change(after cursor: ChangeCursor) -> Change? {
      let content: Change.Content?
      if isGone {
        let parts = select.sink.schema?.key.count ?? 1
        content = .delete(
          SinkKey(
            machine: statement.text(1), version: statement.integer(2),
            key: (0..<parts).map { statement.value(Int32($0 + 3)) }))
      } else {
        content = select.row(statement, from: 1).map { .put($0) }
      }
      return content.map { Change(cursor: cursor.moved(to: number), sink: select.sink, content: $0) }
    }
  }

  private let after: ChangeCursor
  private var sources: [Source] = []

  init(
    _ sinks: [SinkDescription], after: ChangeCursor, through end: Int64, _ machine: MachineID?, _ database: Database
  ) throws {
    self.after = after
    for select in sinks.map(SinkSelect.init) {
      let ofMachine = machine.map { " AND \(select.machine) = \(literal($0.text))" } ?? ""
      try add(
        select, from: after.number, isGone: false,
        Statement(
          database,
          """
          SELECT drover_change, \(select.columns)
            FROM \(quoted(select.sink.stream.text)) INDEXED BY \(FeedTable.index(select.sink.stream))
           WHERE drover_change > ?1 AND drover_change <= \(end)\(ofMachine) ORDER BY drover_change
          """))
      let keys = FeedTable.keyColumns((select.sink.schema?.key.count ?? 1) + 1)
      // A reader gets no delete for a row that it never had.
      try add(
        select, from: after.known, isGone: true,
        Statement(
          database,
          """
          SELECT drover_change, \(keys[0]), drover_version, \(keys.dropFirst().joined(separator: ", "))
            FROM \(FeedTable.gone(select.sink.stream))
           WHERE drover_change > ?1 AND drover_change <= \(end)\(machine.map { " AND \(keys[0]) = \(literal($0.text))" } ?? "")
           ORDER BY drover_change
          """))
    }
  }

  private func add(_ select: SinkSelect, from number: Int64, isGone: Bool, _ statement: Statement) throws {
    statement.bind(number, at: 1)
    guard try statement.step() else { return }
    sources.append(Source(select: select, statement: statement, isGone: isGone, number: statement.integer(0)))
  }

  /// - Parameter take: gets each change, and says whether it wants another one.
  /// - Returns: the number of the last one where there are others; nil at the end.
  func run(_ take: (Change) throws -> Bool) throws -> Int64? {
    while let index = sources.indices.min(by: { sources[$0].number < sources[$1].number }) {
      let source = sources[index]
      let goesOn = try source.change(after: after).map(take) ?? true
      if try source.statement.step() {
        sources[index].number = source.statement.integer(0)
      } else {
        sources.remove(at: index)
      }
      if !goesOn, !sources.isEmpty { return source.number }
    }
    return nil
  }
}
