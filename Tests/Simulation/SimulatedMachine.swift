// One edge host: the app's database as a file, the app that writes to it, and the agent that is killed and started again.

import DroverCore
import DroverEdge
import DroverEvents
import DroverSQLite
import Foundation

final class SimulatedMachine {
  let id: MachineID
  let client: SimulatedClient
  /// What the app has committed.
  var facts = Facts()
  /// What it has of rows that come down; nil in a run without.
  let twoWay: TwoWayTables?

  private let path: String
  private let time: VirtualTime
  private let sqliteClock: SQLiteClock
  private let chance: Chance
  private let trace: Trace
  private let mistake: Mistake?
  private let willForget: (SimulatedMachine, Settlement) -> Void
  private var app: PlainDatabase
  private var life: Life?
  private var relay: EdgeRelay?
  private var store: FaultyEdgeStore?
  private var limits = RelayLimits()
  private(set) var starts: UInt64 = 0
  /// The epoch of its agent, as it was last looked at.
  private var lastEpoch: String?
  /// Something was put back, its database or the cloud's, for which one epoch may begin.
  private var hasReason = false
  /// What its wall clock is ahead of the true time, in microseconds.
  private var clockOffset: Int64 = 0
  private var backup: Facts?
  /// The epoch of the copy that its database was put back to, until another one begins: its numbers mean other events to the cloud.
  private var wentBackIn: String?
  var hasGoneBack: Bool { wentBackIn != nil }
  private(set) var frames = 0

  /// Whatever a clock does, nothing is too old for a cloud that was put back.
  private static let retention = Retention(bytes: 1 << 30, age: .seconds(1 << 33))

  private func declarations() throws -> [StreamDeclaration] {
    try Self.upStreams() + (twoWay?.form.declarations() ?? [])
  }

  private static func upStreams() throws -> [StreamDeclaration] {
    [
      StreamDeclaration(name: try StreamName("stock"), kind: .snapshot, table: "stock") { $0.syncedColumn = "synced" },
      StreamDeclaration(name: try StreamName("reading"), kind: .payload, table: "reading"),
      StreamDeclaration(name: try StreamName("note"), kind: .payload, table: nil),
      try StreamDeclaration(name: StreamName("lot"), kind: .batch, table: "lot") {
        $0.completeWhen = try Condition(parsing: "status = 1")
      },
    ]
  }

  init(
    id: MachineID, folder: String, broker: SimulatedBroker, time: VirtualTime, sqliteClock: SQLiteClock, chance: Chance,
    trace: Trace, mistake: Mistake?, twoWay: TwoWayForm?,
    willForget: @escaping (SimulatedMachine, Settlement) -> Void
  ) throws {
    self.id = id
    self.time = time
    self.sqliteClock = sqliteClock
    self.chance = chance
    self.trace = trace
    self.mistake = mistake
    self.willForget = willForget
    self.twoWay = twoWay.map { TwoWayTables($0, mistake: mistake) }
    path = "\(folder)/\(id).db"
    app = try PlainDatabase(path: path)
    client = SimulatedClient(
      id: "drover-edge-\(id)", broker: broker,
      subscriptions: [
        .init(filter: Topic.confirmFilter(for: id)), .init(filter: Topic.commandFilter(for: id)),
        .init(filter: Topic.downFilter(for: id)),
      ], will: EdgeRelay.lastWill(machine: id))
    try app.execute(
      """
      PRAGMA journal_mode = \(chance.random.pick(["wal", "delete", "truncate"]));
      PRAGMA synchronous = \(chance.random.pick(["off", "normal"]));
      CREATE TABLE stock (id INTEGER PRIMARY KEY, name TEXT, level REAL, code TEXT UNIQUE, synced INTEGER);
      CREATE TABLE reading (id INTEGER PRIMARY KEY, token TEXT, value);
      CREATE TABLE lot (id INTEGER PRIMARY KEY, weight REAL, status INTEGER);
      \(twoWay?.tables ?? "")
      """)
    client.onPublish = { [unowned self] message in
      guard case .events? = try? Topic(parsing: message.topic) else { return }
      frames += 1
    }
  }

  /// Microseconds since 1970 on the machine's own clock.
  var wall: Int64 { time.wall + clockOffset }

  // MARK: The app

