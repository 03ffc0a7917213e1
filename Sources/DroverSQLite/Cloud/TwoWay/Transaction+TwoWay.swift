// Rows that both sides edit: histories of machines, their events, and edits in the cloud, which are taken and numbered.

import DroverCore
import DroverWire
import GRDB

extension Transaction {
  // MARK: Histories

  func note(_ lineage: Lineage, epoch: Epoch, machine: MachineID, stream: StreamName) throws {
    let origin = SQLiteCloudStore.Origin(machine: machine, stream: stream)
    if let known = store.cache.lineages[origin], known == (epoch, lineage) { return }
    let number = try number(of: epoch, machine: machine)
    // A parent of which nothing was ever heard has left nothing here.
    if let fork = lineage.fork, let parent = try knownNumber(of: fork.parent, machine: machine), parent != number {
      try database.execute(
        sql: """
          UPDATE drover_epoch SET parent = ?3, fork = ?4
           WHERE machine_id = ?1 AND number = ?2 AND (parent IS NOT ?3 OR fork IS NOT ?4)
          """, arguments: [machine.text, number, parent, fork.version])
      store.cache.histories[machine] = nil
    }
    let known = try Row.fetchOne(
      database, sql: "SELECT since, epoch FROM drover_since WHERE machine_id = ? AND stream = ?",
      arguments: [machine.text, stream.text])
    if lineage.fork != nil, known?["epoch"] != number {
      do {
        try onSink(stream) { try flowBack(stream, machine, history(of: number, machine: machine)) }
      } catch is SinkBlocked where store.care.isOn {
        return
      }
    }
    if known?["epoch"] != number || known?["since"] != lineage.since {
      try database.execute(
        sql: "INSERT OR REPLACE INTO drover_since (machine_id, stream, since, epoch) VALUES (?, ?, ?, ?)",
        arguments: [machine.text, stream.text, lineage.since, number])
    }
    store.cache.lineages[origin] = (epoch, lineage)
  }

  /// A machine continues from an earlier state: the rows whose newest own edit it has lost go down.
  private func flowBack(_ stream: StreamName, _ machine: MachineID, _ history: EpochHistory) throws {
    while try takeEdits(of: stream, limit: 10_000).hasMore {}
    guard let table = try twoWayTable(of: stream, owner: machine.text), table.schema.flow.direction == .both else {
      return
    }
    try beginWriting()
    var lost = try lostRows(of: table, machine, history)
    let entries = try prepared(
      """
      SELECT local_id, edge_epoch, edge_version FROM drover_row
       WHERE machine_id = ?1 AND stream = ?2 AND edge_epoch IS NOT NULL AND gone_at IS NULL
      """)
    entries.bind(machine.text, at: 1)
    entries.bind(stream.text, at: 2)
    while try entries.step() {
      guard !history.hasSeen(RowVersion(epoch: entries.integer(1), version: entries.integer(2))) else { continue }
      lost.insert(entries.text(0))
    }
    entries.reset()
    let now = store.now()
    let rows = try SinkRows(transaction: self, table: table, machine: machine, now: now)
    let merge = TwoWayMerge(rows, schema: table.schema, history: history, since: 0, now: now)
    for localID in lost.sorted() {
      let event = SinkEvent(
        seq: nil, localID: localID, version: 0, at: nil,
        key: try LocalIDCodec.key(localID, schema: table.schema), content: .none, raw: [])
      try merge.flowBack(event, rows.find([event])[0])
    }
  }

  /// Rows of the sink table whose own version is one that the machine has lost.
  private func lostRows(of table: TwoWayTable, _ machine: MachineID, _ history: EpochHistory) throws -> Set<String> {
    let schema = table.schema
    let keys = schema.key.map { quoted(schema.columns[$0].name) }.joined(separator: ", ")
    let rows = try Statement(
      database,
      "SELECT drover_epoch, drover_version, \(keys) FROM \(quoted(table.stream.text)) WHERE \(schema.machineColumn) = ?1"
    )
    rows.bind(machine.text, at: 1)
    var lost: Set<String> = []
    while try rows.step() {
      let version = RowVersion(epoch: rows.integer(0), version: rows.integer(1))
      guard version.epoch != 0, !history.hasSeen(version) else { continue }
      lost.insert(LocalIDCodec.text(key: schema.key.indices.map { rows.value(Int32($0 + 2)) }, schema: schema))
    }
    return lost
  }

  private func history(of epoch: Int64, machine: MachineID) throws -> EpochHistory {
    if let history = store.cache.histories[machine], history.epoch == epoch { return history }
    var forks: [Int64: (parent: Int64, version: Int64)] = [:]
    for row in try Row.fetchAll(
      database, sql: "SELECT number, parent, fork FROM drover_epoch WHERE machine_id = ? AND parent IS NOT NULL",
      arguments: [machine.text])
    {
      forks[row["number"]] = (row["parent"], row["fork"])
    }
    let history = EpochHistory(epoch: epoch, forks: forks)
    store.cache.histories[machine] = history
    return history
  }

