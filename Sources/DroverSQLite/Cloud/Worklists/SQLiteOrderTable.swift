// A worklist's tables within one transaction.

package import DroverCore
import DroverWire
import GRDB

package final class SQLiteOrderTable: OrderTable {
  private let plan: WorklistPlan
  private let database: Database
  private var sinks: [MachineID: OrderSink?] = [:]

  private var worklist: String { plan.name.text }

  /// Requests of a machine that are remembered, of those with orders and of those without.
  private static let mostRefills = 64

  init(_ plan: WorklistPlan, _ database: Database) {
    self.plan = plan
    self.database = database
  }

  // MARK: Orders

  private func select(_ rest: String, _ arguments: [(any DatabaseValueConvertible)?]) throws -> [OrderEntry] {
    try Row.fetchAll(
      database.cachedStatement(sql: "SELECT * FROM drover_order WHERE worklist = ? AND \(rest)"),
      arguments: StatementArguments([worklist] + arguments)
    ).map(OrderEntry.init)
  }

  package func entries(keys: [String]) throws -> [OrderEntry] { try keys.flatMap { try select("order_key = ?", [$0]) } }

  package func entries(request: RefillID) throws -> [OrderEntry] {
    try select("request = ? ORDER BY priority DESC, number", [request.text])
  }

  package func entries(at machine: MachineID) throws -> [OrderEntry] {
    try select(
      "holder = ? AND holder IS NOT NULL AND state <> 'complete' AND state IN ('handed out', 'in work') ORDER BY number",
      [machine.text])
  }

  package func entriesToSettle() throws -> [OrderEntry] {
    try select("holder > '' AND holder IS NOT NULL AND state <> 'complete' ORDER BY number", [])
  }

  package func undecided(limit: Int) throws -> [OrderEntry] {
    try select("target IS NULL AND state = 'queued' ORDER BY priority DESC, number LIMIT ?", [limit])
  }

  private static let isDue = "target = ? AND state = 'queued' AND (not_before IS NULL OR not_before <= ?)"

  package func candidates(for machine: MachineID, now: Int64, limit: Int) throws -> [OrderEntry] {
    let both = try [machine.text, "*"].flatMap {
      try select("\(Self.isDue) ORDER BY priority DESC, number LIMIT ?", [$0, now, limit])
    }
    return Array(
      both.sorted { ($1.order.new.priority, $0.number!) < ($0.order.new.priority, $1.number!) }.prefix(limit))
  }

  package func candidateCount(for machine: MachineID, now: Int64) throws -> Int {
    try [machine.text, "*"].reduce(0) { try $0 + count("\(Self.isDue)", [$1, now]) }
  }

  private func count(_ condition: String, _ arguments: [(any DatabaseValueConvertible)?]) throws -> Int {
    try Int.fetchOne(
      database.cachedStatement(sql: "SELECT count(*) FROM drover_order WHERE worklist = ? AND \(condition)"),
      arguments: StatementArguments([worklist] + arguments))!
  }

  private static let columns = [
    "fields", "machine", "priority", "not_before", "target", "state", "note", "request", "holder", "handed_at", "since",
    "in_doubt", "rows_epoch", "rows_version", "requeued_at",
  ]

  private func values(_ entry: OrderEntry) -> [(any DatabaseValueConvertible)?] {
    let order = entry.order
    return [
      String(decoding: order.new.order.fields, as: UTF8.self), entry.named, order.new.priority, order.new.notBefore,
      entry.target.text, order.state.rawValue, order.note, order.request?.text, order.holder?.text, order.handedOutAt,
      order.since, order.isInDoubt, entry.rowsAfter?.epoch, entry.rowsAfter?.version,
      order.new.order.requeuedAt,
    ]
  }

  package func insert(_ entries: [OrderEntry]) throws {
    let insert = try database.cachedStatement(
      sql: """
        INSERT INTO drover_order (worklist, order_key, \(Self.columns.joined(separator: ", ")))
        VALUES (?, ?\(String(repeating: ", ?", count: Self.columns.count)))
        """)
    for entry in entries {
      try insert.execute(arguments: StatementArguments([worklist, entry.key] + values(entry)))
    }
  }

  package func update(_ entries: [OrderEntry]) throws {
    let update = try database.cachedStatement(
      sql: "UPDATE drover_order SET \(Self.columns.map { "\($0) = ?" }.joined(separator: ", ")) WHERE number = ?")
    for entry in entries { try update.execute(arguments: StatementArguments(values(entry) + [entry.number])) }
  }

  package func placeAgain() throws {
    try database.execute(
      sql: "UPDATE drover_order SET target = NULL WHERE worklist = ? AND target = '' AND state = 'queued'",
      arguments: [worklist])
  }

  package func fields(_ object: ArraySlice<UInt8>) throws -> [(name: String, value: Value?)] {
    try ReadOrder.fields(object)
  }

  // MARK: Requests

  private func refill(_ condition: String, _ arguments: [(any DatabaseValueConvertible)?]) throws -> RefillEntry? {
    try Row.fetchOne(
      database.cachedStatement(sql: "SELECT number, state FROM drover_refill WHERE worklist = ? AND \(condition)"),
      arguments: StatementArguments([worklist] + arguments)
    ).map { RefillEntry(number: $0["number"], state: RefillEntry.State(rawValue: $0["state"]) ?? .closed) }
  }

  package func refill(_ request: RefillID, of machine: MachineID) throws -> RefillEntry? {
    try refill("machine_id = ? AND request = ?", [machine.text, request.text])
  }

  package func newestTaken(by machine: MachineID) throws -> RefillEntry? {
    try refill("machine_id = ? AND state = 'taken' ORDER BY number DESC LIMIT 1", [machine.text])
  }

  package func number(of request: RefillID, of machine: MachineID) throws -> Int64 {
    try refill(request, of: machine)?.number ?? 0
  }

  package func setRefill(
    _ request: RefillID, of machine: MachineID, _ state: RefillEntry.State, now: Int64
  ) throws {
    try database.execute(
      sql: """
        INSERT INTO drover_refill (worklist, machine_id, request, state, at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (worklist, machine_id, request) DO UPDATE SET state = excluded.state, at = excluded.at
        """, arguments: [worklist, machine.text, request.text, state.rawValue, now])
    try database.execute(
      sql: """
        DELETE FROM drover_refill WHERE worklist = ?1 AND machine_id = ?2 AND state = ?3 AND number <=
          (SELECT number FROM drover_refill WHERE worklist = ?1 AND machine_id = ?2 AND state = ?3
            ORDER BY number DESC LIMIT 1 OFFSET \(Self.mostRefills))
        """, arguments: [worklist, machine.text, state.rawValue])
    guard state == .taken else { return }
    try database.execute(
      sql: """
        INSERT INTO drover_meta (name, value) VALUES (?, '1')
        ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
        """, arguments: [refills])
  }

  /// Names the count of refills in the store.
  private var refills: String { "refills_\(worklist)" }

  package func whyNone(for machine: MachineID, now: Int64) throws -> String {
    let queued = try count("state = 'queued'", [])
    let later = try [machine.text, "*"].reduce(0) {
      try $0 + count("target = ? AND state = 'queued' AND not_before > ?", [$1, now])
    }
    return OrderRefusal.none(queued: queued, later: later)
  }

  // MARK: Rows

  package func rows(keys: [String], of machine: MachineID?) throws -> [ExactText: [OrderRow]] {
    let machines =
      try machine.map { [$0] }
      ?? String.fetchAll(
        database,
        sql: "SELECT DISTINCT machine_id FROM drover_schema WHERE lower(stream) = lower(?) ORDER BY machine_id",
        arguments: [plan.stream.text]
      ).map { try MachineID($0) }
    var found: [ExactText: [OrderRow]] = [:]
    for machine in machines {
      if sinks[machine] == nil { sinks[machine] = .some(try OrderSink(machine, plan.stream, database)) }
      guard let sink = sinks[machine]! else { continue }
      for key in keys { try sink.row(key).map { found[ExactText(key), default: []].append($0) } }
    }
    return found
  }

  // MARK: For people

  package func summary() throws -> WorklistSummary {
    var summary = WorklistSummary(name: plan.name)
    for row in try Row.fetchAll(
      database, sql: "SELECT state, count(*) AS orders FROM drover_order WHERE worklist = ? GROUP BY state",
      arguments: [worklist])
    {
      OrderState(rawValue: row["state"]).map { summary.counts[$0] = row["orders"] }
    }
    summary.inDoubt = try count("holder IS NOT NULL AND holder > '' AND state <> 'complete' AND in_doubt = 1", [])
    summary.oldestInWork = try Int64.fetchOne(
      database, sql: "SELECT min(handed_at) FROM drover_order WHERE worklist = ? AND state = 'in work'",
      arguments: [worklist])
    summary.lastMoved = try lastMoved()
    summary.refills =
      try String.fetchOne(database, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [refills])
      .flatMap { Int($0) } ?? 0
    return summary
  }

  private func lastMoved() throws -> Int64? {
    try Int64.fetchOne(
      database, sql: "SELECT max(since) FROM drover_order WHERE worklist = ?", arguments: [worklist])
  }

  package func entries(state: OrderState?, machine: MachineID?, after: String?, limit: Int) throws -> [OrderEntry] {
    let start = try after.map { try select("order_key = ?", [$0]).first?.number ?? .max } ?? 0
    let isState = state.map { "state = '\($0.rawValue)' AND " } ?? ""
    let isMachine = machine == nil ? "" : " AND (target = ? OR holder = ?)"
    return try select(
      "\(isState)number > ?\(isMachine) ORDER BY number LIMIT ?",
      [start] + (machine.map { [$0.text, $0.text] } ?? []) + [limit])
  }

  package func completedToPost(limit: Int) throws -> [OrderEntry] {
    try select("state = 'complete' AND posted_at IS NULL ORDER BY since LIMIT ?", [limit])
  }

  package func setPosted(_ keys: [String], now: Int64) throws {
    for key in keys {
      try database.execute(
        sql: "UPDATE drover_order SET posted_at = ? WHERE worklist = ? AND order_key = ? AND state = 'complete'",
        arguments: [now, worklist, key])
    }
  }

  package func mark() throws -> String {
    let applied = try Row.fetchOne(
      database,
      sql: "SELECT count(*) AS streams, sum(applied) AS events FROM drover_progress WHERE lower(stream) = lower(?)",
      arguments: [plan.stream.text])!
    let open = try count("holder IS NOT NULL AND holder > '' AND state <> 'complete'", [])
    return
      "\(applied["streams"] as Int) \(applied["events"] as Int64? ?? 0) \(try lastMoved() ?? 0) \(open)"
  }
}

