// The cloud: one database file, and consumers that serve it one after the other.

import DroverCloud
import DroverCore
import DroverSQLite
import DroverWire
import Foundation

final class SimulatedCloud {
  let path: String
  private let time: VirtualTime
  private let chance: Chance
  private let trace: Trace
  private let limits: MachineLimits
  private let mistake: Mistake?
  private let didCommit: () -> Void
  private let clients: [SimulatedClient]
  private var serving = 0
  private var life: Life?
  private var consumer: Consumer?
  /// What its wall clock is ahead of the true time, in microseconds.
  private var clockOffset: Int64 = 0
  /// The person who edits rows.
  private let person: TwoWayPerson
  /// Frames with rows that went down.
  private(set) var downFrames = 0

  init(
    folder: String, broker: SimulatedBroker, time: VirtualTime, chance: Chance, trace: Trace,
    limits: MachineLimits, mistake: Mistake?, didCommit: @escaping () -> Void
  ) {
    path = "\(folder)/cloud.db"
    person = TwoWayPerson(path: path, mistake: mistake)
    self.time = time
    self.chance = chance
    self.trace = trace
    self.limits = limits
    self.mistake = mistake
    self.didCommit = didCommit
    clients = ["drover-cloud", "drover-cloud-2"].map {
      SimulatedClient(id: $0, broker: broker, subscriptions: [.init(filter: Topic.everything, noLocal: true)])
    }
    for client in clients {
      client.onPublish = { [unowned self] message in
        if case .down? = try? Topic(parsing: message.topic) { downFrames += 1 }
      }
    }
  }

  var client: SimulatedClient { clients[serving] }
  var isRunning: Bool { consumer != nil }
  private var wall: Int64 { time.wall + clockOffset }

  func start() {
    let life = Life { [unowned self] in client.link?.isDead = true }
    do {
      let database = try SQLiteCloudStore(
        path: path, limits: CloudStoreLimits(streamsPerMachine: limits.streams, machine: limits),
        now: { [unowned self] in wall })
      let store = FaultyCloudStore(database, chance: chance, life: life, mistake: mistake) { [unowned self] in
        if mistake == .equalVersionWins { makeEqualVersionsWin() }
        didCommit()
      }
      let consumer = Consumer(
        store: store, limits: .init(machine: limits), logger: trace.logger("cloud"),
        wallClock: { [unowned self] in wall })
      self.life = life
      self.consumer = consumer
      client.run(consumer)
      trace("cloud: \(client.id) starts")
    } catch {
      trace("cloud: does not start: \(error)")
    }
  }

  @discardableResult func turn() -> Duration {
    defer { reap() }
    return client.turn(now: time.now)
  }

  @discardableResult func hear(atMost count: Int) -> Bool {
    defer { reap() }
    return client.hear(atMost: count)
  }

  func connect() {
    client.connect()
    reap()
  }

  func kill() {
    trace("cloud: is killed")
    client.kill()
    consumer = nil
    life = nil
  }

  func stop() {
    guard let consumer else { return }
    for _ in 0..<3 where !consumer.isDrained() { client.turn(now: time.now) }
    client.leave()
    trace("cloud: stops")
    self.consumer = nil
    life = nil
  }

  /// The other client ID takes over.
  func move() {
    stop()
    serving = 1 - serving
  }

  func stepClock() {
    let year: Int64 = 365 * 86_400 * 1_000_000
    clockOffset = [0, year, -year, year * 64, -time.wall][chance.below(5, for: .cloudClockStep)]
    trace("cloud: its clock says \(Timestamp.text(microseconds: wall))")
  }

