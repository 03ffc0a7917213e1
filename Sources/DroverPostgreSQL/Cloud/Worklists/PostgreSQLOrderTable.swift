// A worklist's tables within one transaction.

package import DroverCore
import DroverWire

package final class PostgreSQLOrderTable: OrderTable {
  private let plan: WorklistPlan
  private let transaction: Transaction
  /// What is read to be written is locked, so that no program changes it meanwhile.
  private let isWriting: Bool

  private var connection: Connection { transaction.connection }
  private var worklist: Parameter { .text(plan.name.text) }

  /// Requests of a machine that are remembered, of those with orders and of those without.
  private static let mostRefills = 64

  init(_ plan: WorklistPlan, _ transaction: Transaction, isWriting: Bool) {
    self.plan = plan
    self.transaction = transaction
    self.isWriting = isWriting
  }

  // MARK: Orders

  private static let columns: [(name: String, type: TypeNumber)] = [
    ("order_key", .text), ("fields", .text), ("machine", .text), ("priority", .bigint), ("not_before", .bigint),
    ("target", .text), ("state", .text), ("note", .text), ("request", .text), ("holder", .text), ("handed_at", .bigint),
    ("since", .bigint), ("in_doubt", .boolean), ("rows_epoch", .bigint), ("rows_version", .bigint),
    ("requeued_at", .bigint),
  ]
  private static let read =
    "number, "
    + columns.map { $0.name == "fields" ? "fields::text" : $0.name }
    .joined(separator: ", ")

  /// - Parameter skips: leaves out orders that a program is changing.
  private func select(_ rest: String, _ parameters: [Parameter], skips: Bool = false) throws -> [OrderEntry] {
    let lock = isWriting ? " FOR UPDATE\(skips ? " SKIP LOCKED" : "")" : ""
    let rows = try connection.query(
      "SELECT \(Self.read) FROM drover_order WHERE worklist = $1 AND \(rest)\(lock)", [worklist] + parameters)
    return (0..<rows.count).map { OrderEntry(rows, $0) }
  }

  /// Keys to join with, as `GivenRows` has them.
  private static let wanted =
    "(SELECT DISTINCT $1::text AS list, wanted FROM unnest($2::text[]) AS given (wanted)) AS given"

  package func entries(keys: [String]) throws -> [OrderEntry] {
    let rows = try connection.query(
      """
      SELECT \(Self.read) FROM \(Self.wanted) JOIN drover_order ON worklist = list AND order_key = wanted
      \(isWriting ? "FOR UPDATE OF drover_order" : "")
      """, [worklist, .texts(keys.filter { !$0.utf8.contains(0) })])
    return (0..<rows.count).map { OrderEntry(rows, $0) }
  }

  package func entries(request: RefillID) throws -> [OrderEntry] {
    try select("request = $2 ORDER BY priority DESC, number", [.text(request.text)])
  }

  package func entries(at machine: MachineID) throws -> [OrderEntry] {
    try select(
      "holder = $2 AND state <> 'complete' AND state IN ('handed out', 'in work') ORDER BY number",
      [.text(machine.text)])
  }

  package func entriesToSettle() throws -> [OrderEntry] {
    try select("holder > '' AND state <> 'complete' ORDER BY number", [])
  }

  package func undecided(limit: Int) throws -> [OrderEntry] {
    try select("target IS NULL AND state = 'queued' ORDER BY priority DESC, number LIMIT \(limit)", [], skips: true)
  }

  private static let isDue = "target = $2 AND state = 'queued' AND (not_before IS NULL OR not_before <= $3)"

  package func candidates(for machine: MachineID, now: Int64, limit: Int) throws -> [OrderEntry] {
    let both = try [machine.text, "*"].flatMap {
      try select(
        "\(Self.isDue) ORDER BY priority DESC, number LIMIT \(limit)", [.text($0), .integer(now)], skips: true)
    }
    return Array(
      both.sorted { ($1.order.new.priority, $0.number!) < ($0.order.new.priority, $1.number!) }.prefix(limit))
  }

  package func candidateCount(for machine: MachineID, now: Int64) throws -> Int {
    try [machine.text, "*"].reduce(0) { try $0 + count(Self.isDue, [.text($1), .integer(now)]) }
  }

  private func count(_ condition: String, _ parameters: [Parameter]) throws -> Int {
    Int(
      try connection.query(
        "SELECT count(*) FROM drover_order WHERE worklist = $1 AND \(condition)", [worklist] + parameters
      ).integer(0, 0))
  }

  /// One array for each column.
  private func arrays(_ entries: [OrderEntry]) -> [Parameter] {
    var lists = Self.columns.map { FieldList($0.type, capacity: entries.count * 16) }
    for entry in entries {
      let order = entry.order
      var place = 0
      func text(_ text: String?) {
        if let text { lists[place].append(Array(text.utf8)[...]) } else { lists[place].appendNull() }
        place += 1
      }
      func integer(_ integer: Int64?) {
        if let integer { lists[place].append(integer) } else { lists[place].appendNull() }
        place += 1
      }
      text(entry.key)
      lists[place].append(order.new.order.fields)
      place += 1
      text(entry.named)
      integer(Int64(order.new.priority))
      integer(order.new.notBefore)
      text(entry.target.text)
      text(order.state.rawValue)
      text(order.note?.replacing("\0", with: ""))
      text(order.request?.text)
      text(order.holder?.text)
      integer(order.handedOutAt)
      integer(order.since)
      lists[place].append(order.isInDoubt)
      place += 1
      integer(entry.rowsAfter?.epoch)
      integer(entry.rowsAfter?.version)
      integer(order.new.order.requeuedAt)
    }
    return lists.map(\.array)
  }

  private static func given(from first: Int) -> String {
    let arrays = columns.enumerated().map { "$\($0 + first)::\($1.type.name)[]" }.joined(separator: ", ")
    return "unnest(\(arrays)) WITH ORDINALITY AS given (\(columns.map(\.name).joined(separator: ", ")), place)"
  }

  private static func value(_ name: String) -> String { name == "fields" ? "given.fields::json" : "given.\(name)" }

  package func insert(_ entries: [OrderEntry]) throws {
    guard !entries.isEmpty else { return }
    let names = Self.columns.map(\.name)
    // A program may have listed one of them meanwhile: then its order is the one.
    try connection.query(
      """
      INSERT INTO drover_order (worklist, \(names.joined(separator: ", ")))
      SELECT $1, \(names.map(Self.value).joined(separator: ", ")) FROM \(Self.given(from: 2)) ORDER BY place
      ON CONFLICT (worklist, order_key) DO NOTHING
      """, [worklist] + arrays(entries))
  }

  package func update(_ entries: [OrderEntry]) throws {
    guard !entries.isEmpty else { return }
    let sets = Self.columns.dropFirst().map { "\($0.name) = \(Self.value($0.name))" }.joined(separator: ", ")
    try connection.query(
      """
      UPDATE drover_order AS stored SET \(sets)
        FROM (SELECT $1::text AS list, given.* FROM \(Self.given(from: 2)) OFFSET 0) AS given
       WHERE stored.worklist = given.list AND stored.order_key = given.order_key
      """, [worklist] + arrays(entries))
  }

  package func placeAgain() throws {
    try connection.query(
      "UPDATE drover_order SET target = NULL WHERE worklist = $1 AND target = '' AND state = 'queued'", [worklist])
  }

  package func fields(_ object: ArraySlice<UInt8>) throws -> [(name: String, value: Value?)] {
    try ReadOrder.fields(object)
  }

  // MARK: Requests

  private func refill(_ condition: String, _ parameters: [Parameter]) throws -> RefillEntry? {
    let rows = try connection.query(
      "SELECT number, state FROM drover_refill WHERE worklist = $1 AND machine_id = $2 AND \(condition)",
      [worklist] + parameters)
    guard rows.count > 0 else { return nil }
    return RefillEntry(number: rows.integer(0, 0), state: RefillEntry.State(rawValue: rows.text(0, 1)) ?? .closed)
  }

  package func refill(_ request: RefillID, of machine: MachineID) throws -> RefillEntry? {
    try refill("request = $3", [.text(machine.text), .text(request.text)])
  }

  package func newestTaken(by machine: MachineID) throws -> RefillEntry? {
    try refill("state = 'taken' ORDER BY number DESC LIMIT 1", [.text(machine.text)])
  }

  package func number(of request: RefillID, of machine: MachineID) throws -> Int64 {
    try refill(request, of: machine)?.number ?? 0
  }

  package func setRefill(
    _ request: RefillID, of machine: MachineID, _ state: RefillEntry.State, now: Int64
  ) throws {
    try connection.query(
      """
      INSERT INTO drover_refill (worklist, machine_id, request, state, at) VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (worklist, machine_id, request) DO UPDATE SET state = excluded.state, at = excluded.at
      """, [worklist, .text(machine.text), .text(request.text), .text(state.rawValue), .integer(now)])
    try connection.query(
      """
      DELETE FROM drover_refill WHERE worklist = $1 AND machine_id = $2 AND state = $3 AND number <=
        (SELECT number FROM drover_refill WHERE worklist = $1 AND machine_id = $2 AND state = $3
          ORDER BY number DESC LIMIT 1 OFFSET \(Self.mostRefills))
      """, [worklist, .text(machine.text), .text(state.rawValue)])
    guard state == .taken else { return }
    try connection.query(
      """
      INSERT INTO drover_meta (name, value) VALUES ($1, '1')
      ON CONFLICT (name) DO UPDATE SET value = (drover_meta.value::bigint + 1)::text
      """, [refills])
  }

  /// Names the count of refills in the store.
  private var refills: Parameter { .text("refills_\(plan.name)") }

  package func whyNone(for machine: MachineID, now: Int64) throws -> String {
    let later = try [machine.text, "*"].reduce(0) {
      try $0 + count("target = $2 AND state = 'queued' AND not_before > $3", [.text($1), .integer(now)])
    }
    return OrderRefusal.none(queued: try count("state = 'queued'", []), later: later)
  }

  // MARK: Rows

  package func rows(keys: [String], of machine: MachineID?) throws -> [ExactText: [OrderRow]] {
    let name = Parameter.text(SQLName(plan.stream.text).text)
    let origins = try connection.query(
      """
      SELECT DISTINCT machine_id, stream FROM drover_schema
       WHERE lower(stream) = $1::text COLLATE "C" AND ($2::text IS NULL OR machine_id = $2) ORDER BY machine_id, stream
      """, [name, .text(machine?.text)])
    guard origins.count > 0, let table = try transaction.table(of: plan.stream), table.form.isTable else { return [:] }
    var found: [ExactText: [OrderRow]] = [:]
    for origin in 0..<origins.count {
      let machine = try MachineID(origins.text(origin, 0))
      guard let schema = try schema(machine, StreamName(origins.text(origin, 1))) else { continue }
      let writer = try SinkWriter(
        table, names: schema.columns.map { SQLName($0.name) }, key: schema.key, condition: schema.completeWhen)
      let named: [(name: ExactText, key: [Value])] = keys.compactMap { key in
        (try? LocalIDCodec.key(key, schema: schema)).map { (ExactText(key), writer.converted(key: $0)) }
      }.filter { writer.canHold(key: $0.key) }
      guard !named.isEmpty else { continue }
      for (entry, row) in zip(named, try writer.find(named.map(\.key), machine: machine, connection)) {
        guard let row else { continue }
        found[entry.name, default: []].append(
          OrderRow(machine: machine, isComplete: writer.holds(schema.completeWhen, of: row), version: row.version))
      }
    }
    return found
  }

  /// As the machine described it last.
  private func schema(_ machine: MachineID, _ stream: StreamName) throws -> StreamSchema? {
    let rows = try connection.query(
      "SELECT schema_id FROM drover_schema WHERE machine_id = $1 AND stream = $2 ORDER BY described DESC LIMIT 1",
      [.text(machine.text), .text(stream.text)])
    guard rows.count > 0 else { return nil }
    return try SchemaTables(connection: connection).read(
      SchemaID(text: rows.text(0, 0)), machine: machine, stream: stream)
  }

  // MARK: For people

  package func summary() throws -> WorklistSummary {
    var summary = WorklistSummary(name: plan.name)
    let states = try connection.query(
      "SELECT state, count(*) FROM drover_order WHERE worklist = $1 GROUP BY state", [worklist])
    for row in 0..<states.count {
      OrderState(rawValue: states.text(row, 0)).map { summary.counts[$0] = Int(states.integer(row, 1)) }
    }
    summary.inDoubt = try count("holder > '' AND state <> 'complete' AND in_doubt", [])
    summary.oldestInWork = try connection.query(
      "SELECT min(handed_at) FROM drover_order WHERE worklist = $1 AND state = 'in work'", [worklist]
    ).optionalInteger(0, 0)
    summary.lastMoved = try lastMoved()
    let counted = try connection.query("SELECT value FROM drover_meta WHERE name = $1", [refills])
    summary.refills = counted.count == 0 ? 0 : Int(counted.text(0, 0)) ?? 0
    return summary
  }

  private func lastMoved() throws -> Int64? {
    try connection.query("SELECT max(since) FROM drover_order WHERE worklist = $1", [worklist]).optionalInteger(0, 0)
  }

  package func entries(state: OrderState?, machine: MachineID?, after: String?, limit: Int) throws -> [OrderEntry] {
    let start =
      try after.map { try $0.utf8.contains(0) ? .max : select("order_key = $2", [.text($0)]).first?.number ?? .max }
      ?? 0
    let isState = state.map { "state = '\($0.rawValue)' AND " } ?? ""
    let isMachine = machine == nil ? "" : " AND (target = $3 OR holder = $3)"
    return try select(
      "\(isState)number > $2\(isMachine) ORDER BY number LIMIT \(limit)",
      [.integer(start)] + (machine.map { [.text($0.text)] } ?? []))
  }

  package func completedToPost(limit: Int) throws -> [OrderEntry] {
    try select("state = 'complete' AND posted_at IS NULL ORDER BY since LIMIT \(limit)", [])
  }

  package func setPosted(_ keys: [String], now: Int64) throws {
    try connection.query(
      """
      UPDATE drover_order SET posted_at = $3 FROM \(Self.wanted)
       WHERE worklist = list AND order_key = wanted AND state = 'complete'
      """, [worklist, .texts(keys), .integer(now)])
  }

  package func mark() throws -> String {
    let applied = try connection.query(
      """
      SELECT count(*), coalesce(sum(applied), 0)::bigint FROM drover_progress WHERE lower(stream) = $1::text COLLATE "C"
      """, [.text(SQLName(plan.stream.text).text)])
    let open = try count("holder > '' AND state <> 'complete'", [])
    return "\(applied.integer(0, 0)) \(applied.integer(0, 1)) \(try lastMoved() ?? 0) \(open)"
  }
}

extension OrderEntry {
  fileprivate init(_ rows: Rows, _ row: Int) {
    let named = rows.optionalText(row, 3)
    let new = NewOrder(
      order: Order(
        key: rows.text(row, 1), fields: rows.bytes(row, 2)[...], requeuedAt: rows.optionalInteger(row, 16)),
      machine: named.flatMap { try? MachineID($0) }, priority: Int(rows.integer(row, 4)),
      notBefore: rows.optionalInteger(row, 5))
    let order = QueuedOrder(
      new: new, state: OrderState(rawValue: rows.text(row, 7))!, note: rows.optionalText(row, 8),
      request: rows.optionalText(row, 9).flatMap { RefillID($0) },
      holder: rows.optionalText(row, 10).flatMap { try? MachineID($0) }, handedOutAt: rows.optionalInteger(row, 11),
      since: rows.integer(row, 12), isInDoubt: rows.boolean(row, 13))
    self.init(
      number: rows.integer(row, 0), order: order, named: named, target: OrderTarget(text: rows.optionalText(row, 6)),
      rowsAfter: rows.optionalInteger(row, 14).map {
        RowVersion(epoch: $0, version: rows.optionalInteger(row, 15) ?? 0)
      })
  }
}
