import DroverCore
import DroverSQLite
import DroverTesting
import Foundation
import GRDB
import Synchronization
import Testing

/// The app goes on as if there were no Drover.
@Suite(.ownThread) struct UnnoticedTests {
  private let stock = "CREATE TABLE stock (id INTEGER PRIMARY KEY, level INT, synced INT DEFAULT 0)"

  @Test(arguments: ["delete", "truncate", "persist", "wal"])
  func `the journal mode stays what it is`(mode: String) throws {
    let app = try AppDatabase(stock + "; INSERT INTO stock (level) VALUES (1)", journalMode: mode)
    do {
      let edge = try app.attach(.table("stock", synced: "synced"))
      try app.run("UPDATE stock SET level = 2")
      #expect(try edge.waiting() == ["put 1: 1, 2, 1"])
      try edge.acknowledgeAll()
      _ = try edge.refresh()
    }
    try app.connection.close()
    // The mode on disk, as a process sees it that opens the file anew. WAL is the only one that the file itself remembers.
    let found = try Python.run(
      "print(sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode').fetchone()[0])", app.path)
    #expect(found == (mode == "wal" ? "wal" : "delete"))
    _ = try EdgeDatabase.detach(path: app.path)
    #expect(
      try Python.run("print(sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode').fetchone()[0])", app.path)
        == found)
  }

  @Test func `last_insert_rowid and changes tell the app of its own rows`() throws {
    let app = try AppDatabase(stock + "; INSERT INTO stock (id) VALUES (1), (2), (3)")
    let edge = try app.attach([.table("stock"), .fed("f")])
    try withExtendedLifetime(edge) {
      try app.run("INSERT INTO drover_intake (stream, body) VALUES ('f', '1')")
      try app.run("INSERT INTO stock (id) VALUES (77)")
      #expect(try app.integer("SELECT last_insert_rowid()") == 77)
      #expect(try app.integer("SELECT changes()") == 1)
      try app.run("UPDATE stock SET level = 5, id = id + 100")
      #expect(try app.integer("SELECT changes()") == 4)
      try app.run("DELETE FROM stock WHERE id > 102")
      #expect(try app.integer("SELECT changes()") == 2)
      #expect(try app.integer("SELECT last_insert_rowid()") == 77)
    }
  }

  @Test func `the app's own triggers and foreign keys keep working`() throws {
    let app = try AppDatabase(
      """
      \(stock); CREATE TABLE log (what);
      CREATE TABLE pen (id INTEGER PRIMARY KEY, stock INT REFERENCES stock (id));
      CREATE TRIGGER before_update BEFORE UPDATE ON stock BEGIN INSERT INTO log VALUES ('before ' || NEW.level); END;
      CREATE TRIGGER after_update AFTER UPDATE ON stock BEGIN INSERT INTO log VALUES ('after ' || NEW.level); END;
      CREATE TRIGGER guard BEFORE DELETE ON stock WHEN OLD.level > 8 BEGIN SELECT RAISE(ABORT, 'too many to delete'); END;
      INSERT INTO stock (id, level) VALUES (1, 1), (2, 9)
      """)
    let edge = try app.attach(.table("stock"))
    try app.run("PRAGMA foreign_keys = ON; UPDATE stock SET level = 2 WHERE id = 1; INSERT INTO pen VALUES (1, 1)")
    #expect(try app.lines("SELECT what FROM log") == ["'before 2'", "'after 2'"])
    #expect { try app.run("DELETE FROM stock WHERE id = 2") } throws: { "\($0)".contains("too many to delete") }
    #expect { try app.run("DELETE FROM stock WHERE id = 1") } throws: { "\($0)".contains("FOREIGN KEY") }
    #expect(try edge.waiting() == ["put 1: 1, 2, 0"])
  }

  @Test func `statements that the app prepared before attaching go on`() throws {
    let app = try AppDatabase(stock)
    try app.connection.inDatabase { database in
      let insert = try database.makeStatement(sql: "INSERT INTO stock (level) VALUES (?)")
      try insert.execute(arguments: [1])
      let edge = try app.attach(.table("stock"))
      try insert.execute(arguments: [2])
      #expect(try edge.waiting() == ["put 2: 2, 2, 0"])
      _ = try EdgeDatabase.detach(path: app.path)
      try insert.execute(arguments: [3])
      #expect(try Int.fetchOne(database, sql: "SELECT count(*) FROM stock") == 3)
    }
  }

  // MARK: The app's own flag

  @Test func `the app's writes of its flag are no events`() throws {
    let app = try AppDatabase(stock + "; INSERT INTO stock (id, level) VALUES (1, 1)")
    let edge = try app.attach(.table("stock", synced: "synced"))
    try app.run("UPDATE stock SET synced = 0; UPDATE stock SET synced = 1 WHERE id = 1")
    #expect(try edge.waiting() == [])
  }

  @Test func `an update that names all columns, as an ORM's does, is an event`() throws {
    let app = try AppDatabase(stock + "; INSERT INTO stock VALUES (1, 1, 1)")
    let edge = try app.attach(.table("stock", synced: "synced"))
    try app.run("UPDATE stock SET id = 1, level = 4, synced = 0 WHERE id = 1")
    #expect(try edge.waiting() == ["put 1: 1, 4, 1"])
  }

  // SQLite fires an UPDATE OF trigger by the names in the statement. `SET rowid = 9` names no column, so a table with a synced column
  // lost the row's new key: only the delete of the old one was entered.
  @Test(arguments: ["rowid", "_rowid_", "oid"])
  func `a key that is changed under the rowid's name is captured`(name: String) throws {
    let app = try AppDatabase(stock + "; INSERT INTO stock VALUES (1, 1, 1)")
    let edge = try app.attach(.table("stock", synced: "synced"))
    try app.run("UPDATE stock SET \(name) = 9")
    #expect(try Set(edge.waiting()) == ["delete 1", "put 9: 9, 1, 1"])
  }

  @Test func `the rowid of a table without a key may change, also where the app has a flag`() throws {
    let app = try AppDatabase("CREATE TABLE t (a, synced); INSERT INTO t VALUES ('x', 0)")
    let edge = try app.attach(.table("t", synced: "synced"))
    try app.run("UPDATE t SET rowid = 9")
    #expect(try Set(edge.waiting()) == ["delete 1", "put 9: 9, 'x', 1"])
  }

  @Test func `the flag travels as 1, whatever it is at the edge`() throws {
    let app = try AppDatabase(stock)
    let edge = try app.attach(.table("stock", synced: "synced"))
    try app.run("INSERT INTO stock VALUES (1, 1, 0), (2, 2, NULL), (3, 3, 'no')")
    #expect(try edge.waiting() == ["put 1: 1, 1, 1", "put 2: 2, 2, 1", "put 3: 3, 3, 1"])
  }

  @Test func `setting the flag is no event, and fires none of the app's triggers`() throws {
    let app = try AppDatabase(
      """
      \(stock); CREATE TABLE log (what);
      CREATE TRIGGER logging AFTER UPDATE ON stock BEGIN INSERT INTO log VALUES (NEW.synced); END
      """)
    let edge = try app.attach(.table("stock", synced: "synced"))
    try app.run("INSERT INTO stock (level) VALUES (1)")
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM stock") == ["1, 1, 1"])
    #expect(try edge.waiting() == [])
    #expect(try app.integer("SELECT count(*) FROM drover_outbox") == 1)
    #expect(try app.integer("SELECT count(*) FROM log") == 0)
  }

  @Test func `the flag is set though the app's triggers use functions that only the app has`() throws {
    let app = try AppDatabase(stock)
    try Python.run(
      """
      connection = sqlite3.connect(sys.argv[1])
      connection.create_function("app_only", 1, lambda x: x)
      connection.execute("CREATE TRIGGER t AFTER UPDATE ON stock BEGIN SELECT app_only(NEW.level); END")
      connection.execute("INSERT INTO stock (id, level) VALUES (1, 5)")
      connection.commit()
      """, app.path)
    let edge = try app.attach(.table("stock", synced: "synced"), settled: false)
    try edge.bringAll()
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM stock") == ["1, 5, 1"])
  }

  @Test func `a row that changed after it was sent is not flagged`() throws {
    let app = try AppDatabase(stock)
    let edge = try app.attach(.table("stock", synced: "synced"))
    try app.run("INSERT INTO stock (id, level) VALUES (1, 1), (2, 2)")
    let sent = try edge.everything().lastSeq
    try app.run("UPDATE stock SET level = 9, synced = 0 WHERE id = 1")
    try edge.acknowledge(1...sent)
    #expect(try app.lines("SELECT * FROM stock") == ["1, 9, 0", "2, 2, 1"])
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM stock") == ["1, 9, 1", "2, 2, 1"])
  }

  // MARK: Locks

  @Test func `in WAL the writes of an app that waits for no lock never fail while the agent reads`() throws {
    let app = try AppDatabase(stock, journalMode: "wal")
    let stream = try StreamDeclaration.table("stock", synced: "synced")
    _ = try app.attach(stream)
    try app.run("INSERT INTO stock (level) VALUES (0)")
    let agent = Agent(app.path, [stream]) { _ = try $0.everything() }
    try app.connection.inDatabase { database in
      let update = try database.makeStatement(sql: "UPDATE stock SET level = level + 1")
      for _ in 0..<500 { try update.execute() }
    }
    #expect(agent.stop() > 1)
    #expect(try app.attach(stream, settled: false).waiting() == ["put 1: 1, 500, 1"])
  }

  // Python's sqlite3 waits five seconds for a lock unless it is told otherwise; most others wait too. An app that waits not at all
  // meets any other writer of its file now and then, and Drover's own write transactions are no exception.
  @Test(arguments: ["delete", "wal"])
  func `the writes of an app that waits for locks never fail while the agent reads, settles and brings rows`(
    mode: String
  ) throws {
    let app = try AppDatabase(stock, journalMode: mode)
    let stream = try StreamDeclaration.table("stock", synced: "synced")
    _ = try app.attach(stream)
    let agent = Agent(app.path, [stream]) { edge in
      try edge.acknowledge(1...max(1, try edge.everything().lastSeq))
      try edge.confirmAll()
      _ = try edge.backfill(limit: 10)
    }
    try Python.run(
      """
      connection = sqlite3.connect(sys.argv[1])
      for i in range(200):
          connection.execute("INSERT INTO stock (level) VALUES (?)", (i,))
          connection.execute("UPDATE stock SET level = level + 1 WHERE id % 10 = ?", (i % 10,))
          connection.commit()
      """, app.path)
    #expect(agent.stop() > 1)
    try app.attach(stream, settled: false).acknowledgeAll()
    #expect(try app.lines("SELECT count(*), min(synced) FROM stock") == ["200, 1"])
  }

  // The agent's first read after an ALTER TABLE noticed the new schema and left its statement open: in rollback mode that held a
  // shared lock, and the app's next commit failed with "database is locked" until the agent had looked at the tables anew.
  @Test(arguments: ["delete", "wal"])
  func `a read that found another schema holds no lock`(mode: String) throws {
    let app = try AppDatabase(stock, journalMode: mode)
    let edge = try app.attach(.table("stock"))
    try app.run("ALTER TABLE stock ADD COLUMN note")
    #expect(throws: EdgeStoreError.self) { try edge.everything() }
    try app.run("INSERT INTO stock (level) VALUES (1)")
    #expect(try app.lines("PRAGMA wal_checkpoint(TRUNCATE)").first != (mode == "wal" ? "1, -1, -1" : nil))
    _ = try edge.refresh()
    #expect(try edge.waiting() == ["put 1: 1, 1, 0, NULL"])
  }

  @Test func `a lock that the app holds is an error to try again, and nothing is half done`() throws {
    let app = try AppDatabase(stock)
    let edge = try app.attach(.table("stock", synced: "synced"), patience: .milliseconds(50))
    try app.run("INSERT INTO stock (level) VALUES (1)")
    try app.run("BEGIN IMMEDIATE")
    #expect {
      try edge.acknowledgeAll()
    } throws: { error in
      if case EdgeStoreError.busy = error { true } else { false }
    }
    try app.run("ROLLBACK")
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT * FROM stock") == ["1, 1, 1"])
  }

  // The kill loop started the agent while the app was busy: it attached, and ended with "the database is locked by another program",
  // because its second transaction waited for 50 ms only.
  @Test(arguments: ["wal", "delete"])
  func `an agent starts though the app is writing nearly all the time`(mode: String) throws {
    let app = try AppDatabase(stock, journalMode: mode)
    let path = app.path
    let isDone = Mutex(false)
    // Opened before the agent is: the first look at the file is one without patience.
    let connection = try AppDatabase.connect(path)
    try connection.inDatabase { try $0.execute(sql: "PRAGMA busy_timeout = 10000") }
    let writing = Background {
      while !isDone.withLock({ $0 }) {
        try connection.inDatabase { database in
          try database.execute(sql: "BEGIN EXCLUSIVE; INSERT INTO stock (level) VALUES (1)")
          Thread.sleep(forTimeInterval: 0.1)  // what it does meanwhile
          try database.execute(sql: "COMMIT")
        }
        Thread.sleep(forTimeInterval: 0.005)
      }
    }
    for _ in 0..<5 {
      let edge = try EdgeDatabase(path: path, declarations: [.table("stock", synced: "synced")])
      _ = try edge.acknowledged()
      _ = try edge.confirmed()
    }
    isDone.withLock { $0 = true }
    try writing.wait()
  }
}

/// An agent on a thread of its own that works in a loop until it is told to stop.
private final class Agent: Sendable {
  private let state = Mutex((isStopping: false, turns: 0))
  private let begun = DispatchSemaphore(value: 0)
  private let ended = DispatchSemaphore(value: 0)

  /// Returns when the first turn is done.
  init(_ path: String, _ streams: [StreamDeclaration], turn: @escaping @Sendable (EdgeDatabase) throws -> Void) {
    Thread { [self] in
      defer { ended.signal() }
      guard let edge = try? EdgeDatabase(path: path, declarations: streams) else {
        begun.signal()
        return
      }
      while state.withLock({ !$0.isStopping }) {
        do { try turn(edge) } catch EdgeStoreError.busy { continue } catch { break }
        let turns = state.withLock { state in
          state.turns += 1
          return state.turns
        }
        if turns == 1 { begun.signal() }
      }
      begun.signal()
    }.start()
    begun.wait()
  }

  /// Stops it. Returns how many turns it did without an error.
  func stop() -> Int {
    state.withLock { $0.isStopping = true }
    ended.wait()
    return state.withLock { $0.turns }
  }
}
