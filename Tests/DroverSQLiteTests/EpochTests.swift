import DroverCore
import Foundation
import GRDB
import Testing

@testable import DroverSQLite

/// Runs of the agent, and the file beside the database that remembers them.
@Suite struct EpochTests {
  private static let file = "app.db-drover.state"

  private func makeApp() throws -> AppDatabase { try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)") }

  /// A start of the agent; the one before is over.
  private func start(_ app: AppDatabase) throws -> EdgeDatabase {
    try EdgeDatabase(path: app.path, declarations: [.table("t")], random: { 0 })
  }

  private func state(_ app: AppDatabase) throws -> String {
    try String(contentsOfFile: app.file(Self.file), encoding: .utf8)
  }

  private func remember(_ text: String, _ app: AppDatabase) throws {
    try text.write(toFile: app.file(Self.file), atomically: true, encoding: .utf8)
  }

  @Test func `each start is a run above the ones before, and all are known with what they have read`() throws {
    let app = try makeApp()
    var numbers: [Int64] = []
    var epochs: Set<String> = []
    for number in 1...3 {
      let edge = try start(app)
      numbers.append(edge.runs.newest!.number)
      epochs.insert(edge.epoch.text)
      #expect(edge.runs.newest!.reached == 0)
      try app.run("INSERT INTO t VALUES (\(number))")
      #expect(try edge.everything().entries.count == number)
      #expect(edge.runs.newest!.reached == Int64(number))
    }
    #expect(epochs.count == 1)
    #expect(numbers == numbers.sorted() && Set(numbers).count == 3)
    #expect(try start(app).runs.list.dropLast().map(\.reached) == [0, 1, 2, 3])
  }

  @Test func `a run is above the last one also where the clock has gone back`() throws {
    let app = try makeApp()
    let first = try start(app)
    let ahead = first.runs.newest!.number + 1_000_000_000_000
    try remember(state(app).replacing("\(first.runs.newest!.number)", with: "\(ahead)"), app)
    #expect(try start(app).runs.newest!.number == ahead + 1)
  }

  // An empty frame says that something is superseded: that has to be known as well.
  @Test func `what was read to close a hole counts as read`() throws {
    let app = try makeApp()
    let edge = try start(app)
    try app.run("INSERT INTO t VALUES (1)")
    _ = try edge.read(.fresh(after: 5, through: .max, limit: 10), maximumBytes: .max)
    #expect(edge.runs.newest!.reached == 0, "nothing came of it")
    _ = try edge.read(.again(stream: 1, interval: Interval(after: 5, through: 6), limit: 10), maximumBytes: .max)
    #expect(edge.runs.newest!.reached == 1)
  }

  @Test func `how far a run has read is known after its death, without a settlement`() throws {
    let app = try makeApp()
    let edge = try start(app)
    for id in 1...5 {
      try app.run("INSERT INTO t VALUES (\(id))")
      _ = try edge.everything()
      #expect(OutboxMemory.read(database: app.path)?.runs == edge.runs)
    }
    try app.run("INSERT INTO t VALUES (6)")
    #expect(try start(app).runs.list.contains(Run(number: edge.runs.newest!.number, reached: 5)))
  }

  @Test func `of a note that was cut short the one before it counts, wherever it was cut`() throws {
    let app = try makeApp()
    let edge = try start(app)
    try app.run("INSERT INTO t VALUES (1)")
    _ = try edge.everything()
    var before = try Data(contentsOf: URL(fileURLWithPath: app.file(Self.file)))
    for id in 2...4 {
      try app.run("INSERT INTO t VALUES (\(id))")
      _ = try edge.everything()
      let after = try Data(contentsOf: URL(fileURLWithPath: app.file(Self.file)))
      #expect(after.count == before.count)
      for cut in 0...after.count {
        let torn = try #require(String(data: after.prefix(cut) + before.dropFirst(cut), encoding: .utf8))
        let reached = try #require(OutboxMemory(text: torn)?.runs.newest?.reached)
        #expect(reached == Int64(id) || reached == Int64(id - 1), "cut at \(cut)")
      }
      before = after
    }
  }

  @Test func `a file of an agent that knew of no runs is read, and what there is counts as sent by it`() throws {
    let app = try makeApp()
    var edge = try start(app)
    try app.run("INSERT INTO t VALUES (1), (2)")
    let words = try state(app).split(whereSeparator: \.isWhitespace)
    try remember("\(words[0]) \(words[1])\n", app)
    let epoch = edge.epoch
    edge = try start(app)
    #expect(edge.epoch == epoch)
    #expect(edge.runs.list.first == Run(number: 0, reached: 2))
  }

  @Test(arguments: ["", "x", "3f 1\n5\n", "3f 1\n5\n1 2 3\n1 2 3\n", "3f 1\n5 6 7\n"])
  func `a file that makes no sense is as good as none`(text: String) throws {
    let app = try makeApp()
    let epoch = try start(app).epoch
    try remember(text, app)
    #expect(try start(app).epoch != epoch)
  }

  /// The database alone goes back, between two settlements: the generation says nothing.
  @Test(arguments: [
    ("nothing was written since", []), ("as much was written since", [8, 9]), ("more was written since", [8, 9, 10]),
  ])
  func `a database behind what was read of it begins a new epoch`(what: String, ids: [Int]) throws {
    let app = try makeApp()
    let edge = try start(app)
    try app.run("VACUUM INTO '\(app.file("backup.db"))'")
    try app.run("INSERT INTO t VALUES (1), (2)")
    _ = try edge.everything()
    let epoch = edge.epoch
    try app.run("DELETE FROM t; DELETE FROM drover_outbox")
    try app.connection.inDatabase { database in
      try database.execute(sql: "ATTACH '\(app.file("backup.db"))' AS backup")
      try database.execute(
        sql: "UPDATE drover_clock SET (seq, version) = (SELECT seq, version FROM backup.drover_clock)")
      for id in ids { try database.execute(sql: "INSERT INTO t VALUES (\(id))") }
    }
    #expect(try start(app).epoch != epoch, "\(what)")
  }

  @Test func `a database that went on by itself begins no other epoch`() throws {
    let app = try makeApp()
    let edge = try start(app)
    try app.run("INSERT INTO t VALUES (1), (2)")
    _ = try edge.everything()
    try app.run("INSERT INTO t VALUES (3)")
    #expect(try start(app).epoch == edge.epoch)
    let again = try start(app)
    try again.confirmAll()
    #expect(try start(app).epoch == edge.epoch)
  }

  @Test func `a new epoch knows of no run but the present one`() throws {
    let app = try makeApp()
    _ = try start(app)
    let edge = try start(app)
    let run = edge.runs.newest!.number
    try edge.startEpoch(because: "of this test")
    #expect(edge.runs == Runs([Run(number: 0, reached: 0), Run(number: run, reached: 0)]))
    #expect(OutboxMemory.read(database: app.path)?.runs == edge.runs)
  }
}