extension OrderEntry {
  fileprivate init(_ row: Row) {
    let (named, key): (String?, String) = (row["machine"], row["order_key"])
    let fields: String = row["fields"]
    let (epoch, version): (Int64?, Int64?) = (row["rows_epoch"], row["rows_version"])
    let request: String? = row["request"]
    let holder: String? = row["holder"]
    let new = NewOrder(
      order: Order(key: key, fields: ArraySlice(Array(fields.utf8)), requeuedAt: row["requeued_at"]),
      machine: named.flatMap { try? MachineID($0) },
      priority: row["priority"], notBefore: row["not_before"])
    self.init(
      number: row["number"],
      order: QueuedOrder(
        new: new, state: OrderState(rawValue: row["state"])!, note: row["note"],
        request: request.flatMap(RefillID.init),
        holder: holder.flatMap { try? MachineID($0) }, handedOutAt: row["handed_at"], since: row["since"],
        isInDoubt: row["in_doubt"]),
      named: named, target: OrderTarget(text: row["target"]),
      rowsAfter: epoch.map { RowVersion(epoch: $0, version: version ?? 0) })
  }
}

/// A machine's rows of the worklist's stream.
private struct OrderSink {
  private let machine: MachineID
  private let schema: StreamSchema
  private let find: Statement

