// What must have come of rows that both sides edit. A row's text names all edits that its last editor has seen.

import DroverCore

extension Invariants {
  /// Before they are mended: each row that differs is a dead letter of the machine's that says why.
  func refusedRowsAreListed() throws {
    for machine in machines() {
      let refused = try machine.refusedRows(of: "product")
      let (edge, cloud) = try rows(of: "product", machine, owner: machine.id.text)
      for id in Set(edge.keys).union(cloud.keys).sorted() where edge[id] != cloud[id] && refused[id] == nil {
        // One that is refused may be kept out of its place by another.
        fail(
          "a row that is refused is listed",
          "product \(id) of \(machine.id) is \(edge[id] ?? "gone") and in the cloud \(cloud[id] ?? "gone"); refused are \(refused)"
        )
      }
    }
  }

  /// What the cloud lists of a machine is what the machine refuses.
  func cloudKnowsWhatIsRefused() throws {
    for machine in machines() {
      let refused = Set(try machine.refusedRows(of: "product").keys)
      let listed = try reading { database -> Set<String> in
        guard try Self.tables(database).contains("drover_refused_row") else { return [] }
        var ids: Set<String> = []
        try database.rows(
          "SELECT local_id FROM drover_refused_row WHERE stream = 'product' AND machine_id = '\(machine.id)'"
        ) { ids.insert($0.text(0)) }
        return ids
      }
      guard refused != listed else { continue }
      fail("the cloud knows what a machine refuses", "\(machine.id) refuses \(refused), and the cloud lists \(listed)")
    }
  }

  /// Rows that are refused though they were changed such that they fit.
  func refusedRowsAreMended() throws {
    for machine in machines() {
      let (edge, cloud) = try rows(of: "product", machine, owner: machine.id.text)
      for (id, reason) in try machine.refusedRows(of: "product").sorted(by: { $0.key < $1.key }) {
        fail(
          "a row that was refused is written when it fits",
          "product \(id) of \(machine.id), \(reason), is \(edge[id] ?? "gone") and in the cloud \(cloud[id] ?? "gone")")
      }
    }
  }

  func twoWayEnd(_ machine: SimulatedMachine, _ tables: TwoWayTables) throws {
    for (table, owner) in [("product", machine.id.text), ("price", "*")] {
      let (edge, cloud) = try rows(of: table, machine, owner: owner)
      for id in Set(edge.keys).union(cloud.keys).sorted() where edge[id] != cloud[id] {
        fail(
          "both sides are equal in the end",
          "\(table) \(id) of \(machine.id) is \(edge[id] ?? "gone") and in the cloud \(cloud[id] ?? "gone")")
      }
    }
    let texts = try machine.texts(of: "product")
    let conflicts = try reading { database in
      try Self.tables(database).contains("drover_conflict") ? try TwoWayPerson.conflicts(database, machine.id) : []
    }
    noEditIsLost(machine, tables.ledger, texts, conflicts)
    conflictsAreTrue(machine, tables.ledger, texts, conflicts)
    try messagesAreFew(machine, tables)
  }

  private func rows(
    of table: String, _ machine: SimulatedMachine, owner: String
  ) throws -> (edge: [String: String], cloud: [String: String]) {
    let columns = try machine.columns(of: table)
    let cloud = try reading { database -> [String: String] in
      guard try Self.tables(database).contains(table) else { return [:] }
      var result: [String: String] = [:]
      try database.rows("SELECT id, \(quotedRow(columns)) FROM \(table) WHERE machine_id = '\(owner)'") {
        result[$0.text(0)] = $0.text(1)
      }
      return result
    }
    return (try machine.rows(of: table, columns: columns), cloud)
  }

