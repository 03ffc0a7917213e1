// Rows that people have edited with an SQL client are decided about: each gets its cloud version and its number. Who does that has the machine's stream
// to itself, like the one that merges its events. A row that is locked again is left for later, so that no open transaction is waited for.

import DroverCore
import DroverWire

/// An edit that is not taken yet.
private struct Edit {
  let id: Int64
  let key: [Value]
  /// The row's version before it, where an epoch of the machine stood there.
  let before: RowVersion?
}

/// What was taken of one stream.
struct TakenEdits {
  var ids: Set<ExactText> = []
  var count = 0
  var hasMore = false
}

extension Transaction {
  func takeEdits(limit: Int) throws -> (streams: Set<StreamName>, hasMore: Bool) {
    var streams: Set<StreamName> = []
    var left = limit
    let (origins, areOthersBusy) = try claimEdits()
    var hasMore = areOthersBusy
    for origin in origins {
      guard left > 0 else { return (streams, true) }
      do {
        let taken = try onSink(origin.stream) { try takeKnownEdits(of: origin, limit: left) }
        left -= taken.count
        hasMore = hasMore || taken.hasMore
        if taken.count > 0 { streams.insert(origin.stream) }
      } catch is SinkBlocked {
        // The streams of that table wait, and their edits with them.
      }
    }
    return (streams, hasMore)
  }

  /// The streams with edits that no other consumer is at work on; where others are at work on all of them, the first of them is waited for.
  private func claimEdits() throws -> (origins: [MachineStream], areOthersBusy: Bool) {
    let rows = try connection.query(
      """
      WITH RECURSIVE origin AS (
        (SELECT stream, machine_id FROM drover_edit ORDER BY stream, machine_id LIMIT 1)
        UNION ALL
        SELECT following.stream, following.machine_id FROM origin, LATERAL (
          SELECT stream, machine_id FROM drover_edit WHERE (stream, machine_id) > (origin.stream, origin.machine_id)
           ORDER BY stream, machine_id LIMIT 1) AS following)
      SELECT origin.stream, origin.machine_id, flow.name
        FROM origin LEFT JOIN drover_flow AS flow ON flow.stream = origin.stream AND flow.machine_id = origin.machine_id
      """)
    let origins = try (0..<rows.count).map { row in
      let machine = rows.text(row, 1)
      return MachineStream(
        machine: machine == MachineID.all.text ? .all : try MachineID(machine),
        // As the machine spells it.
        stream: try StreamName(rows.optionalText(row, 2) ?? rows.text(row, 0)))
    }
    let names = origins.map { Locks.events(of: $0.machine, $0.stream) }
    for name in names where !locked.contains(name) {
      if try connection.query("SELECT pg_try_advisory_xact_lock($1)", [.integer(name)]).boolean(0, 0) {
        locked.insert(name)
      }
    }
    if let first = names.first, !names.contains(where: locked.contains) { try lock(first) }
    let free = zip(origins, names).filter { locked.contains($0.1) }.map(\.0)
    return (free, free.count < origins.count)
  }

  // MARK: One stream

