import DroverCore
import DroverSQLite
import Foundation
import GRDB
import Synchronization
import Testing

@Suite struct BackupTests {
  private static let first: Int64 = 1_795_224_600_000_000  // 2026-11-21T01:30:00Z
  private static let day: Int64 = 86_400_000_000

  private func backups(_ app: AppDatabase) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: app.file("backups")).sorted()
  }

  private func backup(_ app: AppDatabase) -> DatabaseBackup {
    DatabaseBackup(database: app.path, folder: app.file("backups"))
  }

  @Test(arguments: ["wal", "delete"])
  func `a backup is of one moment, though the app writes all the while`(journalMode: String) throws {
    let app = try AppDatabase(
      """
      CREATE TABLE account (id INTEGER PRIMARY KEY, amount INT, filling BLOB);
      WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000)
      INSERT INTO account SELECT n, 100, randomblob(2000) FROM n
      """, journalMode: journalMode)
    let path = app.path
    let isOver = Atomic(false)
    let writer = Background {
      var configuration = Configuration()
      configuration.busyMode = .timeout(30)
      let connection = try QueryPlans.ofTest { try DatabaseQueue(path: path, configuration: configuration) }
      var transfers = 0
      // Some at least, and so many that SQLite has to begin again.
      while !isOver.load(ordering: .relaxed) || transfers < 5 {
        try connection.write {
          try $0.execute(
            sql: """
              UPDATE account SET amount = amount - 1, filling = randomblob(2000) WHERE id = 1;
              UPDATE account SET amount = amount + 1, filling = randomblob(2000) WHERE id = 2000
              """)
        }
        transfers += 1
      }
      try connection.close()
    }
    defer { isOver.store(true, ordering: .relaxed) }
    let made = try backup(app).make(now: Self.first)
    isOver.store(true, ordering: .relaxed)
    try writer.wait()
    #expect(made.path == app.file("backups/app-20261121T013000Z.db"))
    #expect(try backups(app) == ["app-20261121T013000Z.db"])
    let copy = try AppDatabase.connect(made.path)
    try copy.inDatabase { database throws in
      #expect(try String.fetchOne(database, sql: "PRAGMA integrity_check") == "ok")
      #expect(try Int.fetchOne(database, sql: "SELECT sum(amount) FROM account") == 200_000)
      #expect(try String.fetchOne(database, sql: "PRAGMA journal_mode") == journalMode)
    }
  }

  @Test func `a database that is not sound gets no backup, and older ones stay`() throws {
    let app = try AppDatabase("CREATE TABLE t (a, b); CREATE INDEX i ON t (b)")
    try app.run(
      "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000) INSERT INTO t SELECT n, randomblob(50) FROM n"
    )
    let good = try backup(app).make(now: Self.first)
    try app.connection.close()
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: app.path))
    try file.seek(toOffset: 4096 * 20)
    try file.write(contentsOf: Data(repeating: 0x5a, count: 4096 * 3))
    try file.close()
    #expect {
      try backup(app).make(now: Self.first + Self.day)
    } throws: {
      "\($0)".contains("integrity_check finds") && "\($0)".contains("older backups are untouched")
    }
    #expect(try backups(app) == ["app-20261121T013000Z.db"])
    #expect(try Int(FileManager.default.attributesOfItem(atPath: good.path)[.size] as! UInt64) == Int(good.bytes))
  }

  @Test func `beyond their number the oldest backups go, and nothing else`() throws {
    let app = try AppDatabase("CREATE TABLE t (a)")
    let foreign = [
      "app-20261120T013000Z.db.gz", "app-notes.db", "app-20261120T0130Z.db", "application-20200101T000000Z.db",
      "other-20200101T000000Z.db", "xapp-20200101T000000Z.db", "app-2020é101T00000Z.db",
    ]
    try FileManager.default.createDirectory(
      atPath: app.file("backups/app-20200101T000000Z.db"), withIntermediateDirectories: true)
    for name in foreign { try Data().write(to: URL(fileURLWithPath: app.file("backups/\(name)"))) }
    try FileManager.default.createSymbolicLink(
      atPath: app.file("backups/app-20200102T000000Z.db"), withDestinationPath: app.path)
    for day in 0..<5 {
      let made = try backup(app).make(now: Self.first + Int64(day) * Self.day)
      try backup(app).prune(keep: 3, newest: made)
    }
    let kept = ["app-20261123T013000Z.db", "app-20261124T013000Z.db", "app-20261125T013000Z.db"]
    let untouched = ["app-20200101T000000Z.db", "app-20200102T000000Z.db"]
    #expect(try Set(backups(app)) == Set(kept + untouched + foreign))
  }

  @Test func `the newest backup stays, though the clock has gone back`() throws {
    let app = try AppDatabase("CREATE TABLE t (a)")
    for day in 1...3 { _ = try backup(app).make(now: Self.first + Int64(day) * Self.day) }
    let made = try backup(app).make(now: 0)
    try backup(app).prune(keep: 1, newest: made)
    #expect(try backups(app) == ["app-19700101T000000Z.db"])
  }

  @Test func `what a killed backup has left is taken away by the next one`() throws {
    let app = try AppDatabase("CREATE TABLE t (a); INSERT INTO t VALUES (7)")
    try FileManager.default.createDirectory(atPath: app.file("backups"), withIntermediateDirectories: true)
    for end in ["", "-wal", "-journal"] {
      try Data(repeating: 1, count: 9000).write(to: URL(fileURLWithPath: app.file("backups/app-unfinished.db\(end)")))
    }
    let made = try backup(app).make(now: Self.first)
    #expect(try backups(app) == ["app-20261121T013000Z.db"])
    let copy = try AppDatabase.connect(made.path)
    #expect(try copy.inDatabase { try Int.fetchOne($0, sql: "SELECT a FROM t") } == 7)
  }

  @Test func `a backup that is stopped leaves nothing`() throws {
    let app = try AppDatabase("CREATE TABLE t (a)")
    let stopped = backup(app)
    stopped.cancel()
    #expect(throws: BackupError.self) { try stopped.make(now: Self.first) }
    #expect(try backups(app) == [])
  }

  @Test func `the record beside the database tells of the last backup and of a failure since`() throws {
    let app = try AppDatabase("CREATE TABLE t (a)")
    #expect(BackupRecord.read(database: app.path) == nil)
    let made = BackupFile(path: app.file("back ups/a b.db"), bytes: 4096, at: Self.first)
    try BackupRecord.note(made, database: app.path)
    #expect(BackupRecord.read(database: app.path) == BackupRecord(made: made))
    let failure = BackupRecord.Failure(at: Self.first + 1, reason: "no space\nleft on it")
    try BackupRecord.note(failure, database: app.path)
    #expect(
      BackupRecord.read(database: app.path)
        == BackupRecord(made: made, failure: .init(at: Self.first + 1, reason: "no space left on it")))
    try BackupRecord.note(made, database: app.path)
    #expect(BackupRecord.read(database: app.path)?.failure == nil)
    _ = try app.attach(.table("t"))
    _ = try EdgeDatabase.detach(path: app.path)
    #expect(BackupRecord.read(database: app.path) == nil)
  }
}
