// Work on one sink table within a transaction of many. Mostly it is done as it stands, without another round trip; what fails makes the transaction
// run again with care, where each piece of work has a savepoint and waits for no lock. Then what a person has done to the table is made good,
// or the streams that need it wait, and everything else is committed.

import DroverCore

/// The transaction has to run again with a savepoint for each sink.
struct IsolationNeeded: Error {}

extension Transaction {
  /// How long work with a savepoint waits for a lock: no other rows come meanwhile.
  private static let shortPatience = "SET LOCAL lock_timeout = '250ms'"
  /// How long the transaction waits for other consumers.
  static let longPatience = "SET LOCAL lock_timeout = '20s'"

  /// - Throws: `SinkBlocked`, with nothing of it done, when the stream's tables cannot be written.
  /// - Parameter repairing: whether the table is known to need it.
  func onSink<Result>(_ stream: StreamName, repairing: Bool = false, _ body: () throws -> Result) throws -> Result {
    let name = SQLName(stream.text)
    guard isCareful || repairing || store.suspects.contains(name) else {
      do { return try body() } catch is SinkBlocked { throw IsolationNeeded() }
    }
    guard !isGuarded else { return try body() }
    var failure: PostgreSQLError
    do {
      let result = try guarded {
        if repairing { try repair(stream) }
        return try body()
      }
      store.suspects.remove(name)
      return result
    } catch let error as PostgreSQLError where error.isOfOneTable {
      // Whether it is the event or the table is found out with care.
      if !isCareful, error.isAboutTheEvent { throw IsolationNeeded() }
      failure = error
    }
    store.suspects.insert(name)
    if !failure.isLocked, !repairing {
      // Perhaps the table is not what it was known to be, and can be made what it has to be.
      do {
        return try guarded {
          try repair(stream)
          return try body()
        }
      } catch let error as PostgreSQLError where error.isOfOneTable {
        failure = error
      }
    }
    throw try SinkDiagnosis(transaction: self, stream: stream).blocked(by: failure)
  }

  private func guarded<Result>(_ body: () throws -> Result) throws -> Result {
    try connection.run("SAVEPOINT drover_sink; \(Self.shortPatience)")
    let (changes, locks) = (feed.state, locked)
    isGuarded = true
    defer { isGuarded = false }
    do {
      let result = try body()
      try connection.run("RELEASE drover_sink; \(Self.longPatience)")
      return result
    } catch {
      try connection.run("ROLLBACK TO drover_sink; RELEASE drover_sink; \(Self.longPatience)")
      feed.restore(changes)
      // Advisory locks that were taken since the savepoint are gone with it, and settings.
      locked = locks
      isWriter = false
      tombstones = [:]
      stubborn = [:]
      store.knowledge = PostgreSQLCloudStore.Knowledge()
      try connection.forgetStatements()
      throw error
    }
  }

  /// Waits for other consumers, who are soon done, and for no table.
  func patiently(_ statement: () throws -> Void) throws {
    guard isGuarded else { return try statement() }
    try connection.run(Self.longPatience)
    try statement()
    try connection.run(Self.shortPatience)
  }
}

extension PostgreSQLError {
  var isLocked: Bool { state == "55P03" }

  /// It says nothing of the server, the connection or the transaction as a whole: other tables can be written.
  var isOfOneTable: Bool {
    guard let state, !isConnectionLost, !isCollision else { return false }
    return state == "57014" || !["25", "53", "57", "58"].contains(String(state.prefix(2)))
  }
}