  /// Takes edits of a stream that the transaction has to itself.
  func takeEdits(of origin: MachineStream, limit: Int) throws -> TakenEdits {
    let hasAny = try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_edit WHERE stream = $1 AND machine_id = $2)",
      [.text(TwoWayTables.name(origin.stream)), .text(origin.machine.text)]
    ).boolean(0, 0)
    return hasAny ? try takeKnownEdits(of: origin, limit: limit) : TakenEdits()
  }

  private func takeKnownEdits(of origin: MachineStream, limit: Int) throws -> TakenEdits {
    let name = TwoWayTables.name(origin.stream)
    var taken = TakenEdits()
    guard let table = try table(of: origin.stream), table.isTwoWay, let schema = try editedSchema(of: origin) else {
      try connection.query(
        "DELETE FROM drover_edit WHERE stream = $1 AND machine_id = $2", [.text(name), .text(origin.machine.text)])
      return taken
    }
    try markWriter(of: table)
    let writer = try SinkWriter(table, names: schema.columns.map { SQLName($0.name) }, key: schema.key)
    let rows = EditedRows(transaction: self, origin: origin, schema: schema, writer: writer)
    var after: Int64 = 0
    while taken.count < limit {
      let most = min(limit - taken.count, EditedRows.most)
      let edits = try rows.edits(after: after, limit: most)
      guard let last = edits.last else { return taken }
      after = last.id
      let ids = try rows.take(edits)
      taken.count += ids.count
      taken.ids.formUnion(ids)
      if edits.count < most { return taken }
    }
    taken.hasMore = true
    return taken
  }

  /// The schema of rows that go down to a machine, or to all of them.
  func editedSchema(of origin: MachineStream) throws -> StreamSchema? {
    guard origin.machine == .all else { return try latestSchema(machine: origin.machine, stream: origin.stream) }
    let machines = try connection.query(
      """
      SELECT machine_id, name FROM drover_flow
       WHERE stream = $1 AND machine_id <> '*' AND owner = '*' ORDER BY machine_id LIMIT 1
      """, [.text(TwoWayTables.name(origin.stream))])
    guard machines.count > 0 else { return nil }
    return try latestSchema(machine: MachineID(machines.text(0, 0)), stream: StreamName(machines.text(0, 1)))
  }

  /// The keys of rows with edits that are not taken yet.
  func waitingEdits(of origin: MachineStream, _ schema: StreamSchema, _ writer: SinkWriter) throws -> Set<ExactText> {
    let rows = EditedRows(transaction: self, origin: origin, schema: schema, writer: writer)
    var ids: Set<ExactText> = []
    var after: Int64 = 0
    while true {
      let edits = try rows.edits(after: after, limit: EditedRows.most)
      ids.formUnion(edits.map { ExactText(rows.localID($0.key)) })
      guard edits.count == EditedRows.most, let last = edits.last else { return ids }
      after = last.id
    }
  }
}

private struct EditedRows {
  let transaction: Transaction
  let origin: MachineStream
  let schema: StreamSchema
  let writer: SinkWriter

  /// Edits that are in memory at a time.
  static let most = 1000

  private var connection: Connection { transaction.connection }
  private var machine: MachineID { origin.machine }
  private var parameters: [Parameter] { [.text(TwoWayTables.name(origin.stream)), .text(machine.text)] }

  func localID(_ key: [Value]) -> String { LocalIDCodec.text(key: key, schema: schema) }

  func edits(after id: Int64, limit: Int) throws -> [Edit] {
    let key = writer.key.enumerated().map { place, column in
      let type = writer.columns[column].type
      return switch type {
      case .jsonb: "key -> \(place)"
      case .json: "(key -> \(place))::json"
      default: "(key ->> \(place))::\(type.name)"
      }
    }
    let rows = try connection.query(
      """
      SELECT id, coalesce(epoch, 0), coalesce(version, 0), \(key.joined(separator: ", ")) FROM drover_edit
       WHERE stream = $1 AND machine_id = $2 AND id > $3 ORDER BY id LIMIT $4
      """, parameters + [.integer(id), .integer(limit)])
    return (0..<rows.count).map { row in
      let before = RowVersion(epoch: rows.integer(row, 1), version: rows.integer(row, 2))
      return Edit(
        id: rows.integer(row, 0),
        key: writer.key.indices.map { writer.columns[writer.key[$0]].value(rows, row, $0 + 3) },
        before: before.epoch == 0 ? nil : before)
    }
  }

  /// - Returns: the local IDs of the rows that were decided about.
  func take(_ edits: [Edit]) throws -> Set<ExactText> {
    var keys: [ExactText: [Value]] = [:]
    var before: [ExactText: RowVersion] = [:]
    for edit in edits {
      let id = ExactText(localID(edit.key))
      keys[id] = edit.key
      if let version = edit.before { before[id] = max(version, before[id] ?? version) }
    }
    // In the order in which they were edited.
    var seen: Set<ExactText> = []
    var ids = edits.map { ExactText(localID($0.key)) }.filter { seen.insert($0).inserted }
    let locked = try writer.lock(ids.map { keys[$0]! }, skips: true, machine: machine, connection)
    let stored = zip(ids, locked).reduce(into: [ExactText: StoredRow]()) { $0[$1.0] = $1.1 }
    let missing = ids.filter { stored[$0] == nil }
    if !missing.isEmpty {
      // One that is there and was not locked is being edited now: this edit is taken with that one.
      let versions = try writer.versions(missing.map { keys[$0]! }, machine: machine, connection)
      let left = Set(zip(missing, versions).filter { $1 != nil }.map(\.0))
      ids.removeAll(where: left.contains)
    }
    let taken = Set(ids)
    let gone = edits.filter { taken.contains(ExactText(localID($0.key))) }.map(\.id)
    if schema.flow.merge == .columns { try keepBases(of: edits, taken) }
    try connection.query(
      "DELETE FROM drover_edit AS edit USING \(GivenRows.entries("bigint")) WHERE \(GivenRows.isEntry(of: "edit", "id"))",
      [.text(machine.text), .text(TwoWayTables.name(origin.stream)), .integers(gone)])
    try decide(ids, keys, stored, before)
    return taken
  }