  private func since(_ origin: SQLiteCloudStore.Origin) throws -> Int64 {
    if let known = store.cache.lineages[origin] { return known.lineage.since }
    return try Int64.fetchOne(
      database, sql: "SELECT since FROM drover_since WHERE machine_id = ? AND stream = ?",
      arguments: [origin.machine.text, origin.stream.text]) ?? 0
  }

  private func lostDecisions() throws -> LostDecisions {
    if let lost = store.cache.lostDecisions { return lost }
    let lost = LostDecisions(
      try Row.fetchAll(database, sql: "SELECT first, last FROM drover_lost_decision ORDER BY first").compactMap { row in
        let (first, last): (Int64, Int64) = (row["first"], row["last"])
        return first <= last ? first...last : nil
      })
    store.cache.lostDecisions = lost
    return lost
  }

  // MARK: Up

  /// Merges events of a machine whose stream goes down.
  func mergeTwoWay(
    _ events: [SinkEvent], epoch: Int64, _ table: TwoWayTable, of machine: MachineID, direction: Direction
  ) throws -> [MergeOutcome] {
    while try takeEdits(of: table.stream, limit: 10_000).hasMore {}
    table.serve(machine.text)
    table.refusals = [:]
    try beginWriting()
    guard direction == .both else { return try events.map { try refuse($0, table, of: machine) } }
    let origin = SQLiteCloudStore.Origin(machine: machine, stream: table.stream)
    let now = store.now()
    let merge = TwoWayMerge(
      try SinkRows(transaction: self, table: table, machine: machine, now: now), schema: table.schema,
      history: try history(of: epoch, machine: machine), since: try since(origin), lost: try lostDecisions(), now: now)
    return try merge.merge(events)
  }

  /// An edit at the edge of what the cloud alone edits: the stored row goes down again.
  private func refuse(_ event: SinkEvent, _ table: TwoWayTable, of machine: MachineID) throws -> MergeOutcome {
    let flow = table.schema.flow
    let owner = flow.owner(machine)
    let entries = try RowEntries(transaction: self, owner: owner, stream: table.stream)
    table.serve(owner)
    defer { table.serve(machine.text) }
    let stored = try table.stored(event.key)
    if stored != nil, case .row(let row) = event.content, try table.holds(Array(row), event.key) {
      return .superseded
    }
    if stored == nil, event.content == .none { return .superseded }
    let entry = try entries.find(event.localID)
    // A row that the cloud does not have goes down as a delete. Of a row for all machines the others hear it too, and do nothing.
    let now = store.now()
    let cloud = TwoWayRule.decisionVersion(
      now: now, known: .init(edge: entry?.edge, cloud: entry?.cloud ?? 0), event: event.version)
    let edge =
      flow.reach == .machine ? RowVersion(epoch: try newestNumber(of: machine), version: event.version) : nil
    try entries.write(
      RowMark(edge: edge, cloud: cloud, isCloudContent: true), event.localID,
      number: nextNumbers(1, owner: owner, stream: table.stream), goneAt: stored == nil ? now : nil)
    return .refused(
      .conflict,
      detail: "the rows of stream \(table.stream) come from the cloud; edit row \(event.localID) there")
  }

  /// From here on the triggers of sink tables do nothing, until the transaction ends.
  func beginWriting() throws {
    try prepared("INSERT OR IGNORE INTO drover_writer (id) VALUES (0)").run()
    store.isWriting = true
  }

  /// Tells the triggers of a sink table, if it has some, that the consumer writes: rows of a machine that only sends may stand in it too.
  func beginWriting(into stream: StreamName) throws {
    let captured = try store.cache.capturedTables ?? Set(downStreamNames().map { SQLName($0.text) })
    store.cache.capturedTables = captured
    if captured.contains(SQLName(stream.text)) { try beginWriting() }
  }

  /// Gives numbers to rows that go down. Returns the first of them.
  func nextNumbers(_ count: Int, owner: String, stream: StreamName) throws -> Int64 {
    let upsert = try prepared(
      """
      INSERT INTO drover_down (machine_id, stream, last) VALUES (?1, ?2, ?3)
      ON CONFLICT (machine_id, stream) DO UPDATE SET last = last + excluded.last RETURNING last
      """)
    upsert.bind(owner, at: 1)
    upsert.bind(stream.text, at: 2)
    upsert.bind(Int64(count), at: 3)
    let last: Int64
    do {
      defer { upsert.reset() }
      guard try upsert.step() else { throw DatabaseError.silence }
      last = upsert.integer(0)
    }
    try noteRun(from: last - Int64(count) + 1, owner: owner, stream: stream)
    let machine = owner == CloudTwoWay.everyMachine ? MachineID.all : try MachineID(owner)
    store.raised[MachineStream(machine: machine, stream: stream)] = last
    return last - Int64(count) + 1
  }

