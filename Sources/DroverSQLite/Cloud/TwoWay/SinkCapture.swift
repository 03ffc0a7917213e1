// The triggers of a sink table whose rows go down: they write the key of each row that another program than the consumer changes into `drover_edit`, and
// refuse at once what Drover cannot carry. SQLite's own pages: https://www.sqlite.org/lang_createtrigger.html, https://www.sqlite.org/lang_upsert.html.

import DroverCore
import GRDB

struct SinkCapture {
  let database: Database
  let stream: StreamName
  /// The sink table's column for the machine.
  let machineColumn: String
  /// The key's columns without the machine's.
  let key: [String]

  /// Every trigger's name begins so.
  static let prefix = "drover_edit_"

  private var table: String { quoted(stream.text) }

  private static let events = ["displace", "insert", "displace_update", "update", "delete"]
  /// How many triggers a table has.
  static let count = events.count

  private static func name(_ event: String, _ stream: StreamName) -> String {
    "\(prefix)\(event)_\(stream.text)"
  }
  private func name(_ event: String) -> String { Self.name(event, stream) }

  /// Nothing where the table is not what a stream needs.
  init?(_ database: Database, _ stream: StreamName, machineColumn: String) throws {
    let columns = try database.catalogue(of: stream.text)
    let key = columns.filter { $0.keyPosition > 0 }.sorted { $0.keyPosition < $1.keyPosition }.map(\.name)
    guard key.first == SQLName(machineColumn), key.count > 1 else { return nil }
    self.database = database
    self.stream = stream
    self.machineColumn = machineColumn
    self.key = key.dropFirst().map { quoted($0.text) }
  }

  // MARK: Made and dropped

  /// By their names: a table that a person has renamed has taken them along.
  static func drop(_ database: Database, _ stream: StreamName) throws {
    for event in events {
      try database.execute(sql: "DROP TRIGGER IF EXISTS main.\(quoted(name(event, stream)))")
    }
  }

  /// Makes the triggers what they have to be; those that are so already stay.
  func make() throws {
    let wanted = try triggers()
    let present = try String.fetchAll(
      database,
      sql: """
        SELECT sql FROM main.sqlite_master
         WHERE type = 'trigger' AND lower(tbl_name) = lower(?) AND substr(name, 1, \(Self.prefix.utf8.count)) = '\(Self.prefix)'
        """, arguments: [stream.text])
    guard Set(wanted) != Set(present) else { return }
    try Self.drop(database, stream)
    for sql in wanted { try database.execute(sql: sql) }
  }

  /// What is wrong with the triggers of the tables from which rows go down.
  static func faults(_ database: Database) throws -> [CaptureFault] {
    try String.fetchAll(database, sql: "SELECT DISTINCT stream FROM drover_flow ORDER BY stream").compactMap { name in
      let stream = try StreamName(name)
      guard let machine = try database.firstKeyColumn(of: name),
        let capture = try SinkCapture(database, stream, machineColumn: machine)
      else { return nil }
      let present = Set(
        try String.fetchAll(
          database,
          sql: """
            SELECT sql FROM main.sqlite_master
             WHERE type = 'trigger' AND lower(tbl_name) = lower(?) AND substr(name, 1, \(prefix.utf8.count)) = '\(prefix)'
            """, arguments: [name]))
      let missing = try capture.triggers().filter { !present.contains($0) }
      guard !missing.isEmpty else { return nil }
      let names = missing.compactMap { $0.split(separator: "\"").dropFirst().first }.joined(separator: ", ")
      return CaptureFault(
        table: name, cause: "its triggers \(names) were dropped or changed", advice: CaptureFault.restart,
        isMended: true)
    }
  }