  private func noEditIsLost(
    _ machine: SimulatedMachine, _ ledger: TwoWayLedger, _ texts: TwoWayTexts, _ conflicts: [TwoWayPerson.Conflict]
  ) {
    let kept = Set((texts.values + conflicts.compactMap(\.text) + ledger.removed).flatMap(TwoWayLedger.marks))
    let lost = ledger.owed.subtracting(kept)
    if !lost.isEmpty {
      fail("no edit is lost without a trace", "\(lost.sorted()) of \(machine.id)")
    }
    guard !ledger.wentBack else { return }
    for removal in ledger.removals where texts[removal.id]?.hasPrefix(removal.text) ?? false {
      guard !conflicts.contains(where: { $0.id == removal.id && $0.content == nil }) else { continue }
      fail(
        "a delete that lost is listed",
        "product \(removal.id) of \(machine.id): \(removal.side) has deleted \(removal.text), and it is \(texts[removal.id]!)"
      )
    }
  }

  /// Each value is listed once, and only where neither edit had seen the other.
  private func conflictsAreTrue(
    _ machine: SimulatedMachine, _ ledger: TwoWayLedger, _ texts: TwoWayTexts, _ conflicts: [TwoWayPerson.Conflict]
  ) {
    var seen: Set<TwoWayPerson.Conflict> = []
    for conflict in conflicts {
      guard let text = conflict.text else { continue }
      if !seen.insert(conflict).inserted {
        fail("a conflict is listed once", "product \(conflict.id) of \(machine.id): \(text)")
      }
      guard let present = texts[conflict.id] else { continue }
      if !ledger.cloudWentBack, !ledger.sentTwice.contains(present), text != present, text.hasPrefix(present) {
        fail(
          "no edit loses against one that it has seen",
          "product \(conflict.id) of \(machine.id) is \(present), and \(text) is listed")
      }
      if !ledger.wentBack, present == text {
        fail(
          "what is listed is not there",
          "product \(conflict.id) of \(machine.id) is \(present), and \(text) is listed")
      }
    }
  }

  /// A value that has just been listed lost against one that had not seen it. Later the winner may lose against another edit, and be gone.
  func newConflictsAreTrue() throws {
    let seen = newestConflict
    var found: [(machine: String, id: String, listed: String, present: String)] = []
    try reading { database in
      guard try Self.tables(database).contains("drover_conflict") else { return }
      newestConflict = try database.integer("SELECT max(id) FROM drover_conflict") ?? 0
      guard newestConflict > seen, try Self.tables(database).contains("product") else { return }
      try database.rows(
        """
        SELECT row.machine_id, row.id, json_extract(conflict.content, '$[1]'), row.log FROM drover_conflict AS conflict
          JOIN product AS row ON row.machine_id = conflict.machine_id AND row.id = conflict.local_id
                             AND row.drover_version = conflict.result
         WHERE conflict.stream = 'product' AND conflict.id > \(seen) AND conflict.content IS NOT NULL
        """
      ) { found.append(($0.text(0), $0.text(1), $0.text(2), $0.text(3))) }
    }
    for (machine, id, listed, present) in found where present.hasPrefix(listed) {
      guard let ledger = machines().first(where: { $0.id.text == machine })?.twoWay?.ledger, !ledger.cloudWentBack,
        !ledger.sentTwice.contains(listed)
      else { continue }
      fail(
        "no edit is listed against one that has seen it",
        "product \(id) of \(machine) is \(present), and \(listed) is listed")
    }
  }

  /// An edit makes one message, and a row that comes down makes none.
  private func messagesAreFew(_ machine: SimulatedMachine, _ tables: TwoWayTables) throws {
    if !tables.form.firesTrigger, tables.edits.count > tables.ledger.edgeChanges {
      fail(
        "an applied row is no edit",
        "\(machine.id) has sent \(tables.edits.count) edits, and its app has made \(tables.ledger.edgeChanges)")
    }
    guard !tables.ledger.wentBack else { return }
    let numbers = try reading { database in
      try Self.tables(database).contains("drover_down")
        ? try database.integer("SELECT last FROM drover_down WHERE machine_id = '\(machine.id)' AND stream = 'product'")
          ?? 0
        : 0
    }
    let most = tables.ledger.cloudChanges + tables.entries.count
    if numbers > most {
      fail("each edit goes down once", "\(numbers) rows went down to \(machine.id), and there were \(most) reasons")
    }
  }
}
