import DroverCore
import DroverSQLite
import DroverTesting
import Foundation
import GRDB
import Synchronization
import Testing

/// The outbox's limits: what is refused at them, what is not, and that everybody comes to the same figures.
@Suite(.ownThread) struct OutboxSpaceTests {
  private static let kibibyte = "'\"\(String(repeating: "x", count: 1000))\"'"

  /// A disk that a test fills and empties.
  private final class Disk: Sendable {
    private let state: Mutex<FreeSpace>
    init(_ bytes: Int64, inodes: Int64? = nil) { state = Mutex(FreeSpace(bytes: bytes, inodes: inodes)) }
    func set(_ bytes: Int64, inodes: Int64? = nil) { state.withLock { $0 = FreeSpace(bytes: bytes, inodes: inodes) } }
    func free(_ path: String) -> FreeSpace? { state.withLock { $0 } }
  }

  private func attach(
    _ app: AppDatabase, _ quota: OutboxQuota, _ disk: Disk = Disk(1 << 40), retention: Retention = Retention(),
    warn: @escaping (String) -> Void = { _ in }
  ) throws -> EdgeDatabase {
    try EdgeDatabase(
      path: app.path, declarations: [.fed("f"), .table("t"), .table("fact", kind: .payload)], retention: retention,
      quota: quota, warn: warn, free: disk.free)
  }

  private func app() throws -> AppDatabase {
    try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE fact (id INTEGER PRIMARY KEY, a)")
  }

  private func put(_ app: AppDatabase, _ count: Int = 1) throws {
    try app.run("BEGIN")
    defer { try? app.run("COMMIT") }
    for _ in 0..<count { try app.run("INSERT INTO drover_intake (stream, body) VALUES ('f', \(Self.kibibyte))") }
  }

  /// Puts events of a kibibyte until one is refused. Returns how many were taken.
  @discardableResult private func fill(_ app: AppDatabase) throws -> Int {
    let before = try app.integer("SELECT count(*) FROM drover_outbox")
    _ = try? put(app, 5000)
    return try app.integer("SELECT count(*) FROM drover_outbox") - before
  }

