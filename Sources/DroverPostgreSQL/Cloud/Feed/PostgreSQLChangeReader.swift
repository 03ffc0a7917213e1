// The change feed of a store in PostgreSQL, read beside the consumers. Those who follow it share a few connections: a server has not many of them.

package import DroverCore
import Synchronization

package final class PostgreSQLChangeReader: ChangeReader {
  /// Connections that are kept for the next question: as many questions are asked at a time by a server, for requests and for live readers.
  private static let most = 4

  private let address: PostgreSQLAddress
  private let idle = Mutex<[FeedConnection]>([])

  package init(_ address: PostgreSQLAddress) { self.address = address }

  package func open() throws -> any ChangeSession {
    // What says that there is no store yet is told here.
    try lend { _ in }
    return PostgreSQLChangeSession(reader: self)
  }

  /// Lends a connection for one question.
  fileprivate func lend<Result>(_ ask: (FeedConnection) throws -> Result) throws -> Result {
    let connection = try idle.withLock { $0.popLast() } ?? FeedConnection(address)
    do {
      let result = try ask(connection)
      keep(connection)
      return result
    } catch {
      // What the store cannot answer says nothing against the connection; and where one is lost, the others are no better.
      if error is ChangesError { keep(connection) }
      if connection.connection.isLost { idle.withLock { $0 = [] } }
      throw error
    }
  }

  private func keep(_ connection: FeedConnection) {
    idle.withLock { if $0.count < Self.most { $0.append(connection) } }
  }
}

private final class PostgreSQLChangeSession: ChangeSession {
  private let reader: PostgreSQLChangeReader
  private let seen = Mutex<ChangeCursor?>(nil)

  init(reader: PostgreSQLChangeReader) { self.reader = reader }

  func hasMoved() throws -> Bool {
    let newest = try reader.lend { try $0.standing().newest }
    return seen.withLock { seen in
      defer { seen = newest }
      return seen != newest
    }
  }

  func report() throws -> ChangeReport {
    try reader.lend { feed in
      let standing = try feed.standing()
      let streams = try FeedStreams(feed.connection)
      return ChangeReport(
        newest: standing.newest,
        streams: try feed.sinks(standing.shapes).map(\.description).map { sink in
          .init(stream: sink.stream, kind: sink.kind, header: sink.header, counts: streams.counts(of: sink.stream))
        })
    }
  }

  func read(_ question: ChangeQuestion, _ take: (Change) throws -> Bool) throws -> ChangePage {
    try reader.lend { try $0.read(question, take) }
  }
}

/// A connection that reads the feed, and what is known of the tables.
///
/// Sendable because it has one user at a time: who takes it from the reader's list is the only one that has it. "One thread restriction is that no two
/// threads attempt to manipulate the same PGconn object at the same time" (https://www.postgresql.org/docs/current/libpq-threading.html).
private final class FeedConnection: @unchecked Sendable {
  /// A machine's changes are looked for among those of all machines: in so many numbers at a time.
  private static let window: Int64 = 1_000_000

  let connection: Connection
  private let place: String
  private let origin: String
  /// Of the tables as they were then.
  private var shapes: Int64 = -1
  private var noted: [NotedSink] = []
  private var followed: [SQLName: FollowedSink] = [:]

  init(_ address: PostgreSQLAddress) throws {
    guard let connection = try Connection(lookingAt: address) else {
      throw PostgreSQLError(
        operation: "open", subject: address.subject,
        cause: "there is no store yet; `drover cloud` makes it when it starts", state: "42P01")
    }
    self.connection = connection
    place = try connection.place()
    origin = try FeedState.origin(connection)
    // Changes are read by their index, in its order.
    try connection.run("SET enable_seqscan = off; SET enable_sort = off")
  }

  func standing() throws -> FeedState { try FeedState(connection, database: origin) }

  func sinks(_ shapes: Int64) throws -> [NotedSink] {
    if shapes != self.shapes {
      try connection.forgetStatements()
      noted = try NotedSink.all(connection)
      followed = [:]
      self.shapes = shapes
    }
    return noted
  }

  private func followed(_ sink: NotedSink) throws -> FollowedSink {
    if let known = followed[sink.name] { return known }
    let sink = try FollowedSink(sink, in: place, connection)
    followed[sink.noted.name] = sink
    return sink
  }

  // MARK: Reading

  /// A question, and what was found before the snapshot is taken in which it is answered.
  private struct Look {
    let standing: FeedState
    let after: ChangeCursor
    /// Those that were asked for.
    let sinks: [NotedSink]
    /// Those of them that have changed.
    let changed: [FollowedSink]
  }

  func read(_ question: ChangeQuestion, _ take: (Change) throws -> Bool) throws -> ChangePage {
    var look: Look?
    func begin() throws -> String {
      let found = try self.look(question)
      look = found
      let tables = found.changed.flatMap { [$0.table.qualified, $0.table.feed!.gone] }
      // A table that is written anew is empty to an older snapshot.
      return """
        BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
        LOCK TABLE \((["drover_feed"] + tables).joined(separator: ", ")) IN ACCESS SHARE MODE
        """
    }
    return try connection.transaction(begin) { try answer(question, look!, take) }
  }

  private func look(_ question: ChangeQuestion) throws -> Look {
    let standing = try standing()
    // Later than `standing`, so that everything up to it is in these.
    let streams = try FeedStreams(connection)
    let sinks = try sinks(standing.shapes).filter { question.stream == nil || $0.stream == question.stream }
    if let stream = question.stream, sinks.isEmpty { throw ChangesError.unknownStream(stream) }
    let after =
      question.after ?? ChangeCursor(era: standing.newest.era, number: 0, start: standing.newest.number)
    let changed = sinks.filter { streams.newest(of: $0.stream) > after.number }
    return Look(standing: standing, after: after, sinks: sinks, changed: try changed.map(followed))
  }

  private func answer(_ question: ChangeQuestion, _ look: Look, _ take: (Change) throws -> Bool) throws -> ChangePage {
    let streams = try FeedStreams(connection)
    guard try connection.query("SELECT \(PostgreSQLCloudStore.shapes)").integer(0, 0) == look.standing.shapes else {
      throw PostgreSQLError(
        operation: "read changes from", subject: connection.subject, cause: "tables are being changed; try again",
        state: "42P01")
    }
    let (after, newest) = (look.after, look.standing.newest)
    // Others may have committed higher numbers, of which a reader was told before.
    let latest = newest.moved(to: streams.newest)
    if question.after != nil, let gap = after.gap(in: latest, lost: streams.lost(question.stream)) { throw gap }
    var end = max(after.number, newest.number)
    if question.machine != nil { end = min(end, after.number + Self.window) }
    let stopped = try FeedMerge(look.changed, after: after, through: end, question.machine, connection).run(take)
    return ChangePage(
      next: after.moved(to: stopped ?? end), hasMore: stopped != nil || end < newest.number,
      counts: look.sinks.reduce(into: ChangeCounts()) { $0 += streams.counts(of: $1.stream) })
  }
}