  /// nil where the store has no such rows.
  init?(_ machine: MachineID, _ stream: StreamName, _ database: Database) throws {
    guard
      let described = try Row.fetchOne(
        database,
        sql: """
          SELECT stream, schema_id FROM drover_schema WHERE machine_id = ? AND lower(stream) = lower(?)
           ORDER BY described DESC LIMIT 1
          """, arguments: [machine.text, stream.text]),
      let schema = try StreamSchema.read(
        SchemaID(text: described["schema_id"]), machine: machine, stream: StreamName(described["stream"]), database)
    else { return nil }
    let present = Set(try database.catalogue(of: stream.text).map(\.name))
    guard !present.isEmpty else { return nil }
    let isKey = ([schema.machineColumn] + schema.key.map { quoted(schema.columns[$0].name) }).enumerated()
      .map { "\($1) IS ?\($0 + 1)" }.joined(separator: " AND ")
    let isComplete = schema.completeWhen.map { "coalesce(\($0.text { quoted($0) }), 0)" } ?? "0"
    self.machine = machine
    self.schema = schema
    find = try Statement(
      database, "SELECT \(isComplete), drover_epoch, drover_version FROM main.\(quoted(stream.text)) WHERE \(isKey)")
  }

  func row(_ localID: String) throws -> OrderRow? {
    guard let key = try? LocalIDCodec.key(localID, schema: schema) else { return nil }
    find.bind(machine.text, at: 1)
    for (index, (part, column)) in zip(key, schema.key).enumerated() {
      find.bind(schema.columns[column].affinity.converting(part), at: Int32(index + 2))
    }
    defer { find.reset() }
    guard try find.step() else { return nil }
    return OrderRow(
      machine: machine, isComplete: find.integer(0) != 0,
      version: RowVersion(epoch: find.integer(1), version: find.integer(2)))
  }
}
