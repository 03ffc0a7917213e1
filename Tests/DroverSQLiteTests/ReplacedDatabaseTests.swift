// A database that is put back or replaced while the agent has it open. Rows that were written afterwards were shown as confirmed and were in
// no cloud: the agent compared its memory with the database only when it started. And an agent whose file was moved away went on reading
// the unlinked one, and said that all was well.

import DroverCore
import Foundation
import GRDB
import Testing

@testable import DroverSQLite

/// How people put a database back.
enum PuttingBack: String, CaseIterable, CustomTestStringConvertible {
  /// SQLite's backup API, as `.restore` uses it.
  case backupAPI
  /// The contents of the file are overwritten; with a WAL, that goes.
  case overwriting
  /// Another file is renamed over it; a WAL stays behind.
  case renaming
  /// The file is removed, and the copy takes its place.
  case removing
  /// It is moved aside with all that belongs to it.
  case movingAside

  var testDescription: String { rawValue }

  func apply(_ copy: String, to app: AppDatabase) throws {
    let files = FileManager.default
    let path = app.path
    switch self {
    case .backupAPI:
      let source = try AppDatabase.connect(copy)
      let target = try AppDatabase.connect(path)
      try source.backup(to: target)
      try source.close()
      return try target.close()
    case .overwriting:
      for end in ["-wal", "-shm"] { try? files.removeItem(atPath: path + end) }
      return try overwrite(path, with: Data(contentsOf: URL(fileURLWithPath: copy)))
    case .renaming:
      guard rename(copy, path) == 0 else { throw CocoaError(.fileWriteUnknown) }
    case .removing:
      for end in ["", "-wal", "-shm"] { try? files.removeItem(atPath: path + end) }
      try files.moveItem(atPath: copy, toPath: path)
    case .movingAside:
      for end in ["", "-wal", "-shm"] where files.fileExists(atPath: path + end) {
        try files.moveItem(atPath: path + end, toPath: path + ".aside" + end)
      }
      try files.moveItem(atPath: copy, toPath: path)
    }
  }
}

/// In place, as `cp` does: the file stays the same one.
private func overwrite(_ path: String, with bytes: Data) throws {
  let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
  try handle.truncate(atOffset: 0)
  try handle.write(contentsOf: bytes)
  try handle.close()
}

@Suite struct ReplacedDatabaseTests {
  private static let journalModes = ["delete", "wal"]

  private func makeApp(_ mode: String, _ schema: String = "CREATE TABLE t (id INTEGER PRIMARY KEY, v)") throws
    -> AppDatabase
  {
    try AppDatabase(schema, journalMode: mode)
  }

  private func copy(_ app: AppDatabase, to name: String = "copy.db") throws -> String {
    let path = app.file(name)
    let (source, target) = (try AppDatabase.connect(app.path), try AppDatabase.connect(path))
    try source.backup(to: target)
    try source.close()
    try target.close()
    return path
  }

  /// The app has closed the file, as it has to before it is replaced, and opens what is there then.
  private func insert(_ ids: ClosedRange<Int>, _ app: AppDatabase) throws {
    let connection = try AppDatabase.connect(app.path)
    try connection.inDatabase { database in
      for id in ids { try database.execute(sql: "INSERT INTO t (id) VALUES (\(id))") }
    }
    try connection.close()
  }

  private func isOther(_ body: () throws -> Void) throws -> Bool {
    do {
      try body()
      return false
    } catch EdgeStoreError.otherDatabase {
      return true
    }
  }

  /// As the relay does, which tries again: what has just come is not opened at once.
  private func follow(_ edge: EdgeDatabase) throws {
    do {
      try edge.startEpoch(because: "of this test")
    } catch EdgeStoreError.failed(let reason) where reason.contains("it is new at this path") {
      try edge.startEpoch(because: "of this test")
    }
  }

  private func generation(_ app: AppDatabase) throws -> Int64? { OutboxMemory.read(database: app.path)?.generation }

