// Runs a case on the real road: the app's file, capture, frames, the consumer, the cloud's file. Then both tables are read as SQLite has them
// and compared value for value and type for type.

import DroverCloud
import DroverCore
import DroverSQLite
import DroverTesting
import DroverWire
import Foundation
import GRDB
import Logging

/// How a case broke the promise.
struct ReplicaFailure: Error, CustomStringConvertible {
  enum Sort { case difference, deadLetter, error }
  let sort: Sort
  let detail: String
  /// What the app had done until then.
  let script: [String]

  var description: String { "\(sort): \(detail)\n\(script.map { $0 + ";" }.joined(separator: "\n"))" }
}

final class ReplicaRun {
  enum Outcome {
    /// - Parameter rows: how many were compared in all.
    case held(rows: Int)
    /// Drover said that it cannot capture the table.
    case refused(String)
    case broken(ReplicaFailure)
  }

  /// Changes values on their way into the encoder: a planted mistake. As it is: none.
  typealias Damage = (Value) -> Value

  private let plan: ReplicaCase
  private let damage: Damage
  private let app: AppDatabase
  private let consumer: Consumer
  private let cloud: DatabaseQueue
  /// Who follows the cloud's change feed, in every second case.
  private var follower: Follower?
  private var edge: EdgeDatabase?
  private var described: SchemaID?
  private var names: [Int: String]
  private var script: [String] = []
  /// Of facts: how many there were since Drover is there, each time that a key was used counted.
  private var facts = 0
  private var syncs = 0
  private var rows = 0

  /// - Throws: what the machine lacks for any test; what the case breaks is in the outcome.
  static func outcome(of plan: ReplicaCase, damage: @escaping Damage = { $0 }) throws -> Outcome {
    let run = try ReplicaRun(plan, damage)
    do {
      try run.run()
      return .held(rows: run.rows)
    } catch let failure as ReplicaFailure {
      return .broken(failure)
    } catch EdgeStoreError.failed(let text) where text.contains("its columns hide the rowid") {
      return .refused(text)
    } catch {
      return .broken(ReplicaFailure(sort: .error, detail: "\(error)", script: run.script))
    }
  }

  private init(_ plan: ReplicaCase, _ damage: @escaping Damage) throws {
    self.plan = plan
    self.damage = damage
    names = Dictionary(uniqueKeysWithValues: plan.table.columns.map { ($0.number, $0.name) })
    app = try AppDatabase("PRAGMA synchronous = OFF", in: Self.folder)
    let path = app.file("cloud.db")
    try EmptyStore.copy(to: path)
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let store = try SQLiteCloudStore(path: path)
    if plan.seed.isMultiple(of: 2) {
      _ = try store.keepFeed(true)
      follower = try Follower(SQLiteChangeReader(path: path), SQLiteCloudReader(path: path), seed: plan.seed)
    }
    consumer = Consumer(store: store, limits: .init(), logger: logger, wallClock: SQLiteCloudStore.wallClock)
    cloud = try QueryPlans.ofTest { try DatabaseQueue(path: path) }
  }

  /// In memory where there is such a place: thousands of cases would mostly wait for the disk, which is no part of the question.
  private static let folder =
    FileManager.default.isWritableFile(atPath: "/dev/shm")
    ? URL(filePath: "/dev/shm") : FileManager.default.temporaryDirectory

  private func run() throws {
    // What SQLite does not take as a table is no case.
    guard execute(plan.table.sql) else { return }
    if plan.attachesFirst { try attach() }
    for step in plan.steps + [.sync] { try take(step) }
    try follower?.expectStore("seed \(plan.seed): \(script.joined(separator: "; "))")
  }

  // MARK: The app

  private func take(_ step: ReplicaStep) throws {
    switch step {
    case .sync: try sync()
    case .transaction(let steps, let ending):
      guard execute("BEGIN") else { return }
      for step in steps { try take(step) }
      // A conflict clause may have ended it.
      if !execute(ending) { execute("ROLLBACK") }
    case .savepoint(let steps, let isRolledBack):
      guard execute("SAVEPOINT s") else { return }
      for step in steps { try take(step) }
      if isRolledBack { execute("ROLLBACK TO s") }
      execute("RELEASE s")
    case .addColumn(let column):
      names[column.number] = column.name
      if !execute("ALTER TABLE \(table) ADD COLUMN \(column.sql(names: names))") { names[column.number] = nil }
    case .renameColumn(let number, let new):
      guard let old = names[number] else { return }
      let sql = "ALTER TABLE \(table) RENAME COLUMN \(ReplicaCase.quoted(old)) TO \(ReplicaCase.quoted(new))"
      if execute(sql) { names[number] = new }
    case .dropColumn(let number):
      guard let name = names[number] else { return }
      if execute("ALTER TABLE \(table) DROP COLUMN \(ReplicaCase.quoted(name))") { names[number] = nil }
    case .insert where plan.kind == .payload: if let sql = sql(of: step) { insertFact(sql) }
    default: if let sql = sql(of: step) { execute(sql) }
    }
  }