  var raised: [MachineStream: Int64] { store.raised }

  // MARK: Edits in the cloud

  func takeEdits(limit: Int) throws -> (streams: Set<StreamName>, hasMore: Bool) {
    var (streams, hasMore, left) = (Set<StreamName>(), false, limit)
    for stream in try editedStreams() {
      guard left > 0 else { return (streams, true) }
      do {
        let taken = try onSink(stream) { try takeEdits(of: stream, limit: left) }
        if taken.rows > 0 { streams.insert(stream) }
        left -= taken.read
        hasMore = hasMore || taken.hasMore
      } catch is SinkBlocked where store.care.isOn {
        // Its edits wait until the table can be written; they block nothing else.
      }
    }
    return (streams, hasMore)
  }

  /// The streams that go down and have edits which were not taken.
  private func editedStreams() throws -> [StreamName] {
    var found: [StreamName] = []
    for stream in try downStreamNames() {
      let any = try prepared("SELECT 1 FROM drover_edit WHERE stream = ?1 LIMIT 1")
      any.bind(stream.text, at: 1)
      defer { any.reset() }
      if try any.step() { found.append(stream) }
    }
    return found
  }

  func downStreamNames() throws -> [StreamName] {
    if let known = store.cache.downStreams { return known }
    let names = try String.fetchAll(database, sql: "SELECT DISTINCT stream FROM drover_flow ORDER BY stream")
      .map { try StreamName($0) }
    store.cache.downStreams = names
    return names
  }

  private struct EditedRow: Hashable {
    var owner: String
    var key: [Value]
  }

  /// - Returns: how many entries were read, how many rows were numbered, and whether more are left.
  func takeEdits(of stream: StreamName, limit: Int) throws -> (read: Int, rows: Int, hasMore: Bool) {
    let select = try prepared("SELECT * FROM drover_edit WHERE stream = ?1 ORDER BY id LIMIT ?2")
    select.bind(stream.text, at: 1)
    select.bind(Int64(limit), at: 2)
    var (order, olds): ([EditedRow], [EditedRow: RowVersion]) = ([], [:])
    var first: [EditedRow: Int64] = [:]
    var (read, last): (Int, Int64) = (0, 0)
    while try select.step() {
      read += 1
      last = select.integer(0)
      var row = EditedRow(owner: select.text(2), key: [])
      while row.key.count < SinkTable.maximumKeyColumns, !select.isNull(Int32(7 + row.key.count)) {
        row.key.append(select.value(Int32(7 + row.key.count)))
      }
      if first[row] == nil { first[row] = last }
      guard select.integer(5) == 0 else { continue }
      // The first edit that met a row of the machine's knows what it was.
      let old = RowVersion(epoch: select.integer(3), version: select.integer(4))
      if olds[row] == nil { order.append(row) }
      if olds[row] == nil || olds[row]!.epoch == 0 { olds[row] = old }
    }
    select.reset()
    guard read > 0 else { return (0, 0, false) }
    try beginWriting()
    var rows = 0
    for (owner, edited) in Dictionary(grouping: order, by: \.owner).sorted(by: { $0.key < $1.key }) {
      guard let table = try twoWayTable(of: stream, owner: owner) else { continue }
      if table.schema.flow.merge == .columns { try keepBases(of: edited, first, table, owner: owner) }
      rows += try number(edited, olds, table, owner: owner)
    }
    let delete = try prepared("DELETE FROM drover_edit WHERE stream = ?1 AND id <= ?2")
    delete.bind(stream.text, at: 1)
    delete.bind(last, at: 2)
    try delete.run()
    return (read, rows, read == limit)
  }

  /// The table of a machine's stream, or of the rows for all; nil where no machine has it any more.
  func twoWayTable(of stream: StreamName, owner: String) throws -> TwoWayTable? {
    var name: String? = owner
    if owner == CloudTwoWay.everyMachine {
      let first = try prepared(
        "SELECT machine_id FROM drover_flow WHERE stream = ?1 AND owner = ?2 AND machine_id <> ?2 LIMIT 1")
      first.bind(stream.text, at: 1)
      first.bind(owner, at: 2)
      defer { first.reset() }
      name = try first.step() ? first.text(0) : nil
    }
    guard let name, let machine = try? MachineID(name),
      let schema = try latestSchema(machine: machine, stream: stream), schema.flow.direction.goesDown
    else { return nil }
    let sink = Sink(machine: machine, stream: stream, kind: schema.kind, schema: schema)
    let table = try (store.table(of: sink) ?? self.table(of: sink)).twoWay
    table?.serve(owner)
    return table
  }