  /// One transaction of the app's.
  func write(to workload: inout Workload) throws {
    sqliteClock.set(wall)
    if let twoWay, workload.random.percent(40) {
      let said = try twoWay.write(app, &workload.random, isAttached: starts > 0)
      trace("\(id): app: \(said.joined(separator: "; "))")
      if chance.random.percent(50) { relay?.hint.set() }
      return
    }
    let isAttached = starts > 0
    var after = facts
    var said: [String] = []
    func say(_ text: @autoclosure () -> String) { if trace.isOn { said.append(text()) } }
    try app.execute("BEGIN IMMEDIATE")
    for _ in 0..<workload.count() {
      do {
        let statement = try workload.statement(app, &after, isAttached: isAttached)
        say(statement.description)
      } catch let error as PlainError where error.isConstraint {
        say("refused")
      }
    }
    if workload.rollsBack() {
      say("ROLLBACK")
      try app.execute("ROLLBACK")
    } else {
      try app.execute("COMMIT")
      facts = after
    }
    trace("\(id): app: \(said.joined(separator: "; "))")
    if chance.random.percent(50) { relay?.hint.set() }
  }

  func migrate() throws {
    sqliteClock.set(wall)
    let count = try columns(of: "stock").count
    guard count < 8 else { return }
    try app.execute("ALTER TABLE stock ADD COLUMN extra\(count) INTEGER DEFAULT \(count)")
    trace("\(id): app: adds the column extra\(count)")
  }

  /// The app puts one of its tables aside, and goes on in a new one of the same name that has some of its rows, or none. IDs of readings begin
  /// at 1 again, unless all of them are copied.
  func rotate() throws {
    guard starts > 0 else { return }
    sqliteClock.set(wall)
    let table = chance.random.pick(["stock", "lot", "reading"])
    guard try !isUnreadable(table) else { return }
    let isBringing = try Workload.isBringing(table, app, isAttached: true)
    var kept = ["0", "id % 2", "1"][chance.below(3, for: .rotation)]
    var after = facts
    let isReading = table == "reading"
    if isReading {
      // Rows that no trigger saw are known to nobody once their table is put aside.
      guard try !Workload.isUncaptured(table, app, isAttached: true) else { return }
      if try app.integer("SELECT count(*) FROM reading")! < 2 { kept = "0" }
      if kept != "1" {
        kept = "0"
        after.rotateReadings(isBringing: isBringing)
      }
    }
    if table == "lot" {
      var final: [String] = []
      try app.rows("SELECT id FROM lot WHERE status = 1 AND NOT (\(kept))") { final.append($0.text(0)) }
      after.clearLots(final, isBringing: isBringing)
    }
    let creation = try app.text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = '\(table)'")!
    try app.execute(
      """
      BEGIN IMMEDIATE;
      DROP TABLE IF EXISTS \(table)_old;
      ALTER TABLE \(table) RENAME TO \(table)_old;
      \(creation);
      INSERT INTO \(table) SELECT * FROM \(table)_old WHERE \(kept);
      """)
    // The old table's triggers still write.
    if chance.below(2, for: .rotation) == 0, !(isReading && kept == "1") {
      try app.execute("DELETE FROM \(table)_old")
    }
    try app.execute("COMMIT")
    facts = after
    trace("\(id): app: rotates \(table), keeping \(kept)")
  }

  /// The app puts a column into one of its tables that only its own connections can read, or takes it out again. It goes on writing.
  func makeUnreadable() throws {
    sqliteClock.set(wall)
    let table = chance.random.pick(["stock", "lot", "reading"])
    if try isUnreadable(table) { return try makeReadable(table) }
    try app.execute("ALTER TABLE \(table) ADD COLUMN odd AS (\(PlainDatabase.ownFunction)(id)) VIRTUAL")
    trace("\(id): app: makes \(table) unreadable for others")
  }

  func makeAllReadable() throws {
    for table in ["stock", "lot", "reading"] where try isUnreadable(table) { try makeReadable(table) }
  }

  private func makeReadable(_ table: String) throws {
    try app.execute("ALTER TABLE \(table) DROP COLUMN odd")
    trace("\(id): app: makes \(table) readable again")
  }

  private func isUnreadable(_ table: String) throws -> Bool {
    try app.integer("SELECT count(*) FROM pragma_table_xinfo('\(table)') WHERE name = 'odd'")! > 0
  }