  private var table: String { ReplicaCase.quoted(plan.table.name) }

  /// Nil where all that the statement speaks of is gone.
  private func sql(of step: ReplicaStep) -> String? {
    switch step {
    case .insert(let conflict, let values, let update):
      let values = present(values)
      let head = "INSERT \(conflict.isEmpty ? "" : "OR \(conflict) ")INTO \(table)"
      guard !values.isEmpty else { return "\(head) DEFAULT VALUES" }
      let sql =
        "\(head) (\(values.map(\.name).joined(separator: ", "))) VALUES (\(values.map(\.value).joined(separator: ", ")))"
      guard let update = update.map(present), !update.isEmpty else { return sql }
      return "\(sql) ON CONFLICT DO UPDATE SET \(list(update))"
    case .update(let conflict, let set, let condition):
      let set = present(set)
      guard !set.isEmpty else { return nil }
      return "UPDATE \(conflict.isEmpty ? "" : "OR \(conflict) ")\(table) SET \(list(set))\(sql(of: condition))"
    case .delete(let condition): return "DELETE FROM \(table)\(sql(of: condition))"
    case .uniqueIndex(let columns):
      let columns = columns.compactMap { names[$0].map(ReplicaCase.quoted) }
      return columns.isEmpty ? nil : "CREATE UNIQUE INDEX added ON \(table) (\(columns.joined(separator: ", ")))"
    default: return nil
    }
  }

  private func present(_ assignments: [Assignment]) -> [(name: String, value: String)] {
    assignments.compactMap { assignment in
      names[assignment.column].map { (ReplicaCase.quoted($0), assignment.value) }
    }
  }

  private func list(_ assignments: [(name: String, value: String)]) -> String {
    assignments.map { "\($0.name) = \($0.value)" }.joined(separator: ", ")
  }

  private func sql(of condition: Assignment?) -> String {
    guard let condition, let name = names[condition.column] else { return "" }
    return " WHERE \(ReplicaCase.quoted(name)) IS \(condition.value)"
  }

  /// False when SQLite refused it: a constraint, a type, a column that something depends on.
  @discardableResult
  private func execute(_ sql: String) -> Bool {
    do {
      try app.run(sql)
      script.append(sql)
      return true
    } catch {
      script.append("-- refused: \(sql)")
      return false
    }
  }

  private func insertFact(_ sql: String) {
    let key = plan.table.key.map { "\(ReplicaCase.quoted(names[$0]!)) IS NOT NULL" }
    do {
      let inserted = try app.connection.inDatabase {
        try rawRows($0, "\(sql) RETURNING \(key.isEmpty ? "1" : key.joined(separator: " AND "))")
      }
      if edge != nil { facts += inserted.count { $0 == [.integer(1)] } }
      script.append(sql)
    } catch {
      script.append("-- refused: \(sql)")
    }
  }

  // MARK: The way

  private func attach() throws {
    let declaration = StreamDeclaration(name: try StreamName("t"), kind: plan.kind, table: plan.table.name)
    edge = try EdgeDatabase(path: app.path, declarations: [declaration], warn: { _ in })
    let keys = plan.table.key.map { names[$0]! }
    facts = try app.integer("SELECT count(*) FROM \(table) WHERE \(keys.isEmpty ? "1" : isWhole(keys))")
  }

  private func sync() throws {
    script.append("-- sync")
    if edge == nil { try attach() }
    let edge = edge!
    var read: OutboxRead?
    while read == nil {
      do {
        try edge.bringAll(7)
        read = try edge.everything()
      } catch EdgeStoreError.schemaChanged {
        _ = try edge.refresh()
      }
    }
    try describe(edge.streams[0])
    try deliver(frames(of: read!.entries, edge))
    try follower?.look()
    try compare(edge.streams[0].schema!)
    syncs += 1
    if syncs.isMultiple(of: 2), read!.lastSeq > 0 { try edge.confirmAll() }
  }

  private func describe(_ stream: EdgeStream) throws {
    guard let schema = stream.schema, schema.id != described else { return }
    let topic = Topic.schema(Self.machine, stream.name).text
    try consumer.received([InboundMessage(topic: topic, payload: schema.document)])
    described = schema.id
  }