  @Test(arguments: PuttingBack.allCases, journalModes)
  func
    `a database that is put back under the agent is noticed at once, begins a new epoch, and what is written then is read`(
      way: PuttingBack, mode: String
    ) throws
  {
    let app = try makeApp(mode)
    try app.connection.close()
    let edge = try EdgeDatabase(path: app.path, declarations: [.table("t")])
    try insert(1...3, app)
    try edge.confirmAll()
    let backup = try copy(app)
    try insert(4...9, app)
    #expect(try edge.everything().entries.count == 6)
    try edge.confirmAll()
    let epoch = edge.epoch
    _ = try edge.hasChanged()

    try way.apply(backup, to: app)
    let isNoticed = try isOther { _ = try edge.hasChanged() }
    #expect(isNoticed)
    #expect(try isOther { _ = try edge.everything() })
    try follow(edge)
    #expect(edge.epoch != epoch)
    try edge.bringAll()
    #expect(try edge.waiting().count == 3)
    try insert(100...105, app)
    #expect(try edge.hasChanged())
    #expect(try edge.waiting().count == 9)
    try edge.confirmAll()
    #expect(try !edge.hasChanged())
    let check = try AppDatabase.connect(app.path)
    #expect(try check.inDatabase { try String.fetchAll($0, sql: "PRAGMA integrity_check") } == ["ok"])
    #expect(try check.inDatabase { try Int.fetchOne($0, sql: "SELECT count(*) FROM t") } == 9)
    try check.close()
    // And it is the one that the next start knows.
    let next = try EdgeDatabase(path: app.path, declarations: [.table("t")])
    #expect(next.epoch == edge.epoch)
  }