  /// Gaps in its capture that are not closed in the cloud, as far as it knows itself.
  func gaps() throws -> [String: String] {
    guard starts > 0 else { return [:] }
    var gaps: [String: String] = [:]
    try app.rows(
      """
      SELECT stream.name, capture.gap FROM drover_capture AS capture JOIN drover_stream AS stream ON stream.number = capture.stream
       WHERE capture.gap IS NOT NULL
      """
    ) { gaps[$0.text(0)] = $0.text(1) }
    return gaps
  }

  func stepClock() {
    let year: Int64 = 365 * 86_400 * 1_000_000
    clockOffset =
      switch chance.below(4, for: .edgeClockStep) {
      case 0: -time.wall + Int64(chance.below(1_000_000, for: .edgeClockStep))
      // Up to 2090.
      case 1: year * Int64(1 + chance.below(64, for: .edgeClockStep))
      case 2: -year * Int64(1 + chance.below(20, for: .edgeClockStep))
      default: 0
      }
    trace("\(id): its clock says \(Timestamp.text(microseconds: wall))")
  }

  // MARK: The agent

  var isRunning: Bool { relay != nil && !isKilled }
  /// A fault has ended the process, and the simulation has to take it away.
  var isKilled: Bool { life?.isOver ?? false }

  func start() {
    sqliteClock.set(wall)
    starts += 1
    if starts == 1 || chance.random.percent(30) { configure() }
    let life = Life { [unowned self] in client.link?.isDead = true }
    let label = "\(id)"
    do {
      let database = try EdgeDatabase(
        path: path, declarations: declarations(), retention: Self.retention,
        warn: { [trace] in trace("\(label): \($0)") }, random: { [chance] in chance.random.next() })
      let store = FaultyEdgeStore(database, chance: chance, life: life, mistake: mistake) { [unowned self] in
        willForget(self, $0)
      }
      store.willSend = { [unowned self] in
        twoWay?.read(&$0, epoch: database.epoch, streams: database.streams, wall: wall)
      }
      store.didApply = { [unowned self] in try twoWay?.didApply($0, app, streams: database.streams) }
      let relay = try EdgeRelay(
        machine: id, store: store, limits: limits, software: "simulation", logger: trace.logger(label),
        wallClock: { [unowned self] in wall }, clock: { [time] in time.now },
        random: { [chance] in chance.random.next() })
      self.life = life
      self.relay = relay
      self.store = store
      client.run(relay)
      trace("\(id): starts")
    } catch {
      trace("\(id): does not start: \(error)")
    }
  }

  /// An operator may change the limits between two runs.
  private func configure() {
    limits.window.events = .random(in: 1...40, using: &chance.random)
    limits.window.bytes = .random(in: 200...8000, using: &chance.random)
    limits.readEvents = .random(in: 1...20, using: &chance.random)
    limits.liveLag = .random(in: 3...60, using: &chance.random)
    limits.frame.events = .random(in: 1...8, using: &chance.random)
    limits.frame.bytes = .random(in: 100...2000, using: &chance.random)
    limits.readBytes = .random(in: 200...4000, using: &chance.random)
  }

  @discardableResult func turn() -> Duration {
    sqliteClock.set(wall)
    defer { reap() }
    return client.turn(now: time.now)
  }

  @discardableResult func hear(atMost count: Int) -> Bool {
    sqliteClock.set(wall)
    defer { reap() }
    return client.hear(atMost: count)
  }

  func connect() {
    sqliteClock.set(wall)
    client.connect()
    reap()
  }

  func kill() {
    trace("\(id): is killed")
    client.kill()
    relay = nil
    store = nil
    life = nil
  }

  /// SIGTERM, and what SessionLoop does then.
  func stop() {
    guard let relay else { return }
    sqliteClock.set(wall)
    for _ in 0..<3 where !relay.isDrained() { client.turn(now: time.now) }
    client.leave()
    trace("\(id): stops")
    self.relay = nil
    store = nil
    life = nil
  }

  /// Two-way rows are sent again without an edit, as a repair has them sent.
  func sendTwoWayRowsAgain() {
    guard let store, let stream = store.streams.first(where: { $0.name.text == "product" }) else { return }
    sqliteClock.set(wall)
    defer { reap() }
    try? store.enter((0..<6).map { [.integer($0)] }, stream: stream.number)
    trace("\(id): sends product again")
  }

  private func reap() { if isKilled { kill() } }