  /// What the machine may have of rows that were edited, before they get their versions.
  private func keepBases(of edits: [Edit], _ taken: Set<ExactText>) throws {
    var seen: Set<ExactText> = []
    // The first edit of a row knows what was there.
    let first = edits.filter { edit in
      let id = ExactText(localID(edit.key))
      return taken.contains(id) && seen.insert(id).inserted
    }
    let bases = RowBases(transaction, origin, schema)
    let before = try bases.before(first.map(\.id), writer)
    guard !before.isEmpty else { return }
    let marks = try RowBook(transaction, machine, origin.stream).marks(of: first.map { localID($0.key) })
    for edit in first {
      guard let values = before[edit.id] else { continue }
      let id = localID(edit.key)
      let mark = marks[ExactText(id)]
      try bases.keep(
        RowBase(values: values, edge: mark == nil ? edit.before : mark?.edge), id, held: mark?.cloud ?? 0)
    }
  }

  private func decide(
    _ ids: [ExactText], _ keys: [ExactText: [Value]], _ stored: [ExactText: StoredRow],
    _ before: [ExactText: RowVersion]
  ) throws {
    let texts = ids.map(\.text)
    let book = RowBook(transaction, machine, origin.stream)
    let marks = try book.marks(of: texts)
    let tombstones = try self.tombstones(texts)
    var entries: [RowBook.Entry] = []
    var stamps: [(key: [Value], version: Int64)] = []
    var deletes: [(key: [Value], version: Int64)] = []
    for id in ids {
      let row = stored[id]
      let mark = marks[id]
      var edge = mark?.edge
      if mark == nil { edge = row?.version.epoch ?? 0 > 0 ? row?.version : before[id] ?? tombstones[id] }
      // Inserted and deleted before the consumer read it. A machine may still have a row of reference data that the store does not know.
      guard row != nil || mark != nil || edge != nil || schema.flow.direction == .down else { continue }
      let known = TwoWayRule.Known(edge: edge, cloud: mark?.cloud ?? 0)
      let version = TwoWayRule.decisionVersion(now: transaction.store.now(), known: known)
      entries.append(
        RowBook.Entry(
          localID: id.text, mark: RowMark(edge: edge, cloud: version, isCloudContent: true), isGone: row == nil))
      if row == nil { deletes.append((keys[id]!, version)) } else { stamps.append((keys[id]!, version)) }
    }
    try book.note(entries)
    try writer.stamp(stamps.map(\.key), versions: stamps.map(\.version), machine: machine, transaction.feed)
    try writer.tellGone(deletes.map(\.key), versions: deletes.map(\.version), machine: machine, transaction.feed)
    let back = tombstones.keys.filter { stored[$0] != nil }.map(\.text)
    guard !back.isEmpty else { return }
    try connection.query(
      "DELETE FROM drover_tombstone AS known USING \(GivenRows.entries()) WHERE \(GivenRows.isEntry(of: "known"))",
      [.text(machine.text), .text(origin.stream.text), .texts(back)])
  }

  private func tombstones(_ ids: [String]) throws -> [ExactText: RowVersion] {
    let rows = try connection.query(
      """
      SELECT known.local_id, known.epoch, known.version
        FROM \(GivenRows.entries()) JOIN drover_tombstone AS known ON \(GivenRows.isEntry(of: "known"))
      """,
      [.text(machine.text), .text(origin.stream.text), .texts(ids)])
    var found: [ExactText: RowVersion] = [:]
    for row in 0..<rows.count {
      found[ExactText(rows.text(row, 0))] = RowVersion(epoch: rows.integer(row, 1), version: rows.integer(row, 2))
    }
    return found
  }
}