  @Test(arguments: journalModes)
  func `nothing of the agent's is written into a database that went back, and its note stays as high as it was`(
    mode: String
  )
    throws
  {
    let app = try makeApp(mode)
    let edge = try app.attach(.table("t"))
    let backup = try copy(app)
    try app.run("INSERT INTO t (id) VALUES (1), (2)")
    var settlement = Settlement()
    settlement.confirmed[1] = [1...2]
    settlement.fronts[1] = 2
    _ = try edge.everything()
    try edge.settle(settlement)
    let noted = try generation(app)
    try app.run("INSERT INTO t (id) VALUES (3)")
    try PuttingBack.backupAPI.apply(backup, to: app)
    let before = try app.lines("SELECT * FROM drover_clock, drover_stream")
    #expect(try isOther { try edge.settle(settlement) })
    #expect(try isOther { _ = try edge.backfill(limit: 10) })
    #expect(try isOther { try edge.enter([[.integer(1)]], stream: 1) })
    #expect(try isOther { _ = try edge.resync(ResyncOrder(), stream: 1) })
    #expect(try isOther { try edge.note(.measured(ahead: 5_000_000)) })
    #expect(try isOther { try edge.watchSpace() })
    #expect(try isOther { _ = try edge.refresh() })
    #expect(
      try isOther {
        _ = try edge.moveToDeadLetters(UnsendableEvent(stream: 1, seq: 1, reason: .tooLarge, detail: "", bytes: 1))
      })
    #expect(try isOther { _ = try edge.confirmed() })
    #expect(try isOther { _ = try edge.acknowledged() })
    #expect(try isOther { _ = try edge.survey(stream: 1, after: [], limit: 10) { _, _ in } })
    #expect(try app.lines("SELECT * FROM drover_clock, drover_stream") == before)
    #expect(try generation(app) == noted)
  }

  /// Between two of the agent's own writes its generation says nothing.
  @Test(arguments: [[], [8], [8, 9], [8, 9, 10, 11]])
  func `a copy of the same generation is noticed by what was read since`(ids: [Int]) throws {
    let app = try makeApp("wal")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t (id) VALUES (1)")
    let backup = try copy(app)
    try app.run("INSERT INTO t (id) VALUES (2), (3)")
    #expect(try edge.everything().entries.count == 3)
    try PuttingBack.backupAPI.apply(backup, to: app)
    for id in ids { try app.run("INSERT INTO t (id) VALUES (\(id))") }
    #expect(try isOther { _ = try edge.hasChanged() })
  }

  @Test func `a copy that nothing was read of begins no epoch`() throws {
    let app = try makeApp("wal")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t (id) VALUES (1)")
    _ = try edge.everything()
    let backup = try copy(app)
    try app.run("INSERT INTO t (id) VALUES (2), (3)")
    try PuttingBack.backupAPI.apply(backup, to: app)
    #expect(try edge.looking(edge.hasChanged))
    _ = try edge.refresh()
    #expect(try edge.waiting() == ["put 1: 1, NULL"])
  }

  @Test func `what other commands of Drover's write, and what the app deletes, begins no epoch`() throws {
    let app = try makeApp("wal")
    let declarations = [try StreamDeclaration.table("t"), try .fed("reading")]
    let edge = try app.attach(declarations)
    let epoch = edge.epoch
    try app.run("INSERT INTO t (id) VALUES (1), (2)")
    _ = try edge.everything()
    let seq = try #require(try edge.everything().entries.first?.seq)
    #expect(try edge.moveToDeadLetters(UnsendableEvent(stream: 1, seq: seq, reason: .tooLarge, detail: "", bytes: 1)))
    _ = try EdgeDatabase.prepare(path: app.path, declarations: declarations, quota: OutboxQuota())
    _ = try Intake(path: app.path, stream: StreamName("reading")).insert([(nil, ArraySlice("1".utf8))])
    try EdgeDatabase.resync(
      path: app.path, declarations: declarations, quota: OutboxQuota(), streams: [StreamName("t")], order: ResyncOrder()
    )
    let letters = try EdgeDeadLetters(path: app.path, machine: MachineID("M"), readOnly: false)
    #expect(try letters.requeue(1) == .queued)
    try app.run("DELETE FROM t; INSERT INTO t (id) VALUES (1); ALTER TABLE t ADD COLUMN w")
    _ = try edge.looking(edge.hasChanged)
    _ = try edge.refresh()
    try edge.bringAll()
    _ = try edge.everything()
    try edge.confirmAll()
    try app.run("INSERT INTO t (id) VALUES (5)")
    #expect(try edge.looking(edge.hasChanged))
    #expect(edge.epoch == epoch)
  }

  @Test(arguments: PuttingBack.allCases)
  func `a copy from before Drover was attached, with other tables, is attached anew`(way: PuttingBack) throws {
    let app = try makeApp("delete", "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (7)")
    let backup = try copy(app)
    try app.run("DROP TABLE t; CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'x')")
    let edge = try app.attach(.table("t"))
    let epoch = edge.epoch
    try app.connection.close()
    try way.apply(backup, to: app)
    #expect(try isOther { _ = try edge.hasChanged() })
    try follow(edge)
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 7: 7"])
    #expect(edge.epoch != epoch)
    try insert(8...8, app)
    #expect(try edge.waiting() == ["put 7: 7", "put 8: 8"])
  }

  @Test(arguments: journalModes)
  func `a database that is put back several times in a row is followed each time`(mode: String) throws {
    let app = try makeApp(mode)
    let edge = try app.attach(.table("t"))
    let backup = try copy(app)
    var epochs: Set<String> = [edge.epoch.text]
    for round in 1...3 {
      try app.run("INSERT INTO t (id) VALUES (\(round))")
      _ = try edge.everything()
      try edge.confirmAll()
      try PuttingBack.backupAPI.apply(backup, to: app)
      #expect(try isOther { _ = try edge.hasChanged() })
      // Once more, before the agent has come to it.
      try PuttingBack.backupAPI.apply(backup, to: app)
      try edge.startEpoch(because: "of this test")
      #expect(epochs.insert(edge.epoch.text).inserted)
      try edge.bringAll()
      #expect(try edge.waiting() == [])
    }
  }

  // MARK: While there is none

  @Test(arguments: journalModes)
  func
    `while the file is gone, empty or without a captured table nothing is made in it, and what comes then is attached`(
      mode: String
    ) throws
  {
    let app = try makeApp(mode)
    let edge = try app.attach(.table("t"))
    try app.connection.close()
    for end in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: app.path + end) }
    func start() throws -> String? {
      do {
        try follow(edge)
        return nil
      } catch EdgeStoreError.failed(let reason) {
        return reason
      }
    }
    #expect(try isOther { _ = try edge.hasChanged() })
    #expect(try #require(try start()).contains("the database is gone"))
    #expect(!app.exists("app.db"))
    #expect(try isOther { _ = try edge.everything() }, "nothing is read meanwhile")
    try Data().write(to: URL(fileURLWithPath: app.path))
    #expect(try #require(try start()).contains("it is empty"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: app.path)).isEmpty)
    let connection = try AppDatabase.connect(app.path)
    try connection.inDatabase { try $0.execute(sql: "PRAGMA journal_mode = \(mode); CREATE TABLE settings (x)") }
    #expect(try #require(try start()).contains("none of the captured tables"))
    #expect(try connection.inDatabase { try Int.fetchOne($0, sql: "SELECT count(*) FROM sqlite_master") } == 1)
    try connection.inDatabase {
      try $0.execute(sql: "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (5)")
    }
    #expect(try start() == nil)
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 5: 5"])
    try connection.close()
  }

  // A database cut to nothing in its place keeps its name and inode.
  @Test func `a file that is cut to nothing is left alone until the app has made its tables`() throws {
    let app = try makeApp("delete")
    let edge = try app.attach(.table("t"))
    try app.connection.close()
    try overwrite(app.path, with: Data())
    #expect(try isOther { _ = try edge.hasChanged() })
    #expect { try edge.startEpoch(because: "of this test") } throws: { "\($0)".contains("none of the captured tables") }
    #expect(try Data(contentsOf: URL(fileURLWithPath: app.path)).isEmpty)
    let connection = try AppDatabase.connect(app.path)
    try connection.inDatabase {
      try $0.execute(sql: "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (5)")
    }
    try edge.startEpoch(because: "of this test")
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 5: 5"])
    try connection.close()
  }

  @Test func `a journal beside a new file, perhaps of the one before, is not rolled back into it`() throws {
    let app = try makeApp("delete")
    let edge = try app.attach(.table("t"))
    let backup = try copy(app)
    try app.connection.close()
    try Data("a journal".utf8).write(to: URL(fileURLWithPath: app.path + "-journal"))
    try PuttingBack.renaming.apply(backup, to: app)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: app.path))
    #expect(try isOther { _ = try edge.hasChanged() })
    #expect { try edge.startEpoch(because: "of this test") } throws: { "\($0)".contains("app.db-journal exists") }
    #expect(app.exists("app.db-journal"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: app.path)) == bytes)
  }

  @Test func `a folder that a link leads to elsewhere brings another database, whose lock is taken first`() throws {
    let (one, two) = (try makeApp("wal"), try makeApp("wal"))
    let links = try AppDatabase()
    let link = links.file("data")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: one.folder)
    var asked: [String] = []
    let edge = try EdgeDatabase(
      path: link + "/app.db", declarations: [.table("t")], willOpen: { asked.append(DatabaseFile.resolved($0)) })
    try two.run("INSERT INTO t (id) VALUES (9)")
    try FileManager.default.removeItem(atPath: link)
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: two.folder)
    #expect(try isOther { _ = try edge.hasChanged() })
    #expect { try edge.startEpoch(because: "of this test") } throws: { "\($0)".contains("it is new at this path") }
    #expect(asked.isEmpty)
    try edge.startEpoch(because: "of this test")
    #expect(asked == [DatabaseFile.resolved(two.path)])
    try edge.bringAll()
    #expect(try edge.waiting() == ["put 9: 9, NULL"])
    #expect(OutboxMemory.read(database: two.path)?.epoch == edge.epoch.text)
  }

  /// It may run for months at the end of a pipe.
  @Test(arguments: [PuttingBack.renaming, .removing, .movingAside], journalModes)
  func `what feeds the intake follows the file, or says that it is not attached`(way: PuttingBack, mode: String) throws
  {
    let app = try AppDatabase(journalMode: mode)
    _ = try app.attach([.fed("reading")])
    let backup = try copy(app)
    try app.connection.close()
    let intake = try Intake(path: app.path, stream: StreamName("reading"))
    #expect(try intake.insert([(nil, ArraySlice("1".utf8))]) == [nil])
    try way.apply(backup, to: app)
    #expect(try intake.insert([(nil, ArraySlice("2".utf8))]) == [nil])
    let connection = try AppDatabase.connect(app.path)
    #expect(try connection.inDatabase { try String.fetchAll($0, sql: "SELECT body FROM drover_outbox") } == ["2"])
    try connection.close()
    try FileManager.default.moveItem(atPath: app.path, toPath: app.file("aside.db"))
    #expect { try intake.insert([(nil, ArraySlice("3".utf8))]) } throws: { "\($0)".contains("there is no such file") }
  }

  // The agent went on with the WAL beside the old name, while an app looked for it beside the new one.
  @Test(arguments: [false, true])
  func `a path that becomes a link is noticed, to the same file too`(isSame: Bool) throws {
    let app = try AppDatabase("CREATE TABLE t (id)")
    let other = try AppDatabase("CREATE TABLE t (id)")
    try app.connection.inDatabase { database in
      var files = try OpenFiles(app.path, database)
      #expect(try files.change(database) == nil)
      let aside = app.file("aside.db")
      #expect(rename(app.path, aside) == 0 && symlink(isSame ? aside : other.path, app.path) == 0)
      let told = isSame ? "is a link to the file now" : "another file stands at"
      #expect(try files.change(database)?.contains(told) == true)
    }
  }
}
