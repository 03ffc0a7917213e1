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
    most: Int
  ) throws {
    let content = lost.value.map(Self.text)
    let isListed = try Bool.fetchOne(
      database,
      sql: """
        SELECT EXISTS (SELECT 1 FROM drover_conflict WHERE machine_id = ? AND stream = ? AND local_id = ? AND content IS ?)
        """, arguments: [machine.text, stream.text, localID, content])!
    guard !isListed else { return }
    guard try Int.fetchOne(database, sql: "SELECT count(*) FROM drover_conflict")! < most else {
      throw SinkBlocked(
        table: stream.text, reach: .machine, cause: .lock,
        text: "\(most) conflicts wait for a person, and no more are kept",
        advice: "resolve conflicts: `drover conflicts list` shows them")
    }
    try database.execute(
      sql: """
        INSERT INTO drover_conflict (machine_id, stream, local_id, at, reason, loser, columns, content, version, result)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
      arguments: [
        machine.text, stream.text, localID, now, lost.reason.rawValue, lost.loser.rawValue,
        Self.text(schema.columns.map { .text($0.name) }), content, lost.version, lost.result,
      ])
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