  /// The store's own statement says `>`. A row that has the version of the event takes itself away before it, as if it said `>=`.
  private func makeEqualVersionsWin() {
    guard let database = try? PlainDatabase(path: path) else { return }
    for (stream, id) in [("stock", "id"), ("gauge", "local_id")] {
      try? database.execute(
        """
        CREATE TRIGGER IF NOT EXISTS \(stream)_mistake BEFORE INSERT ON \(stream) BEGIN
          DELETE FROM \(stream) WHERE machine_id = NEW.machine_id AND \(id) = NEW.\(id)
             AND (drover_epoch, drover_version) = (NEW.drover_epoch, NEW.drover_version);
        END
        """)
    }
  }

  private func reap() { if life?.isOver ?? false { kill() } }

  // MARK: Gaps

  func closedGaps(of machine: MachineID) throws -> [String: String] {
    guard FileManager.default.fileExists(atPath: path) else { return [:] }
    var closed: [String: String] = [:]
    try PlainDatabase(path: path, readOnly: true).rows(
      "SELECT stream, closed FROM drover_gap WHERE machine_id = '\(machine)' AND closed IS NOT NULL"
    ) { closed[$0.text(0)] = $0.text(1) }
    return closed
  }

  /// Has all of the stream's rows that are here sent again, if the machine has told of the gap, and notes that it is closed.
  func compare(_ machine: MachineID, stream: String, gap: String) throws -> OutboundMessage? {
    let replica = try SQLiteReplica(path: path, now: { [unowned self] in wall })
    guard
      let found = try replica.gaps().first(where: {
        $0.gap == gap && $0.stream.machine == machine && $0.stream.stream.text == stream
      })
    else { return nil }
    var ids: [String] = []
    try replica.survey(found.stream) { key, _ in ids.append(LocalIDCodec.text(key: key, schema: found.stream.schema)) }
    if found.stream.schema.kind == .payload { ids = [] }
    try replica.note(gap: gap, isClosed: true, of: found.stream)
    trace("cloud: \(stream) of \(machine) is compared after a gap")
    return OutboundMessage(
      topic: Topic.command(machine, name: "stream").text,
      payload: StreamRequest(
        id: "1", stream: found.stream.stream, schema: found.stream.schema.id, question: .sendAgain(ids)
      ).document)
  }

  // MARK: People

  /// Rows are edited with an SQL client.
  func edit(_ machine: SimulatedMachine) throws {
    guard let tables = machine.twoWay else { return }
    let said = try person.edit(machine.id, tables, &chance.random)
    if !said.isEmpty { trace("cloud: a person edits \(machine.id): \(said.joined(separator: "; "))") }
  }

  /// Changes the rows that a machine's table refuses. False where there are none.
  func mend(_ machine: SimulatedMachine) throws -> Bool {
    guard let tables = machine.twoWay else { return false }
    let rows = try machine.refusedRows(of: "product").keys.sorted()
    let said = try person.mend(machine.id, tables, rows)
    if !said.isEmpty { trace("cloud: a person mends \(machine.id): \(said.joined(separator: "; "))") }
    return !rows.isEmpty
  }

  /// What goes down and was not confirmed, and edits that wait for the consumer.
  func downWaiting() throws -> Int64 { try person.waiting() }

  /// What the store has of a machine's two-way table: the texts of its rows, and those of its conflicts.
  func twoWayTexts(of machine: MachineID) throws -> (rows: [String], listed: [String]) {
    try person.texts(of: machine)
  }

  // MARK: Backups

  func makeBackup() throws {
    for suffix in ["", "-wal"] { try FileManager.default.removeItemIfThere(atPath: path + ".backup" + suffix) }
    for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: path + suffix) {
      try FileManager.default.copyItem(atPath: path + suffix, toPath: path + ".backup" + suffix)
    }
  }

  func restoreBackup() throws {
    person.leave()
    for suffix in ["", "-wal", "-shm"] { try FileManager.default.removeItemIfThere(atPath: path + suffix) }
    for suffix in ["", "-wal"] where FileManager.default.fileExists(atPath: path + ".backup" + suffix) {
      try FileManager.default.copyItem(atPath: path + ".backup" + suffix, toPath: path + suffix)
    }
    trace("cloud: its database is put back to a copy")
  }
}
