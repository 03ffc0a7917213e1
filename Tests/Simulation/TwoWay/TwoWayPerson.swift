// A person in the cloud who edits rows of the sink tables with an SQL client of their own, and knows nothing of Drover.

import DroverCore

final class TwoWayPerson {
  private let path: String
  private let mistake: Mistake?
  private var connection: PlainDatabase?
  /// Of the mistake that numbers an edit before its commit: the number that a transaction has which is still open.
  private var early: (machine: MachineID, number: Int64)?

  init(path: String, mistake: Mistake?) {
    self.path = path
    self.mistake = mistake
  }

  /// The store's file is replaced.
  func leave() {
    connection = nil
    early = nil
  }

  /// nil as long as the store has no table that can be edited.
  private func database(with table: String) throws -> PlainDatabase? {
    if connection == nil { connection = try? PlainDatabase(path: path, readOnly: false) }
    guard let connection,
      try connection.integer("SELECT 1 FROM sqlite_master WHERE name = 'drover_flow'") != nil,
      try connection.integer("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '\(table)'") != nil
    else { return nil }
    return connection
  }

  /// One transaction, about a machine's rows or about those that are for all.
  func edit(_ machine: MachineID, _ tables: TwoWayTables, _ random: inout Seeded) throws -> [String] {
    if random.percent(20) { return try transaction("price", owner: "*", tables, &random).said }
    if mistake == .numberedBeforeCommit {
      if early == nil, try begin(machine) { return ["begins a transaction"] }
      // It stays open while others are committed.
      if early?.machine == machine, random.percent(35) { try commit() }
    }
    return try transaction("product", owner: machine.text, tables, &random).said
  }

  private func transaction(
    _ table: String, owner: String, _ tables: TwoWayTables, _ random: inout Seeded
  ) throws -> (said: [String], isKept: Bool) {
    guard let database = try database(with: table) else { return ([], false) }
    var editor = TwoWayEditor(database, table: table, owner: owner, random: random) { tables.mark(.cloud) }
    let before = try editor.texts()
    try database.execute("BEGIN IMMEDIATE")
    let isKept = try editor.transaction()
    random = editor.random
    if isKept, table == "product" {
      tables.ledger.wrote(.cloud, before, try editor.texts(), changes: editor.changes)
    }
    return (editor.said, isKept)
  }

  /// Makes rows such that the app's table takes them. A row that the store has lost is inserted anew.
  func mend(_ machine: MachineID, _ tables: TwoWayTables, _ rows: [String]) throws -> [String] {
    guard !rows.isEmpty, let database = try database(with: "product") else { return [] }
    let before = try TwoWayEditor.texts(database, "product", owner: machine.text)
    var said: [String] = []
    for id in rows {
      let sql =
        "UPDATE product SET code = NULL, level = NULL, log = log || ? WHERE id = \(id) AND machine_id = '\(machine)'"
      try database.execute(sql, [.text(tables.mark(.cloud))])
      if tables.ledger.cloudWentBack, try database.integer("SELECT changes()") == 0 {
        try database.execute(
          "INSERT INTO product (machine_id, id, log) VALUES ('\(machine)', \(id), ?)", [.text(tables.mark(.cloud))])
      }
      said.append(sql)
    }
    let after = try TwoWayEditor.texts(database, "product", owner: machine.text)
    tables.ledger.wrote(.cloud, before, after, changes: rows.count)
    return said
  }

  // MARK: Looking

  func waiting() throws -> Int64 {
    guard let database = try database(with: "drover_flow") else { return 0 }
    return try database.integer(
      """
      SELECT (SELECT count(*) FROM drover_edit)
           + (SELECT count(*) FROM drover_flow AS flow JOIN drover_down AS down ON down.machine_id = flow.owner AND down.stream = flow.stream
               WHERE flow.machine_id <> '*' AND down.last > 0
                 AND down.last > ifnull((SELECT through_seq FROM drover_down_received AS received
                                          WHERE received.machine_id = flow.machine_id AND received.stream = flow.stream AND after_seq = 0), 0))
      """)!
  }

  func texts(of machine: MachineID) throws -> (rows: [String], listed: [String]) {
    guard let database = try database(with: "product") else { return ([], []) }
    let rows = try TwoWayEditor.texts(database, "product", owner: machine.text)
    return (Array(rows.values), try Self.conflicts(database, machine).compactMap(\.text))
  }

  struct Conflict: Hashable {
    var id: String
    /// nil for a delete that lost.
    var content: String?
    /// Of the value that lost.
    var text: String?
  }

  static func conflicts(_ database: PlainDatabase, _ machine: MachineID) throws -> [Conflict] {
    var conflicts: [Conflict] = []
    try database.rows(
      """
      SELECT local_id, content IS NULL, content, json_extract(content, '$[1]') FROM drover_conflict
       WHERE machine_id = '\(machine)' AND stream = 'product' ORDER BY id
      """
    ) { row in
      let isDelete = row.integer(1) == 1
      conflicts.append(
        Conflict(id: row.text(0), content: isDelete ? nil : row.text(2), text: isDelete ? nil : row.text(3)))
    }
    return conflicts
  }

  // MARK: The mistake

  /// Begins a transaction whose edit has its number from now on.
  private func begin(_ machine: MachineID) throws -> Bool {
    guard let database = try database(with: "product"),
      let last = try database.integer(
        "SELECT last FROM drover_down WHERE machine_id = '\(machine)' AND stream = 'product'")
    else { return false }
    try database.execute(
      "UPDATE drover_down SET last = last + 1 WHERE machine_id = '\(machine)' AND stream = 'product'")
    early = (machine, last + 1)
    return true
  }

  /// The next edit of the machine's rows gets the number of the transaction that was begun.
  private func commit() throws {
    guard let database = try database(with: "product"), let early else { return }
    let statements = """
      UPDATE drover_row SET number = (SELECT number FROM mistake)
       WHERE machine_id = NEW.machine_id AND stream = NEW.stream AND local_id = NEW.local_id;
      DELETE FROM mistake;
      """
    let isIt = "NEW.stream = 'product' AND EXISTS (SELECT 1 FROM mistake WHERE machine_id = NEW.machine_id)"
    try database.execute(
      """
      CREATE TABLE IF NOT EXISTS mistake (machine_id TEXT, number INTEGER);
      CREATE TRIGGER IF NOT EXISTS mistake_insert AFTER INSERT ON drover_row WHEN \(isIt) BEGIN \(statements) END;
      CREATE TRIGGER IF NOT EXISTS mistake_update AFTER UPDATE OF number ON drover_row WHEN \(isIt) BEGIN \(statements) END;
      INSERT INTO mistake VALUES ('\(early.machine)', \(early.number));
      """)
    self.early = nil
  }
}