  /// What the machine may have of rows that were edited, before they get their versions.
  /// - Parameter first: the first edit of each row.
  private func keepBases(
    of edited: [EditedRow], _ first: [EditedRow: Int64], _ table: TwoWayTable, owner: String
  ) throws {
    let bases = RowBases(transaction: self, table: table, owner: owner, now: store.now())
    let entries = try RowEntries(transaction: self, owner: owner, stream: table.stream)
    for row in edited where row.key.count == table.schema.key.count {
      guard let before = try bases.before(edit: first[row]!) else { continue }
      let localID = LocalIDCodec.text(key: row.key, schema: table.schema)
      let entry = try entries.find(localID)
      try bases.keep(
        RowBase(values: before.values, edge: entry == nil ? before.version : entry?.edge), localID,
        held: entry?.cloud ?? 0)
    }
  }

  private func number(
    _ edited: [EditedRow], _ olds: [EditedRow: RowVersion], _ table: TwoWayTable, owner: String
  ) throws -> Int {
    let entries = try RowEntries(transaction: self, owner: owner, stream: table.stream)
    let now = store.now()
    var marks: [(localID: String, mark: RowMark, isThere: Bool)] = []
    for row in edited where row.key.count == table.schema.key.count {
      let localID = LocalIDCodec.text(key: row.key, schema: table.schema)
      let entry = try entries.find(localID)
      let stored = try table.stored(row.key)
      var edge = entry?.edge
      let old = olds[row]!
      if entry == nil, owner != CloudTwoWay.everyMachine {
        edge = old.epoch != 0 ? old : try table.tombstone(localID)
      }
      // Inserted and deleted before the consumer read it. A machine may still have a row of reference data that the store does not know.
      guard stored != nil || entry != nil || edge != nil || table.schema.flow.direction == .down else { continue }
      let version = TwoWayRule.decisionVersion(now: now, known: .init(edge: edge, cloud: entry?.cloud ?? 0))
      if stored == nil {
        try table.noteDelete(row.key, version: version)
      } else {
        try table.stamp(row.key, version: version)
      }
      marks.append((localID, RowMark(edge: edge, cloud: version, isCloudContent: true), stored != nil))
    }
    guard !marks.isEmpty else { return 0 }
    let first = try nextNumbers(marks.count, owner: owner, stream: table.stream)
    for (offset, (localID, mark, isThere)) in marks.enumerated() {
      try entries.write(mark, localID, number: first + Int64(offset), goneAt: isThere ? nil : now)
    }
    return marks.count
  }

  /// A table begins to go down as reference data: each row is to get an entry. They are taken as edits are, so many at a time that others can write
  /// in between.
  func numberAll(_ stream: StreamName, owner: String) throws {
    guard let table = try twoWayTable(of: stream, owner: owner) else { return }
    let schema = table.schema
    let keys = schema.key.map { quoted(schema.columns[$0].name) }.joined(separator: ", ")
    let places = CloudTwoWay.keyColumns(schema.key.count).joined(separator: ", ")
    let rows = "drover_epoch, drover_version, \(keys) FROM \(quoted(stream.text)) WHERE \(schema.machineColumn) = ?1"
    let edit = "INSERT INTO drover_edit (stream, machine_id, old_epoch, old_version, \(places))"
    guard try hasEntries(stream, owner: owner) else {
      let all = try Statement(database, "\(edit) SELECT ?2, ?1, \(rows)")
      all.bind(owner, at: 1)
      all.bind(stream.text, at: 2)
      try all.run()
      return
    }
    let entries = try RowEntries(transaction: self, owner: owner, stream: stream)
    let find = try Statement(database, "SELECT \(rows)")
    find.bind(owner, at: 1)
    let insert = try Statement(
      database, "\(edit) VALUES (?1, ?2, ?3, ?4, \(schema.key.indices.map { "?\($0 + 5)" }.joined(separator: ", ")))")
    insert.bind(stream.text, at: 1)
    insert.bind(owner, at: 2)
    while try find.step() {
      let key = schema.key.indices.map { find.value(Int32($0 + 2)) }
      guard try entries.find(LocalIDCodec.text(key: key, schema: schema)) == nil else { continue }
      insert.bind(find.integer(0), at: 3)
      insert.bind(find.integer(1), at: 4)
      for (index, value) in key.enumerated() { insert.bind(value, at: Int32(index + 5)) }
      try insert.run()
    }
  }

  private func hasEntries(_ stream: StreamName, owner: String) throws -> Bool {
    try Bool.fetchOne(
      database, sql: "SELECT EXISTS (SELECT 1 FROM drover_row WHERE machine_id = ? AND stream = ?)",
      arguments: [owner, stream.text])!
  }
}