  private func triggers() throws -> [String] {
    let carried = Set(
      try String.fetchAll(
        database, sql: "SELECT name FROM drover_flow_column WHERE stream = ?", arguments: [stream.text]
      )
      .map { SQLName($0) })
    let names = try database.catalogue(of: stream.text).map(\.name).filter { carried.contains($0) }
    let columns = names.map { quoted($0.text) }
    let conditions = try String.fetchAll(
      database,
      sql:
        "SELECT DISTINCT complete_when FROM drover_flow WHERE stream = ? AND complete_when IS NOT NULL ORDER BY 1",
      arguments: [stream.text]
    ).map { try Condition(parsing: $0) }
    let own = [machineColumn, "drover_epoch", "drover_version"]
    let mergesColumns = try Bool.fetchOne(
      database,
      sql: "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE stream = ? AND merge_unit = ?)",
      arguments: [stream.text, MergeUnit.columns.rawValue])!
    let kept = mergesColumns ? names : []
    return [
      displaced("INSERT", name("displace"), conditions, kept), inserted(),
      displaced("UPDATE", name("displace_update"), conditions, kept), updated(columns, kept, own: own, conditions),
      deleted(conditions, kept),
    ]
  }

  // MARK: The triggers

  private let isForeign = "NOT EXISTS (SELECT 1 FROM drover_writer)"

  private func row(_ name: String) -> [String] { ([machineColumn] + key).map { "\(name).\($0)" } }

  /// An edit of a row, as a statement of a trigger.
  private func edit(_ row: String, old: (epoch: String, version: String), where condition: String? = nil) -> String {
    let keys = CloudTwoWay.keyColumns(key.count).joined(separator: ", ")
    return """
      INSERT INTO drover_edit (stream, machine_id, old_epoch, old_version, \(keys))
          SELECT \(literal(stream.text)), \(row).\(machineColumn), \(old.epoch), \(old.version), \(key.map { "\(row).\($0)" }.joined(separator: ", "))
          \(condition.map { "WHERE \($0)" } ?? "");
      """
  }

  /// Keeps values of the row that an edit has found, as statements of a trigger after the edit's own.
  private func keep(_ columns: [SQLName], of row: String, from rows: String = "") -> String {
    columns.map { column in
      """
      INSERT INTO drover_edit_value (edit_id, name, value)
          SELECT (SELECT max(id) FROM drover_edit), \(literal(column.text)), \(row).\(quoted(column.text)) \(rows);
      """
    }.joined(separator: "\n    ")
  }

  private func refuse(_ sentence: String, where condition: String) -> String {
    "SELECT RAISE(ABORT, \(literal("drover: \(sentence)"))) WHERE \(condition);"
  }

  private func refuseStranger(_ row: String) -> String {
    refuse(
      "no rows of this machine can be edited here, because its stream \(stream) only goes up or there is no such machine; edit them at the machine",
      where: """
        NOT EXISTS (SELECT 1 FROM drover_flow WHERE stream = \(literal(stream.text)) AND machine_id = \(row).\(machineColumn)
                         AND owner = machine_id)
        """)
  }

  /// Whether a row is complete, by the condition that its machine has declared.
  private func isComplete(_ row: String, _ conditions: [Condition]) -> String {
    guard !conditions.isEmpty else { return "0" }
    let cases = conditions.map { condition in
      "WHEN \(literal(condition.text)) THEN coalesce(\(condition.text { "\(row).\(quoted($0))" }), 0)"
    }
    return """
      CASE (SELECT complete_when FROM drover_flow WHERE stream = \(literal(stream.text)) AND machine_id = \(row).\(machineColumn))
         \(cases.joined(separator: " ")) ELSE 0 END
      """
  }

  private let completeSentence = "the row is complete and never changes again"