  // MARK: Backups

  func makeBackup() throws {
    for suffix in ["", "-wal", "-drover.state"] {
      try FileManager.default.removeItemIfThere(atPath: path + ".backup" + suffix)
      guard FileManager.default.fileExists(atPath: path + suffix) else { continue }
      try FileManager.default.copyItem(atPath: path + suffix, toPath: path + ".backup" + suffix)
    }
    backup = starts > 0 ? facts : nil
  }

  func restoreBackup() throws {
    guard let backup else { return }
    if relay != nil { kill() }
    app = try PlainDatabase(path: ":memory:")
    // The database alone, its whole folder, or without the file that remembers.
    let remembers = chance.below(3, for: .edgeRollback)
    for suffix in ["", "-wal", "-shm"] + (remembers > 0 ? ["-drover.state"] : []) {
      try FileManager.default.removeItemIfThere(atPath: path + suffix)
    }
    for suffix in ["", "-wal"] + (remembers == 1 ? ["-drover.state"] : [])
    where FileManager.default.fileExists(atPath: path + ".backup" + suffix) {
      try FileManager.default.copyItem(atPath: path + ".backup" + suffix, toPath: path + suffix)
    }
    app = try PlainDatabase(path: path)
    didGoBack(to: backup)
    trace(
      "\(id): its database is put back to a copy, \(["and nothing else", "with its memory", "without its memory"][remembers])"
    )
  }

  private func didGoBack(to backup: Facts) {
    facts.goBack(to: backup)
    wentBackIn = epoch
    lastEpoch = epoch
    hasReason = true
  }

  /// While the agent goes on, if it runs.
  func restoreLive() throws {
    guard let backup else { return }
    let way = chance.below(4, for: .edgeRestoredLive)
    if way < 2 {
      try app.restore(from: path + ".backup")
    } else {
      let new = path + ".new"
      try FileManager.default.removeItemIfThere(atPath: new)
      try PlainDatabase(path: new).restore(from: path + ".backup")
      // The app has closed the file, as it has to.
      app = try PlainDatabase(path: ":memory:")
      for suffix in ["-wal", "-shm"] { try FileManager.default.removeItemIfThere(atPath: path + suffix) }
      guard rename(new, path) == 0 else { throw CocoaError(.fileWriteUnknown) }
      app = try PlainDatabase(path: path)
    }
    let state = path + ".backup-drover.state"
    if way % 2 == 1, FileManager.default.fileExists(atPath: state) {
      try FileManager.default.removeItemIfThere(atPath: path + "-drover.state")
      try FileManager.default.copyItem(atPath: state, toPath: path + "-drover.state")
    }
    didGoBack(to: backup)
    trace(
      "\(id): its database is \(way < 2 ? "put back in its place to" : "replaced by") a copy under the agent, \(way % 2 == 1 ? "with its memory" : "and nothing else")"
    )
  }

  /// The cloud was put back to a copy.
  func cloudWentBack() {
    facts.forgetDeleted()
    hasReason = true
  }

  // MARK: What the invariants ask

  /// The epoch that has begun since this was asked last, and the one before it, where nothing was put back for which one may begin.
  func epochForNothing() -> (before: String, new: String)? {
    guard starts > 0, let epoch, epoch != lastEpoch else { return nil }
    defer {
      lastEpoch = epoch
      hasReason = false
    }
    guard let lastEpoch, !hasReason else { return nil }
    return (lastEpoch, epoch)
  }

  struct Entry {
    var seq: Int64
    var stream: String
    var version: Int64
    var key: String
  }

  /// The outbox as it is now, whoever has read it.
  func outbox() throws -> [Entry] {
    guard starts > 0 else { return [] }
    var entries: [Entry] = []
    try app.rows(
      """
      SELECT outbox.seq, stream.name, outbox.version,
             CAST(outbox.key AS TEXT) || iif(outbox.life = '', '', '/' || outbox.life)
        FROM drover_outbox AS outbox JOIN drover_stream AS stream ON stream.number = outbox.stream ORDER BY outbox.seq
      """
    ) { entries.append(Entry(seq: $0.integer(0), stream: $0.text(1), version: $0.integer(2), key: $0.text(3))) }
    return entries
  }

