// Work on one sink table within a transaction of many. Mostly it is done as it stands; what fails makes the transaction run again with care, where each
// piece of work has a savepoint. Then what a person has done to the table is made good, or the streams that need it wait, and everything
// else is committed.

import DroverCore
import GRDB

/// The transaction has to run again with a savepoint for each sink.
struct IsolationNeeded: Error {}

/// A trigger or constraint from outside Drover has ended the whole transaction: RAISE(ROLLBACK) or ON CONFLICT ROLLBACK.
struct TransactionEnded: Error {
  let stream: SQLName
}

extension Transaction {
  /// - Throws: `SinkBlocked`, with nothing of it done, when the stream's tables cannot be written.
  /// - Parameter repairing: whether the table is known to need it.
  func onSink<Result>(_ stream: StreamName, repairing: Bool = false, _ body: () throws -> Result) throws -> Result {
    let name = SQLName(stream.text)
    if store.care.ends.contains(name) { throw try SinkDiagnosis(database: database, stream: stream).ending() }
    store.care.fault = nil
    guard store.care.isOn || repairing, !store.care.isGuarded else {
      do {
        let result = try body()
        guard database.isInsideTransaction else { throw TransactionEnded(stream: name) }
        return result
      } catch is SinkBlocked where !store.care.isOn {
        throw IsolationNeeded()
      } catch let error as DatabaseError where !database.isInsideTransaction && error.isOfOneSink {
        throw TransactionEnded(stream: name)
      }
    }
    do {
      return try guarded(name) {
        if repairing { try repair(stream) }
        return try body()
      }
    } catch let error as DatabaseError where error.isOfOneSink {
      do {
        // Perhaps the table is not what it was known to be, and can be made what it has to be.
        return try guarded(name) {
          try repair(stream)
          return try body()
        }
      } catch let error as DatabaseError where error.isOfOneSink {
        throw try SinkDiagnosis(database: database, stream: stream).blocked(
          by: error, reach: store.care.fault ?? .table)
      }
    }
  }

  private func guarded<Result>(_ name: SQLName, _ body: () throws -> Result) throws -> Result {
    try database.execute(sql: "SAVEPOINT drover_sink")
    let counts = store.feed.counts
    store.care.isGuarded = true
    defer { store.care.isGuarded = false }
    do {
      let result = try body()
      guard database.isInsideTransaction else { throw TransactionEnded(stream: name) }
      try database.execute(sql: "RELEASE drover_sink")
      return result
    } catch {
      guard database.isInsideTransaction else { throw TransactionEnded(stream: name) }
      try database.execute(sql: "ROLLBACK TO drover_sink; RELEASE drover_sink")
      store.feed.restore(counts)
      store.forgetAll()
      throw error
    }
  }
}

extension SQLiteCloudStore {
  /// How carefully the transaction that runs now works.
  struct Isolation {
    /// Work on each sink has a savepoint.
    var isOn = false
    /// Such work is under way.
    var isGuarded = false
    /// Whom a table refuses everything, where it was asked.
    var fault: SinkBlocked.Reach?
    /// Sinks that would end the transaction, and are left alone in this one.
    var ends: Set<SQLName> = []
  }
}

extension DatabaseError {
  /// A statement came to nothing without an error, as a trigger does with RAISE(IGNORE). The row would be missing in silence.
  static let silence = DatabaseError(
    resultCode: .SQLITE_CONSTRAINT_TRIGGER,
    message: "the table keeps rows out, or rows in, without an error, as a trigger does with RAISE(IGNORE)")
  /// A row without epoch or version is never older than another to the database.
  static let unversioned = DatabaseError(
    resultCode: .SQLITE_SCHEMA,
    message: "drover_epoch or drover_version of a row is NULL, and Drover compares rows by them")
  fileprivate var isSilence: Bool { message == Self.silence.message }

  /// It says nothing of the file, its disk or its locks: other tables can be written.
  var isOfOneSink: Bool {
    [
      .SQLITE_ERROR, .SQLITE_CONSTRAINT, .SQLITE_MISMATCH, .SQLITE_TOOBIG, .SQLITE_RANGE, .SQLITE_SCHEMA, .SQLITE_AUTH,
      .SQLITE_INTERNAL,
    ].contains(resultCode)
  }

  /// Whether it is a value or a row that is compared with other rows: it says nothing of a second copy.
  fileprivate var isComparison: Bool {
    [
      .SQLITE_CONSTRAINT_UNIQUE, .SQLITE_CONSTRAINT_PRIMARYKEY, .SQLITE_CONSTRAINT_ROWID, .SQLITE_CONSTRAINT_FOREIGNKEY,
    ].contains(extendedResultCode)
  }
}

/// Whether it is the row or the table that is refused. A row that breaks a person's rule is a dead letter; where the table takes no row at all, such as
/// with a trigger that always fails, its streams wait. A row that is there already is the witness: it is written once more, and taken back.
struct SinkProbe {
  let database: Database
  let table: String

