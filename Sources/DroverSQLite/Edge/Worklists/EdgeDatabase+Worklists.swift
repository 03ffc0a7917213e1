// Worklists in the app's database. A request is written down before it is published and orders are inserted in the transaction that looks whether the
// table is ready for them, so that a process that ends in between leaves all of it or nothing.

package import DroverCore
import DroverWire
import GRDB

extension EdgeDatabase {
  /// The declaration and the table of a worklist.
  func worklist(_ stream: Int) throws -> (name: StreamName, declaration: WorklistDeclaration, table: CapturedTable) {
    guard let found = streams.first(where: { $0.number == stream }), let declaration = found.declaration.worklist else {
      throw EdgeStoreError.failed("worklist: the configuration has none of this number")
    }
    guard !isWaiting(stream), let table = tables[stream] else {
      throw EdgeStoreError.failed(
        "worklist \(found.name): its stream waits because of its table; `drover status` says why")
    }
    return (found.name, declaration, table)
  }

  package func standing(worklist stream: Int) throws(EdgeStoreError) -> WorklistStanding {
    try verified { database in
      let (_, _, table) = try worklist(stream)
      let entry = try WorklistEntry(stream: stream, database)
      let finished = table.schema.completeWhen?.text { quoted($0) } ?? "0"
      return WorklistStanding(
        rows: try WorklistBookkeeping.rows(table.name, finished: finished, database), open: entry.open,
        last: entry.outcome, lastAt: entry.outcomeAt, isLastNoted: entry.isNoted, triggers: entry.triggers)
    }
  }

  package func openRequest(worklist stream: Int, new: RefillID, now: Int64) throws(EdgeStoreError) -> RefillID? {
    try writing { database in
      let list = try WorklistTable(self, stream: stream, database)
      let entry = try WorklistEntry(stream: stream, database)
      if let open = entry.open { return (open, false) }
      guard list.declaration.isEnabled, try list.rows().isReady(for: list.declaration.refillWhen) else {
        try database.execute(
          sql: "UPDATE drover_worklist SET skipped = skipped + 1 WHERE stream = ?", arguments: [stream])
        return (nil, true)
      }
      try database.execute(
        sql: "UPDATE drover_worklist SET request = ?2, requested_at = ?3, waits = NULL WHERE stream = ?1",
        arguments: [stream, new.text, now])
      return (new, true)
    }
  }

  package func refill(
    worklist stream: Int, request: RefillID, orders: [ReadOrder], left: Int, now: Int64
  ) throws(EdgeStoreError) -> RefillOutcome? {
    try writing { database in
      let list = try WorklistTable(self, stream: stream, database)
      let entry = try WorklistEntry(stream: stream, database)
      let rows = try list.rows()
      var outcome = RefillOutcome(request: request, isTaken: false)
      // What was cleared since the last outcome, and the cloud may not have heard.
      if !entry.isNoted { outcome.cleared = entry.outcome?.cleared ?? [] }
      var inserted = 0
      let answer: String
      switch RefillRule.decide(answer: request, open: entry.open, rows: rows, list.declaration) {
      case .ignore: return (nil, false)
      case .turnAway:
        let why =
          list.declaration.isEnabled
          ? "\(quantity(rows.all, "row")) had come into the table by then" : "the worklist is disabled"
        answer = "\(quantity(orders.count, "order")), which went back to the queue: \(why)"
      case .insert:
        outcome.isTaken = true
        _ = try list.remove(finishedOnly: true)
        for order in orders { try take(order, &outcome, &inserted, entry, list, stream, database) }
        answer = Self.answer(inserted, outcome, left: left)
      }
      try database.execute(
        sql: """
          UPDATE drover_worklist
             SET request = NULL, outcome = ?2, outcome_at = ?3, is_noted = 0, answer = ?4, answered_at = ?3,
                 orders = orders + ?5, refills = refills + ?6, skipped = skipped + 1 - ?6, refused = refused + ?7
           WHERE stream = ?1
          """,
        arguments: [
          stream, JSON.object(outcome.members).text(), now, answer, inserted, outcome.isTaken ? 1 : 0,
          outcome.refused.count,
        ])
      try database.execute(
        sql: "DELETE FROM drover_ordered WHERE stream = ? AND number <= ?",
        arguments: [stream, entry.orders + Int64(inserted) - WorklistBookkeeping.mostKeys])
      return (outcome, true)
    }
  }