  private func isRefused(_ app: AppDatabase, naming limit: String) throws {
    #expect { try put(app) } throws: {
      let text = "\($0)"
      return text.contains("drover: ") && text.contains(limit) && text.contains("drover status")
    }
  }

  // MARK: max_bytes

  @Test func `at max_bytes an INSERT into the intake is refused, without an agent too, and the app's tables never are`()
    throws
  {
    let app = try app()
    let edge = try attach(app, OutboxQuota(maxBytes: 1 << 20))
    try edge.watchSpace()
    let taken = try fill(app)
    #expect((900...960).contains(taken))
    try isRefused(app, naming: "outbox.max_bytes, 1 MiB")
    try app.run("INSERT INTO t VALUES (1, 2); UPDATE t SET a = 3; INSERT INTO fact VALUES (1, 1); DELETE FROM fact")
    #expect(try edge.everything().entries.count == taken + 2)
  }

  @Test func `the transaction of an app goes on after a refusal, and keeps what it wrote itself`() throws {
    let app = try app()
    let edge = try attach(app, OutboxQuota(maxBytes: 1 << 20))
    try edge.watchSpace()
    try fill(app)
    try Python.run(
      """
      connection = sqlite3.connect(sys.argv[1])
      connection.execute("INSERT INTO t VALUES (1, 1)")
      try:
          connection.execute("INSERT INTO drover_intake (stream, body) VALUES ('f', '1')")
          sys.exit("it was taken")
      except sqlite3.IntegrityError as error:
          assert "outbox.max_bytes" in str(error) and "drover status" in str(error), error
      connection.commit()
      """, app.path)
    #expect(try app.integer("SELECT count(*) FROM t") == 1)
  }

  @Test func `the intake opens when the cloud has confirmed a tenth, and not with the first event`() throws {
    let app = try app()
    let edge = try attach(app, OutboxQuota(maxBytes: 1 << 20), retention: Retention(bytes: 0))
    try edge.watchSpace()
    try fill(app)
    func confirm(through seq: Int64) throws {
      var settlement = Settlement()
      settlement.confirmed[1] = [1...seq]
      settlement.fronts[1] = seq
      try edge.settle(settlement)
      try edge.watchSpace()
    }
    try confirm(through: 50)
    try isRefused(app, naming: "outbox.max_bytes")
    try confirm(through: 200)
    try put(app)
  }

  @Test func `a limit that is raised opens the intake, and one that is lowered closes it`() throws {
    let app = try app()
    var edge = try attach(app, OutboxQuota(maxBytes: 1 << 20))
    try edge.watchSpace()
    try fill(app)
    edge = try attach(app, OutboxQuota(maxBytes: 11 << 17))
    try edge.watchSpace()
    try put(app)
    edge = try attach(app, OutboxQuota(maxBytes: 1 << 19))
    try edge.watchSpace()
    try isRefused(app, naming: "512 KiB")
    edge = try attach(app, OutboxQuota())
    try edge.watchSpace()
    try put(app)
  }

  @Test func `the operator hears of four fifths, of the limit and of room, and each once`() throws {
    let app = try app()
    let said = Mutex<[String]>([])
    let edge = try attach(app, OutboxQuota(maxBytes: 1 << 20), retention: Retention(bytes: 0)) { text in
      said.withLock { $0.append(text) }
    }
    for _ in 0..<3 { try edge.watchSpace() }
    #expect(said.withLock { $0 } == [])
    try put(app, 800)
    for _ in 0..<3 { try edge.watchSpace() }
    #expect(said.withLock { $0.count } == 1)
    #expect(said.withLock { $0[0] }.contains("scarce"))
    try fill(app)
    for _ in 0..<3 { try edge.watchSpace() }
    #expect(said.withLock { $0.count } == 2)
    #expect(said.withLock { $0[1] }.contains("emit and drover_intake are refused now"))
    try edge.confirmAll()
    for _ in 0..<3 { try edge.watchSpace() }
    #expect(said.withLock { $0.count } == 3)
    #expect(said.withLock { $0[2] }.contains("enough space again"))
    #expect(try app.integer("SELECT closings FROM drover_space") == 1)
  }

  @Test func `what is only retained makes room before anybody is refused`() throws {
    let app = try app()
    let edge = try attach(app, OutboxQuota(maxBytes: 1 << 20))
    for _ in 0..<5 {
      try put(app, 300)
      try edge.confirmAll()
      try edge.watchSpace()
    }
    // All confirmed and within the retention's own bounds, and still no reason to refuse what is new.
    #expect(try app.integer("SELECT count(*) FROM drover_outbox") <= 900)
    try put(app)
  }

  @Test func `nothing that is not confirmed is ever let go, however old and however much`() throws {
    let app = try app()
    let edge = try attach(
      app, OutboxQuota(maxBytes: 1 << 20), retention: Retention(bytes: 0, age: .zero))
    try put(app, 900)
    try app.run("UPDATE drover_outbox SET version = 1, synced = 1")
    try edge.watchSpace()
    var settlement = Settlement()
    settlement.confirmed[1] = [1...10, 21...30]
    settlement.fronts[1] = 10
    try edge.settle(settlement)
    try edge.watchSpace()
    #expect(try app.lines("SELECT min(seq), count(*) FROM drover_outbox WHERE seq <= 20") == ["11, 10"])
    #expect(try app.integer("SELECT count(*) FROM drover_outbox WHERE seq > 30") == 870)
  }

  // MARK: The disk

  @Test func `with too little free on its disk the intake is refused, and opens by itself`() throws {
    let app = try app()
    let disk = Disk(1 << 30)
    let edge = try attach(app, OutboxQuota(minFreeBytes: 64 << 20, minFreeInodes: 1000), disk)
    try edge.watchSpace()
    try put(app)
    disk.set(63 << 20)
    try edge.watchSpace()
    try isRefused(app, naming: "outbox.min_free_bytes, 64 MiB")
    try app.run("INSERT INTO t VALUES (1, 1)")
    disk.set(1 << 30, inodes: 999)
    try edge.watchSpace()
    try isRefused(app, naming: "outbox.min_free_inodes, 1000")
    disk.set(1 << 30, inodes: 5000)
    try edge.watchSpace()
    try put(app)
  }

  @Test func `a disk that an agent found full, and that nobody looks at any more, closes nothing after a minute`()
    throws
  {
    let app = try app()
    let disk = Disk(0)
    let edge = try attach(app, OutboxQuota(minFreeBytes: 1 << 20), disk)
    try edge.watchSpace()
    try isRefused(app, naming: "outbox.min_free_bytes")
    try app.run("UPDATE drover_space SET checked_at = checked_at - 61000000")
    try put(app)
    // Whoever finds it full again closes it again; the clock may have been put back meanwhile.
    try edge.watchSpace()
    try isRefused(app, naming: "outbox.min_free_bytes")
    try app.run("UPDATE drover_space SET checked_at = checked_at + 86400000000")
    try put(app)
  }

  // An outbox that had filled the disk and drained left its pages free within the file, and the disk as full as before.
  @Test func `pages that are free within the database are room`() throws {
    let app = try app()
    let disk = Disk(1 << 30)
    let edge = try attach(app, OutboxQuota(minFreeBytes: 1 << 20), disk, retention: Retention(bytes: 0))
    try put(app, 1500)
    disk.set((1 << 20) - 1)
    try edge.watchSpace()
    try isRefused(app, naming: "outbox.min_free_bytes")
    try edge.confirmAll()
    try edge.watchSpace()
    try put(app)
    // But they are no room for the journal beside the file.
    disk.set(1 << 18)
    try edge.watchSpace()
    try isRefused(app, naming: "outbox.min_free_bytes")
  }

  @Test func `the real disk is asked where nobody says otherwise`() throws {
    let app = try app()
    let free = try #require(FreeSpace.of(app.path))
    #expect(free.bytes > 0)
    #expect(FreeSpace.of("/nowhere/at/all/app.db") == nil)
  }

  // MARK: emit

  @Test func `emit looks at limits itself, tells the present measure, and counts what it was refused`() throws {
    let app = try app()
    _ = try attach(app, OutboxQuota(maxBytes: 1 << 20))
    let disk = Disk(1 << 30)
    let intake = try Intake(
      path: app.path, stream: StreamName("f"), quota: OutboxQuota(maxBytes: 1 << 20, minFreeBytes: 1 << 20),
      free: disk.free)
    func lines(_ count: Int) -> [(localID: String?, body: ArraySlice<UInt8>)] {
      (0..<count).map { _ in (nil, ArraySlice("\"\(String(repeating: "x", count: 1000))\"".utf8)) }
    }
    #expect(try intake.insert(lines(2)) == [nil, nil])
    disk.set(1 << 19)
    let crowdedOut = try intake.insert(lines(2) + [(nil, ArraySlice("{".utf8))])
    #expect(crowdedOut[0]?.contains("512 KiB are free for the database, and outbox.min_free_bytes is 1 MiB") == true)
    #expect(try app.integer("SELECT refused FROM drover_space") == 3)
    disk.set(1 << 30)
    #expect(try intake.insert(lines(1)) == [nil])
    let refusals = try intake.insert(lines(1000)).compactMap(\.self)
    #expect(refusals.count > 40)
    #expect(refusals.allSatisfy { $0.contains("the outbox takes 1 MiB, and outbox.max_bytes is 1 MiB") })
    #expect(try app.integer("SELECT refused FROM drover_space") == 3 + refusals.count)
    #expect(try app.integer("SELECT closings FROM drover_space") == 2)
  }

  // MARK: The sums

  /// What the tables hold, summed up from themselves.
  private static let truth = """
    SELECT (SELECT ifnull(sum(length(CAST(body AS BLOB)) + 100), 0) FROM drover_outbox WHERE body IS NOT NULL)
         + (SELECT ifnull(sum(ifnull(length(CAST(value AS BLOB)), 0) + 64), 0) FROM drover_kept)
    """

  @Test(arguments: UInt64(0)..<20)
  func `the sums are those of the tables, whatever has come and gone`(seed: UInt64) throws {
    var random = Seeded(seed)
    let app = try app()
    let quota = OutboxQuota(maxBytes: 1 << 40)
    var edge = try attach(app, quota, retention: Retention(bytes: 3000))
    let bodies = ["1", "\"ü\"", "{\"a\": \"\(String(repeating: "y", count: 500))\"}"]
    for _ in 0..<60 {
      switch Int.random(in: 0..<8, using: &random) {
      case 0, 1:
        try app.run("INSERT INTO drover_intake (stream, body) VALUES ('f', '\(bodies.randomElement(using: &random)!)')")
      case 2: try app.run("INSERT INTO fact VALUES (NULL, 'été'), (NULL, x'00ff'), (NULL, NULL)")
      case 3: try app.run("DELETE FROM fact WHERE id % 3 = \(Int.random(in: 0..<3, using: &random))")
      case 4: try app.run("INSERT OR REPLACE INTO t VALUES (\(Int.random(in: 0..<5, using: &random)), 1)")
      case 5:
        let read = try edge.everything()
        guard let entry = read.entries.randomElement(using: &random) else { continue }
        _ = try edge.moveToDeadLetters(
          UnsendableEvent(stream: entry.stream, seq: entry.seq, reason: .tooLarge, detail: "", bytes: 1))
      case 6:
        let letters = try EdgeDeadLetters(path: app.path, machine: MachineID("M"), readOnly: false)
        for letter in try letters.letters(DeadLetterFilter(), limit: 1) { _ = try letters.requeue(letter.id) }
      default:
        let last = try edge.everything().lastSeq
        guard last > 0 else { continue }
        var settlement = Settlement()
        for stream in 1...3 {
          let through = Int64.random(in: 1...last, using: &random)
          settlement.confirmed[stream] = [1...through]
          settlement.fronts[stream] = through
        }
        try edge.settle(settlement)
      }
      if random.percent(10) { edge = try attach(app, quota, retention: Retention(bytes: 3000)) }
      try edge.watchSpace()
      #expect(try app.integer("SELECT body_bytes FROM drover_space") == app.integer(Self.truth), "seed \(seed)")
    }
  }

  @Test func `entries of captured tables count when there may be an eighth more of them`() throws {
    let app = try app()
    let edge = try attach(app, OutboxQuota(maxBytes: 1 << 20))
    try app.run(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11000) INSERT INTO t SELECT i, i FROM n"
    )
    try edge.watchSpace()
    #expect(try app.integer("SELECT entries FROM drover_space") == 11_000)
    try isRefused(app, naming: "outbox.max_bytes")
    // The same rows again are the same entries.
    try app.run("UPDATE t SET a = 1")
    try edge.watchSpace()
    #expect(try app.integer("SELECT entries FROM drover_space") == 11_000)
    try edge.confirmAll()
    try edge.watchSpace()
    #expect(try app.integer("SELECT entries FROM drover_space") == 0)
    try put(app)
  }

  @Test func `an outbox that an older version left is summed up once`() throws {
    let app = try app()
    _ = try attach(app, OutboxQuota())
    try put(app, 3)
    try AppDatabase.connect(app.path).inDatabase {
      try $0.execute(sql: "DROP TABLE drover_space; DROP TRIGGER drover_intake_insert")
    }
    let edge = try attach(app, OutboxQuota(maxBytes: 1 << 30))
    try edge.watchSpace()
    try put(app)
    #expect(try app.integer("SELECT body_bytes FROM drover_space") == app.integer(Self.truth))
  }
}
