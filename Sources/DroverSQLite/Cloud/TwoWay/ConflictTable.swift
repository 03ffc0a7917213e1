// Values that lost a conflict, as the store keeps them: the row's values as a JSON list, so that each comes back as it was.

import DroverCore
import DroverWire
import GRDB

struct ConflictTable {
  let database: Database

  /// Lists a value that lost, but for one that is listed for this row already.
  /// - Throws: `SinkBlocked` where there are as many conflicts as there may be.
  func list(
    _ lost: LostEdit, machine: MachineID, stream: StreamName, localID: String, schema: StreamSchema, now: Int64,
    bounds: ConflictBounds
  ) throws {
    let content = lost.value.map(Self.text)
    let isListed = try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM drover_conflict WHERE machine_id = ? AND stream = ? AND local_id = ? AND content IS ?)
        """, arguments: [machine.text, stream.text, localID, content])!
    guard !isListed else { return }
    if let blocked = bounds.refusal(of: machine, stream: stream, own: try use(of: machine), all: try use(of: nil)) {
      throw blocked
    }
    let columns = Self.text(schema.columns.map { .text($0.name) })
    try database.execute(
      sql: """
        INSERT INTO drover_conflict (machine_id, stream, local_id, at, reason, loser, columns, content, version, result, bytes)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        machine.text, stream.text, localID, now, lost.reason.rawValue, lost.loser.rawValue, columns, content,
        lost.version, lost.result, columns.utf8.count + (content?.utf8.count ?? 0),
      ])
  }

  static let bytesMigration = """
    ALTER TABLE drover_conflict ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE drover_conflict SET bytes = length(CAST(columns AS BLOB)) + ifnull(length(CAST(content AS BLOB)), 0);
    -- The sums are read from it alone.
    CREATE INDEX drover_conflict_bytes ON drover_conflict (machine_id, bytes);
    """

  private func use(of machine: MachineID?) throws -> ConflictUse {
    let row = try Row.fetchOne(
      database.cachedStatement(
        sql: """
          SELECT count(*) AS conflicts, ifnull(sum(bytes), 0) AS bytes FROM drover_conflict
           WHERE \(machine == nil ? "?1 IS NULL" : "machine_id = ?1")
          """),
      arguments: [machine?.text])!
    return ConflictUse(count: row["conflicts"], bytes: row["bytes"])
  }

  func count(of machine: MachineID? = nil, stream: StreamName? = nil, since: Int64 = .min) throws -> Int {
    try Int.fetchOne(
      database.cachedStatement(
        sql: """
          SELECT count(*) FROM drover_conflict
           WHERE \(machine == nil ? "?1 IS NULL" : "machine_id = ?1") AND \(stream == nil ? "?2 IS NULL" : "stream = ?2") AND at >= ?3
          """),
      arguments: [machine?.text, stream?.text, since])!
  }

  // MARK: For those who look

  /// None in a store that no consumer of this version has opened yet.
  func figures() throws -> ConflictFigures {
    guard try database.tableExists("drover_conflict"),
      try database.columns(in: "drover_conflict").contains(where: { $0.name == "bytes" })
    else { return ConflictFigures() }
    let resolved = try String.fetchOne(
      database, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [Self.resolved])
    return ConflictFigures(
      present: try count(), resolved: resolved.flatMap { Int($0) } ?? 0, bytes: try use(of: nil).bytes)
  }

  /// By machine; from the index alone.
  /// - Parameter range: the first machine and the last.
  func uses(in range: StatementArguments) throws -> [String: ConflictUse] {
    // Without the bytes the store is of an older version.
    guard try database.tableExists("drover_conflict"),
      try database.columns(in: "drover_conflict").contains(where: { $0.name == "bytes" })
    else { return [:] }
    let rows = try Row.fetchAll(
      database,
      sql: """
        SELECT machine_id, count(*) AS conflicts, sum(bytes) AS bytes FROM drover_conflict
         WHERE machine_id >= ? AND machine_id <= ? GROUP BY machine_id
        """, arguments: range)
    return Dictionary(
      rows.map { ($0["machine_id"] as String, ConflictUse(count: $0["conflicts"], bytes: $0["bytes"])) }
    ) { first, _ in first }
  }

  /// By machine.
  func counts() throws -> [MachineID: Int] {
    let rows = try Row.fetchAll(
      database.cachedStatement(sql: "SELECT machine_id, count(*) AS conflicts FROM drover_conflict GROUP BY machine_id")
    )
    var counts: [MachineID: Int] = [:]
    for row in rows { if let machine = try? MachineID(row["machine_id"]) { counts[machine] = row["conflicts"] } }
    return counts
  }

  private static let resolved = "conflicts_resolved"

  /// Takes a conflict off the list because a person has resolved it.
  func resolved(_ id: Int64) throws {
    try database.execute(sql: "DELETE FROM drover_conflict WHERE id = ?", arguments: [id])
    try database.execute(
      sql: """
        INSERT INTO drover_meta (name, value) VALUES (?, '1')
        ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
        """, arguments: [Self.resolved])
  }

  static func text(_ values: [Value]) -> String {
    var bytes: [UInt8] = [UInt8(ascii: "[")]
    for (index, value) in values.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      JSONWriter.write(value, into: &bytes)
    }
    bytes.append(UInt8(ascii: "]"))
    return String(decoding: bytes, as: UTF8.self)
  }

  static func values(_ text: String) throws -> [Value] {
    var scanner = JSONScanner(ArraySlice(text.utf8))
    var values: [Value] = []
    try scanner.readArray { (scanner) throws(WireError) in values.append(try scanner.readValue()) }
    try scanner.expectEnd()
    return values
  }

  /// The conflict of a row of the table; nil where another program has written what Drover does not know.
  static func conflict(_ row: Row) throws -> Conflict? {
    guard let machine = try? MachineID(row["machine_id"]), let stream = try? StreamName(row["stream"]),
      let reason = ConflictReason(rawValue: row["reason"]), let loser = TwoWayRule.Side(rawValue: row["loser"]),
      let names = try? values(row["columns"])
    else { return nil }
    let columns = names.map { name in
      if case .text(let bytes) = name { String(decoding: bytes, as: UTF8.self) } else { "" }
    }
    let content: String? = row["content"]
    let lost = LostEdit(
      reason: reason, loser: loser, value: try content.map(values), version: row["version"], result: row["result"])
    return Conflict(
      id: row["id"], machine: machine, stream: stream, localID: row["local_id"], at: row["at"], lost: lost,
      columns: columns, present: nil, hasChangedSince: false)
  }
}