  /// Entries that are not confirmed, and tables whose rows are still brought.
  func waitingCount() throws -> Int64 {
    guard starts > 0 else { return 1 }
    return try app.integer(
      """
      SELECT (SELECT count(*) FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
               WHERE entry.seq > stream.confirmed_through)
           + (SELECT count(*) FROM drover_stream WHERE backfill = 'running')
      """)!
  }

  /// What waits and why, for a person.
  func waitingText() -> String {
    var lines: [String] = []
    try? app.rows(
      """
      SELECT stream.name, stream.confirmed_through, group_concat(entry.seq || ' ' || entry.op || iif(entry.synced, ' synced', ''), ', ')
        FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
       WHERE entry.seq > stream.confirmed_through GROUP BY 1
      """
    ) { lines.append("\($0.text(0)), confirmed through \($0.text(1)): \($0.text(2))") }
    try? app.rows("SELECT name FROM drover_stream WHERE backfill = 'running'") {
      lines.append("\($0.text(0)) is brought")
    }
    let window = window.map { "\($0.events) events in the window" } ?? "it does not run"
    return "\(id): \(lines.isEmpty ? "nothing" : lines.joined(separator: "; ")); \(window)"
  }

  /// Whether sequence numbers may mean something else to the cloud, which nobody has noticed yet.
  var isAmbiguous: Bool { wentBackIn != nil && wentBackIn == epoch }

  var epoch: String? { try? app.text("SELECT value FROM drover_meta WHERE name = 'epoch'") }

  func columns(of table: String) throws -> [String] {
    var columns: [String] = []
    try app.rows("SELECT name FROM pragma_table_info('\(table)')") { columns.append($0.text(0)) }
    return columns
  }

  /// The rows of `stock` or `lot`, each as one text, by key.
  func rows(of table: String, columns: [String]) throws -> [String: String] {
    var result: [String: String] = [:]
    try app.rows("SELECT id, \(quotedRow(columns)) FROM \(table)") { result[$0.text(0)] = $0.text(1) }
    return result
  }

  func hasRow(_ key: String, in table: String) throws -> Bool {
    try app.integer("SELECT 1 FROM \(table) WHERE id = \(key)") != nil
  }

  /// The texts of a two-way table.
  func texts(of table: String) throws -> TwoWayTexts { try TwoWayEditor.texts(app, table, owner: nil) }

  /// The texts of rows with an edit that no frame was made of.
  func unsentTexts(of stream: String) throws -> [String] {
    guard starts > 0 else { return [] }
    var texts: [String] = []
    try app.rows(
      """
      SELECT app.log FROM \(stream) AS app WHERE app.id IN (
        SELECT entry.key FROM drover_outbox AS entry JOIN drover_stream AS stream ON stream.number = entry.stream
         WHERE stream.name = '\(stream)' AND entry.synced = 0)
      """
    ) { texts.append($0.text(0)) }
    return texts
  }

  /// Rows that came down and that the app's table refuses, with why.
  func refusedRows(of stream: String) throws -> [String: String] {
    guard starts > 0 else { return [:] }
    var rows: [String: String] = [:]
    try app.rows(
      """
      SELECT letter.key, letter.reason FROM drover_dead_letter AS letter JOIN drover_stream AS stream ON stream.number = letter.stream
       WHERE letter.direction = 'down' AND stream.name = '\(stream)'
      """
    ) { rows[$0.text(0)] = $0.text(1) }
    return rows
  }

  func keptCount() throws -> Int64 { try app.integer("SELECT count(*) FROM drover_kept")! }

  /// Rows whose flag does not say what is so: all has arrived.
  func unflaggedCount() throws -> Int64 { try app.integer("SELECT count(*) FROM stock WHERE synced IS NOT 1")! }

  /// Whether a frame waits to be sent again: a hole may stay open behind an outbox that is empty.
  var hasIntervalsAgain: Bool { relay?.hasIntervalsAgain ?? false }

  /// Whether it waits for the cloud to say what it holds: an outbox that is empty may have to be sent once more.
  var doubtsCloud: Bool { relay?.doubtsCloud ?? false }

  /// How much is unconfirmed outside of the machine's disk, and how much may be.
  var window: (events: Int, bytes: Int, limits: RelayLimits)? {
    relay.map { ($0.outstanding.events, $0.outstanding.bytes, limits) }
  }
}

extension FileManager {
  func removeItemIfThere(atPath path: String) throws {
    if fileExists(atPath: path) { try removeItem(atPath: path) }
  }
}