  private static let machine = try! MachineID("M1")

  private func frames(of entries: [OutboxEntry], _ edge: EdgeDatabase) -> [InboundMessage] {
    let stream = edge.streams[0]
    let topic = Topic.events(Self.machine, stream.kind, stream.name).text
    var encoder = FrameEncoder(epoch: edge.epoch, run: edge.runs.newest!.number, stream: stream)
    var frames: [InboundMessage] = []
    var covered: Int64 = 0
    for (index, var entry) in entries.enumerated() {
      if case .row(let values) = entry.content { entry.content = .row(Values(values.map(damage))) }
      if stream.kind == .payload, entry.content == .none { encoder.cover(entry.seq) } else { encoder.append(entry) }
      guard encoder.count >= plan.eventsPerFrame || index == entries.count - 1 else { continue }
      frames.append(
        InboundMessage(
          topic: topic, payload: encoder.finish(covering: Interval(after: covered, through: entry.seq), last: entry.seq)
        ))
      covered = entry.seq
    }
    return frames
  }

  private func deliver(_ frames: [InboundMessage]) throws {
    switch plan.delivery {
    case .inOrder: try consumer.received(frames)
    case .reversed: try consumer.received(frames.reversed())
    case .twice: try consumer.received(frames + frames)
    }
  }

  // MARK: Both sides

  private func compare(_ schema: StreamSchema) throws {
    let letters = try cloudRows("SELECT reason, detail FROM drover_dead_letter")
    // A key that is NULL has no place in the cloud, and is a dead letter.
    if let letter = letters.map(line).first(where: { !$0.contains("NOT NULL constraint failed") }) {
      throw ReplicaFailure(sort: .deadLetter, detail: letter, script: script)
    }
    let columns = schema.columns.map(\.name).filter { $0 != StreamSchema.lifeColumn }
    let keys = schema.sourceKey.map { columns[$0] }
    let cloud = try Set(
      cloudRows("SELECT \(list(columns)) FROM \(ReplicaCase.quoted("t")) WHERE \(isWhole(keys))"))
    let source = columns.map { $0 == StreamSchema.rowidColumn ? rowidName(columns) : ReplicaCase.quoted($0) }
    let sourceKeys = schema.sourceKey.map { source[$0] }
    let stored = try app.connection.inDatabase {
      try rawRows(
        $0,
        "SELECT \(source.joined(separator: ", ")) FROM \(table) WHERE \(sourceKeys.map { "\($0) IS NOT NULL" }.joined(separator: " AND "))"
      )
    }
    rows += stored.count
    if plan.kind == .payload {
      let count = try cloudRows("SELECT 1 FROM \(ReplicaCase.quoted("t")) WHERE \(isWhole(keys))").count
      guard count == facts else {
        throw ReplicaFailure(
          sort: .difference, detail: "there were \(facts) facts, and the cloud has \(count)", script: script)
      }
    }
    // The cloud keeps facts that the app has deleted.
    guard plan.kind == .payload ? cloud.isSuperset(of: stored) : cloud == Set(stored) else {
      let missing = Set(stored).subtracting(cloud).map(line).sorted()
      let extra = cloud.subtracting(stored).map(line).sorted()
      throw ReplicaFailure(
        sort: .difference,
        detail: "in the table \(missing.prefix(3)), in the cloud \(extra.prefix(3)), of columns \(columns)",
        script: script)
    }
  }

  private func cloudRows(_ sql: String) throws -> [[Value]] { try cloud.read { try rawRows($0, sql) } }

  private func list(_ names: [String]) -> String { names.map(ReplicaCase.quoted).joined(separator: ", ") }

  private func isWhole(_ keys: [String]) -> String {
    keys.map { "\(ReplicaCase.quoted($0)) IS NOT NULL" }.joined(separator: " AND ")
  }

  private func rowidName(_ columns: [String]) -> String {
    let taken = Set(columns.map { $0.lowercased() })
    return ["rowid", "_rowid_", "oid"].first { !taken.contains($0) } ?? "rowid"
  }
}

/// A cloud store in which nothing is yet, made once and written for each case: its migrations take longer than a case.
private enum EmptyStore {
  private static let bytes = Result {
    let app = try AppDatabase()
    _ = try SQLiteCloudStore(path: app.file("cloud.db"))
    return try Data(contentsOf: URL(filePath: app.file("cloud.db")))
  }

  static func copy(to path: String) throws { try bytes.get().write(to: URL(filePath: path)) }
}