  /// REPLACE removes a row without a trigger's knowing (https://www.sqlite.org/lang_conflict.html), so what stands in the way of an INSERT, or of an UPDATE
  /// of a key, is noted first.
  private func displaced(
    _ event: String, _ name: String, _ conditions: [Condition], _ kept: [SQLName]
  ) -> String {
    let keys = CloudTwoWay.keyColumns(key.count).joined(separator: ", ")
    let isRow = ([machineColumn] + key).map { "stored.\($0) = NEW.\($0)" }.joined(separator: " AND ")
    let isMoved = event == "UPDATE" ? " AND \(differ(key))" : ""
    return """
      CREATE TRIGGER \(quoted(name)) BEFORE \(event) ON \(table) WHEN \(isForeign)\(isMoved) BEGIN
        INSERT INTO drover_edit (stream, machine_id, old_epoch, old_version, is_displaced, was_complete, \(keys))
          SELECT \(literal(stream.text)), stored.\(machineColumn), stored.drover_epoch, stored.drover_version, 1, \(isComplete("stored", conditions)),
                 \(key.map { "stored.\($0)" }.joined(separator: ", "))
            FROM \(table) AS stored WHERE \(isRow);
        \(keep(kept, of: "stored", from: "FROM \(table) AS stored WHERE \(isRow)"))
      END
      """
  }

  /// The newest entry, where a row of the new key was displaced.
  private var newestDisplaced: String {
    let isKey = zip(CloudTwoWay.keyColumns(key.count), key).map { "\($0) IS NEW.\($1)" }.joined(separator: " AND ")
    return """
      FROM drover_edit WHERE id = (SELECT max(id) FROM drover_edit) AND is_displaced AND stream = \(literal(stream.text))
                AND machine_id = NEW.\(machineColumn) AND \(isKey)
      """
  }

  private var displacedVersion: (epoch: String, version: String) {
    ("ifnull((SELECT old_epoch \(newestDisplaced)), 0)", "ifnull((SELECT old_version \(newestDisplaced)), 0)")
  }

  private func differ(_ columns: [String]) -> String {
    let (old, new) = (columns.map { "OLD.\($0)" }, columns.map { "NEW.\($0)" })
    return "(\(old.joined(separator: ", "))) IS NOT (\(new.joined(separator: ", ")))"
  }

  private func inserted() -> String {
    let displaced = newestDisplaced
    return """
      CREATE TRIGGER \(quoted(name("insert"))) AFTER INSERT ON \(table) WHEN \(isForeign) BEGIN
        \(refuseStranger("NEW"))
        \(refuse(completeSentence, where: "EXISTS (SELECT 1 \(displaced) AND was_complete)"))
        \(refuse(
          "drover_epoch and drover_version are Drover's own; leave them out",
          where: "(NEW.drover_epoch <> 0 OR NEW.drover_version <> 0) AND NOT EXISTS (SELECT 1 \(displaced) AND old_epoch = NEW.drover_epoch AND old_version = NEW.drover_version)"
        ))
        \(edit("NEW", old: displacedVersion))
      END
      """
  }

  private func updated(_ columns: [String], _ kept: [SQLName], own: [String], _ conditions: [Condition]) -> String {
    // The row that was displaced is the newest entry until another one is made.
    return """
      CREATE TRIGGER \(quoted(name("update"))) AFTER UPDATE ON \(table)
      WHEN \(isForeign) AND (\(differ(own)) OR \(differ(key + columns))) BEGIN
        \(refuse("\(own.joined(separator: ", ")) are Drover's own; change other columns", where: differ(own)))
        \(refuseStranger("OLD"))
        \(refuse(completeSentence, where: isComplete("OLD", conditions)))
        \(refuse(completeSentence, where: "EXISTS (SELECT 1 \(newestDisplaced) AND was_complete)"))
        \(edit("NEW", old: displacedVersion, where: differ(key)))
        \(edit("OLD", old: ("OLD.drover_epoch", "OLD.drover_version")))
        \(keep(kept, of: "OLD"))
      END
      """
  }

  private func deleted(_ conditions: [Condition], _ kept: [SQLName]) -> String {
    """
    CREATE TRIGGER \(quoted(name("delete"))) AFTER DELETE ON \(table) WHEN \(isForeign) BEGIN
      \(refuseStranger("OLD"))
      \(refuse(completeSentence, where: isComplete("OLD", conditions)))
      \(edit("OLD", old: ("OLD.drover_epoch", "OLD.drover_version")))
      \(keep(kept, of: "OLD"))
    END
    """
  }
}