  /// Does with one order of an answer what the table and what is remembered say.
  private func take(
    _ order: ReadOrder, _ outcome: inout RefillOutcome, _ inserted: inout Int, _ entry: WorklistEntry,
    _ list: WorklistTable, _ stream: Int, _ database: Database
  ) throws {
    let had = try Int64.fetchOne(
      database.cachedStatement(sql: "SELECT requeued FROM drover_ordered WHERE stream = ? AND key = ?"),
      arguments: [stream, order.key])
    guard !RefillRule.isKnown(order, had: had) else { return outcome.known.append(order.key) }
    do {
      try list.insert(order, number: inserted + 1)
    } catch let refusal as WorklistTable.Refusal {
      return outcome.refused.append(.init(key: order.key, why: Self.shortened(refusal.why)))
    }
    inserted += 1
    try database.execute(
      sql: "INSERT OR REPLACE INTO drover_ordered (stream, key, number, requeued) VALUES (?, ?, ?, ?)",
      arguments: [stream, order.key, entry.orders + Int64(inserted), order.requeuedAt ?? 0])
  }

  /// What came of an answer, for people.
  private static func answer(_ inserted: Int, _ outcome: RefillOutcome, left: Int) -> String {
    var parts = [quantity(inserted, "order")]
    if !outcome.refused.isEmpty { parts.append("\(outcome.refused.count) that the table refuses") }
    if !outcome.known.isEmpty { parts.append("\(outcome.known.count) that the machine had before") }
    return parts.joined(separator: ", ") + "; \(left) more wait in the cloud"
  }

  private static func shortened(_ why: String) -> String {
    guard why.utf8.count > WorklistRequest.mostReasonBytes else { return why }
    return String(decoding: why.utf8.prefix(WorklistRequest.mostReasonBytes - 3), as: UTF8.self)
      .filter { $0 != "\u{fffd}" } + "…"
  }

  package func close(worklist stream: Int, request: RefillID, why: String, now: Int64) throws(EdgeStoreError) {
    try writing { database in
      try database.execute(
        sql:
          "UPDATE drover_worklist SET request = NULL, answer = ?3, answered_at = ?4 WHERE stream = ?1 AND request = ?2",
        arguments: [stream, request.text, why, now])
      return ((), database.changesCount > 0)
    }
  }

  package func noted(worklist stream: Int, _ outcome: RefillOutcome) throws(EdgeStoreError) {
    try writing { database in
      guard case let entry = try WorklistEntry(stream: stream, database), !entry.isNoted, entry.outcome == outcome
      else { return ((), false) }
      try database.execute(sql: "UPDATE drover_worklist SET is_noted = 1 WHERE stream = ?", arguments: [stream])
      return ((), true)
    }
  }

  package func note(worklist stream: Int, waits why: String?) throws(EdgeStoreError) {
    try writing { database in
      try database.execute(
        sql: "UPDATE drover_worklist SET waits = ?2 WHERE stream = ?1 AND waits IS NOT ?2", arguments: [stream, why])
      return ((), false)
    }
  }

  package func clear(worklist stream: Int) throws(EdgeStoreError) -> (removed: Int, unfinished: [String]) {
    try writing { database in
      let list = try WorklistTable(self, stream: stream, database)
      let entry = try WorklistEntry(stream: stream, database)
      let (count, unfinished) = try list.remove(finishedOnly: false)
      try database.execute(
        sql: "UPDATE drover_worklist SET cleared = cleared + 1, cleared_rows = cleared_rows + ?2 WHERE stream = ?1",
        arguments: [stream, count])
      // Only orders: the app may have rows of its own in the table.
      let orders = try unfinished.filter {
        try Bool.fetchOne(
          database.cachedStatement(
            sql: "SELECT EXISTS (SELECT 1 FROM drover_ordered WHERE stream = ? AND key = ?)"), arguments: [stream, $0])!
      }
      guard var outcome = entry.outcome, !orders.isEmpty else { return ((count, unfinished), true) }
      let before = entry.isNoted ? [] : outcome.cleared
      outcome.cleared = Array((before + orders.filter { !before.contains($0) }).suffix(WorklistDeclaration.mostOrders))
      try database.execute(
        sql: "UPDATE drover_worklist SET outcome = ?2, is_noted = 0 WHERE stream = ?1",
        arguments: [stream, JSON.object(outcome.members).text()])
      return ((count, unfinished), true)
    }
  }

  /// Writes in one short transaction of a database that is still the one it was. A lock that the app holds is `busy`.
  /// - Parameter body: returns beside its result whether what it wrote has to be noticed when the database is put back to before it, and to survive a power
  ///   loss.
  private func writing<Result>(_ body: (Database) throws -> (Result, Bool)) throws(EdgeStoreError) -> Result {
    var isDue = false
    let result = try access { database -> Result in
      var result: Result?
      try database.inTransaction(.immediate) {
        try verify(database)
        try checkSchema(database)
        let (found, hasWritten) = try body(database)
        result = found
        // Only the agent counts its writes; another program's are as the app's.
        isDue = hasWritten && continuity != nil
        if isDue { try raiseGeneration(database) }
        return .commit
      }
      return result!
    }
    if isDue { remember() }
    return result
  }
}