  /// - Parameters:
  ///   - error: why an event was refused; no event of its kind has passed.
  ///   - isDelete: whether it was a delete.
  ///   - owner: whose it was.
  ///   - columns: those of the source that its rows name.
  /// - Returns: for whom the table refuses everything; nil where it may be the row.
  func refusesEverything(
    _ error: DatabaseError, isDelete: Bool, of owner: MachineID, writing own: [SQLName]
  ) throws -> SinkBlocked.Reach? {
    guard !error.isComparison else { return nil }
    let columns = try database.catalogue(of: table)
    let key = columns.filter { $0.keyPosition > 0 }.sorted { $0.keyPosition < $1.keyPosition }.map {
      quoted($0.name.text)
    }
    guard let machine = key.first else { return nil }
    let name = quoted(table)
    guard try Row.fetchOne(database, sql: "SELECT 1 FROM main.\(name) LIMIT 1") != nil else {
      // One machine's row shall not hold back another's, whose rows may be such as the table takes.
      return try !isDelete && refusesAll(error, machine, owner, own) ? .machine : nil
    }
    let list = key.joined(separator: ", ")
    let one = "(\(list)) = (SELECT \(list) FROM main.\(name) LIMIT 1)"
    guard !isDelete else { return try refuses("DELETE FROM main.\(name) WHERE \(one)", error) ? .table : nil }
    let others = columns.map { quoted($0.name.text) }.filter { $0 != machine }.joined(separator: ", ")
    let isRefused =
      try refuses(
        "INSERT INTO main.\(name) (\(machine), \(others)) SELECT 'drover probe', \(others) FROM main.\(name) LIMIT 1",
        error)
      || refuses("UPDATE main.\(name) SET drover_version = drover_version WHERE \(one)", error)
    return isRefused ? .table : nil
  }

  /// Whether an empty table refuses rows of several kinds, and all for the same reason. A rule that some rows meet takes one of them: most rules take NULL.
  private func refusesAll(
    _ error: DatabaseError, _ machine: String, _ owner: MachineID, _ own: [SQLName]
  ) throws -> Bool {
    guard error.resultCode == .SQLITE_CONSTRAINT else { return false }
    let columns = try database.catalogue(of: table).filter { own.contains($0.name) }
    let names = [machine] + columns.map { quoted($0.name.text) } + ["drover_epoch", "drover_version"]
    return try ["NULL", "0", "''", "'one'", "1", "-1", "x'01'"].allSatisfy { value in
      let values = columns.map { $0.keyPosition > 0 && value == "NULL" ? "0" : value }
      let row = ["'\(owner.text)'"] + values + ["1", "1"]
      return try refuses(
        "INSERT INTO main.\(quoted(table)) (\(names.joined(separator: ", "))) VALUES (\(row.joined(separator: ", ")))",
        error)
    }
  }

  private func refuses(_ statement: String, _ error: DatabaseError) throws -> Bool {
    try database.execute(sql: "SAVEPOINT drover_probe")
    var isRefused = false
    do {
      try database.execute(sql: statement)
      isRefused = error.isSilence && database.changesCount == 0
    } catch let refusal as DatabaseError {
      isRefused = refusal.extendedResultCode == error.extendedResultCode
    }
    try database.execute(sql: "ROLLBACK TO drover_probe; RELEASE drover_probe")
    return isRefused
  }
}

/// Why a sink table cannot be written, for the person who can change that.
struct SinkDiagnosis {
  let database: Database
  let stream: StreamName

  /// - Parameter reach: whose streams have to wait.
  func blocked(by error: DatabaseError, reach: SinkBlocked.Reach) throws -> SinkBlocked {
    var blocked = try blocked(error.explanation)
    blocked.reach = reach
    return blocked
  }

  func ending() throws -> SinkBlocked {
    try blocked("a trigger or a constraint of it ends every transaction (ROLLBACK)")
  }

  private func blocked(_ text: String) throws -> SinkBlocked {
    let tables = try String.fetchAll(
      database,
      sql: """
        SELECT stream FROM drover_sink WHERE lower(stream) = ?1 OR lower(header) = ?1 ORDER BY lower(stream) <> ?1, stream
        """, arguments: [SQLName(self.stream.text).text])
    for table in tables {
      let isView =
        try String.fetchOne(
          database, sql: "SELECT type FROM main.sqlite_master WHERE lower(name) = lower(?) AND type = 'view'",
          arguments: [table]) != nil
      if isView {
        return SinkBlocked(
          table: table, reach: .table, cause: .change, text: "it is a view now",
          advice: "give the view another name; Drover makes the table again")
      }
      let triggers = try String.fetchOne(
        database,
        sql:
          "SELECT group_concat(name, ', ') FROM main.sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?) AND substr(name, 1, 12) <> '\(SinkCapture.prefix)' AND substr(name, 1, 15) <> '\(SinkProtection.prefix)'",
        arguments: [table])
      if let triggers {
        return SinkBlocked(
          table: table, reach: .table, cause: .change, text: "\(text); the table has the triggers \(triggers)",
          advice: "correct or drop the trigger that fails")
      }
    }
    return SinkBlocked(
      table: tables.first ?? stream.text, reach: .table, cause: .change, text: text,
      advice: "see that rows can be inserted into it, updated and deleted")
  }
}
