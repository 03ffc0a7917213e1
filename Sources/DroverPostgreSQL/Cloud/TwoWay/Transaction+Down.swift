// What goes down: the entries of `drover_row` in the order of their numbers, with their rows as they are now, and what machines have received of it.

import DroverCore
import DroverWire

extension Transaction {
  // MARK: The numbering

  func conflictCount(of machine: MachineID) throws -> Int {
    Int(
      try connection.query("SELECT count(*) FROM drover_conflict WHERE machine_id = $1", [.text(machine.text)])
        .integer(0, 0))
  }

  func downEpoch() throws -> Epoch {
    if let epoch = try note(Self.downEpochName) { return try Epoch(epoch) }
    try connection.query(
      "INSERT INTO drover_meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
      [.text(Self.downEpochName), .text(Epoch(random: .random(in: .min ... .max)).text)])
    return try Epoch(note(Self.downEpochName)!)
  }

  private static let downEpochName = "down_epoch"

  func downStreams(of machine: MachineID?) throws -> [DownStream] {
    let only = machine.map { _ in " AND flow.machine_id = $1" } ?? ""
    let parameters: [Parameter] = machine.map { [.text($0.text)] } ?? []
    let rows = try connection.query(
      """
      SELECT flow.machine_id, flow.name, flow.stream, coalesce(given.last, 0)
        FROM drover_flow AS flow
        LEFT JOIN drover_down AS given ON given.stream = flow.stream AND given.machine_id = flow.owner
       WHERE flow.machine_id <> '*'\(only) ORDER BY flow.machine_id, flow.name
      """, parameters)
    let received = try received(of: machine)
    return try (0..<rows.count).compactMap { row in
      let (machine, stream) = (try MachineID(rows.text(row, 0)), try StreamName(rows.text(row, 1)))
      guard let schema = try latestSchema(machine: machine, stream: stream) else { return nil }
      return DownStream(
        machine: machine, stream: stream, schema: schema, last: rows.integer(row, 3),
        received: received[[rows.text(row, 0), rows.text(row, 2)]] ?? IntervalSet())
    }
  }

  /// By machine and stream, in lower case.
  private func received(of machine: MachineID?) throws -> [[String]: IntervalSet] {
    let only = machine.map { _ in " WHERE machine_id = $1" } ?? ""
    let parameters: [Parameter] = machine.map { [.text($0.text)] } ?? []
    let rows = try connection.query(
      "SELECT machine_id, stream, after_seq, through_seq FROM drover_down_received\(only)", parameters)
    var received: [[String]: IntervalSet] = [:]
    for row in 0..<rows.count {
      guard let interval = Interval(believing: rows.integer(row, 2), rows.integer(row, 3)) else { continue }
      received[[rows.text(row, 0), rows.text(row, 1)], default: IntervalSet()].insert(interval)
    }
    return received
  }

  // MARK: Reading

  /// Rows whose content is in memory at a time.
  private static let rowsOfPiece = 64

  func readDown(_ stream: DownStream, after: Int64, limit: Int, maximumBytes: Int) throws -> DownRead {
    let owner = stream.schema.flow.owner(of: stream.machine)
    let origin: [Parameter] = [.text(owner.text), .text(TwoWayTables.name(stream.stream))]
    // Looked at first: numbers are committed in their order, so nothing up to here comes later.
    let given = try connection.query("SELECT last FROM drover_down WHERE machine_id = $1 AND stream = $2", origin)
    let last = given.count == 0 ? 0 : given.integer(0, 0)
    let run = try newestRun(origin)
    guard last > after, let table = try table(of: stream.stream) else {
      return DownRead(entries: [], scannedThrough: max(after, last), last: last, run: run)
    }
    let writer = try SinkWriter(
      table, names: stream.schema.columns.map { SQLName($0.name) }, key: stream.schema.key)
    let rows = try connection.query(
      """
      SELECT entry.number, entry.local_id, entry.cloud_version, entry.edge_version, own.epoch
        FROM drover_row AS entry LEFT JOIN drover_epoch AS own ON own.machine_id = $1 AND own.number = entry.edge_epoch
       WHERE entry.machine_id = $1 AND entry.stream = $2 AND entry.number > $3 AND entry.number <= $4
       ORDER BY entry.number LIMIT $5
      """, origin + [.integer(after), .integer(last), .integer(limit)])
    var entries: [OutboxEntry] = []
    var bytes = 0
    for first in stride(from: 0, to: rows.count, by: Self.rowsOfPiece) {
      let piece = first..<min(rows.count, first + Self.rowsOfPiece)
      let keys = try piece.map { try LocalIDCodec.key(rows.text($0, 1), schema: stream.schema) }
      let stored = try writer.find(keys.map(writer.converted), machine: owner, connection)
      for (row, (key, stored)) in zip(piece, zip(keys, stored)) {
        guard bytes < maximumBytes else {
          return DownRead(entries: entries, scannedThrough: entries.last!.seq, last: last, run: run)
        }
        let edge = try rows.optionalInteger(row, 3).map { version in
          // Of an epoch that is forgotten: it is none that the machine is in.
          DownEvent.Mark(epoch: try Epoch(rows.optionalText(row, 4) ?? "0"), version: version)
        }
        bytes += 64 + (stored?.values.reduce(0) { $0 + $1.size } ?? 0)
        entries.append(
          OutboxEntry(
            seq: rows.integer(row, 0), stream: 0, version: rows.integer(row, 2), key: Values(key),
            content: stored.map { .row(Values($0.values)) } ?? .none, edge: edge))
      }
    }
    if stream.schema.flow.merge == .columns { try leaveOutChanged(&entries, stream, owner, writer) }
    let isWhole = rows.count < limit
    return DownRead(
      entries: entries, scannedThrough: isWhole ? last : entries.last?.seq ?? last, last: last, run: run)
  }

  /// A row goes down as its version says, and not as a person has edited it since: that edit gives it another number.
  private func leaveOutChanged(
    _ entries: inout [OutboxEntry], _ stream: DownStream, _ owner: MachineID, _ writer: SinkWriter
  ) throws {
    guard !entries.isEmpty else { return }
    let origin = MachineStream(machine: owner, stream: stream.stream)
    let ids = entries.map { LocalIDCodec.text(key: Array($0.key), schema: stream.schema) }
    // In this order: an edit that is taken between the two questions has given the row another number.
    let edited = try waitingEdits(of: origin, stream.schema, writer)
    let bases = RowBases(self, origin, stream.schema)
    let renumbered = try bases.renumbered(zip(ids, entries).map { ($0, $1.seq) })
    entries = zip(ids, entries).filter { id, _ in
      !edited.contains(ExactText(id)) && !renumbered.contains(ExactText(id))
    }.map(\.1)
  }

  // MARK: Looking after it

  func conflictCounts() throws -> [MachineID: Int] {
    let rows = try connection.query("SELECT machine_id, count(*) FROM drover_conflict GROUP BY machine_id")
    var counts: [MachineID: Int] = [:]
    for row in 0..<rows.count {
      if let machine = try? MachineID(rows.text(row, 0)) { counts[machine] = Int(rows.integer(row, 1)) }
    }
    return counts
  }

  func mendCapture() throws -> [CaptureFault] {
    let faults = try Capture.faults(in: store.place, connection)
    guard faults.contains(where: \.isMended) else { return faults }
    let streams = try connection.query("SELECT DISTINCT stream FROM drover_flow ORDER BY stream")
    for row in 0..<streams.count {
      let stream = try StreamName(streams.text(row, 0))
      guard let table = try table(of: stream), faults.contains(where: { $0.isMended && $0.table == table.name }) else {
        continue
      }
      store.knowledge.captures.remove(SQLName(stream.text))
      try settleCapture(of: table, stream)
    }
    return faults
  }

  // MARK: What was received

  func note(_ confirmation: DownConfirmation, machine: MachineID) throws -> Bool {
    let streams = try downStreams(of: machine)
    // What a machine refuses is true whatever the numbering is.
    if !streams.isEmpty { try RefusedRowTable(connection: connection).note(confirmation.refused, machine: machine) }
    guard try confirmation.epoch == downEpoch() else { return false }
    let known = Dictionary(streams.map { ($0.stream, $0) }) { first, _ in first }
    for (stream, received) in confirmation.streams {
      guard let highest = received.last, try hasGoneBack(highest, confirmation, known[stream], machine, stream) else {
        continue
      }
      try beginAgain()
      return false
    }
    for stream in streams {
      guard let received = confirmation.streams[stream.stream], received != stream.received else { continue }
      let origin: [Parameter] = [.text(machine.text), .text(TwoWayTables.name(stream.stream))]
      try connection.query("DELETE FROM drover_down_received WHERE machine_id = $1 AND stream = $2", origin)
      try connection.query(
        """
        INSERT INTO drover_down_received (machine_id, stream, after_seq, through_seq)
        SELECT $1, $2, after_seq, through_seq FROM unnest($3::bigint[], $4::bigint[]) AS given (after_seq, through_seq)
        """,
        origin + [
          .integers(received.intervals.map(\.after)), .integers(received.intervals.map(\.through)),
        ])
    }
    for stream in streams where stream.last == 0 && stream.schema.flow.direction == .down {
      // The machine may have rows of an earlier numbering. It deletes them when it has heard all that the store has.
      _ = try RowBook(self, stream.owner, stream.stream).numbers(1)
    }
    return true
  }

  /// - Parameter known: the stream; nil where it does not go down, or the store does not know that it does.
  private func hasGoneBack(
    _ highest: Int64, _ confirmation: DownConfirmation, _ known: DownStream?, _ machine: MachineID, _ stream: StreamName
  ) throws -> Bool {
    let name = TwoWayTables.name(stream)
    guard let known else {
      let last = try connection.query(
        "SELECT coalesce(max(last), 0) FROM drover_down WHERE machine_id IN ($1, '*') AND stream = $2",
        [.text(machine.text), .text(name)]
      ).integer(0, 0)
      return highest > last
    }
    return StoreRun.storeWentBack(
      received: highest, in: confirmation.runs[stream] ?? 0,
      runs: try downRuns([.text(known.owner.text), .text(name)]), last: known.last)
  }

  /// The store has gone back: what it has decided since is lost, and everything goes down again.
  private func beginAgain() throws {
    try noteLostDecisions()
    try connection.query("DELETE FROM drover_down_received")
    try setMeta(Self.downEpochName, Epoch(random: .random(in: .min ... .max)).text)
  }

  /// Forgets entries of rows that are gone, when every machine concerned knows it.
  func retireGoneRows(goneBefore moment: Int64) throws {
    try connection.query("DELETE FROM drover_base WHERE at < $1", [.integer(store.now() - RowBase.lifetime)])
    try connection.query(
      """
      -- A version of a clock that is ahead stays known: the next one has to be above it.
      DELETE FROM drover_row AS gone WHERE gone_at < $1 AND cloud_version < $1
         AND NOT EXISTS (
           SELECT 1 FROM drover_flow AS flow
            WHERE flow.stream = gone.stream AND flow.owner = gone.machine_id AND flow.machine_id <> '*'
              AND gone.number > coalesce(
                    (SELECT received.through_seq FROM drover_down_received AS received
                      WHERE received.machine_id = flow.machine_id AND received.stream = flow.stream
                        AND received.after_seq = 0), 0))
      """, [.integer(moment)])
  }

  // MARK: Beginning

  /// Rows that get an entry at a time.
  private static let rowsOfBeginning = 2000

  /// All rows of a table of reference data go down that do not already.
  func beginDown(_ stream: StreamName, of owner: MachineID) throws {
    try lock(Locks.events(of: owner, stream))
    let origin = MachineStream(machine: owner, stream: stream)
    guard let table = try table(of: stream), let schema = try editedSchema(of: origin) else { return }
    let hasEntries = try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_row WHERE machine_id = $1 AND stream = $2)",
      [.text(owner.text), .text(TwoWayTables.name(stream))]
    ).boolean(0, 0)
    guard hasEntries else { return try takeAll(of: table, origin, schema) }
    try markWriter(of: table)
    let writer = try SinkWriter(table, names: schema.columns.map { SQLName($0.name) }, key: schema.key)
    var found: [(key: [Value], version: RowVersion)] = []
    let names = writer.key.map { writer.columns[$0].identifier }.joined(separator: ", ")
    let sql = "SELECT drover_epoch, drover_version, \(names) FROM \(table.qualified) WHERE \(table.machine) = $1"
    try connection.pieces(of: sql, [.text(owner.text)]) { rows in
      for row in 0..<rows.count {
        let key = writer.key.indices.map { writer.columns[writer.key[$0]].value(rows, row, $0 + 2) }
        found.append((key, RowVersion(epoch: rows.integer(row, 0), version: rows.integer(row, 1))))
      }
    }
    for first in stride(from: 0, to: found.count, by: Self.rowsOfBeginning) {
      try enter(Array(found[first..<min(found.count, first + Self.rowsOfBeginning)]), origin, schema, writer)
    }
  }

  /// All rows are taken as edits are, so many at a time that no one waits for all of them.
  private func takeAll(of table: SinkTable, _ origin: MachineStream, _ schema: StreamSchema) throws {
    let writer = try SinkWriter(table, names: schema.columns.map { SQLName($0.name) }, key: schema.key)
    let key = writer.key.map { writer.columns[$0].identifier }.joined(separator: ", ")
    try connection.query(
      """
      INSERT INTO drover_edit (stream, machine_id, key, epoch, version)
      SELECT $1, $2, pg_catalog.jsonb_build_array(\(key)), drover_epoch, drover_version FROM \(table.qualified)
       WHERE \(table.machine) = $2 ORDER BY \(key)
      """, [.text(TwoWayTables.name(origin.stream)), .text(origin.machine.text)], isKept: false)
    try connection.query("SELECT pg_notify('drover_edit', '')")
  }

  private func enter(
    _ rows: [(key: [Value], version: RowVersion)], _ origin: MachineStream, _ schema: StreamSchema,
    _ writer: SinkWriter
  ) throws {
    let book = RowBook(self, origin.machine, origin.stream)
    let ids = rows.map { LocalIDCodec.text(key: $0.key, schema: schema) }
    let marks = try book.marks(of: ids)
    var entries: [RowBook.Entry] = []
    var stamps: [(key: [Value], version: Int64)] = []
    for (id, row) in zip(ids, rows) where marks[ExactText(id)] == nil {
      let edge = row.version.epoch == 0 ? nil : row.version
      let version = TwoWayRule.decisionVersion(now: store.now(), known: TwoWayRule.Known(edge: edge))
      entries.append(
        RowBook.Entry(
          localID: id, mark: RowMark(edge: edge, cloud: version, isCloudContent: true), isGone: false))
      stamps.append((row.key, version))
    }
    try book.note(entries)
    try writer.stamp(stamps.map(\.key), versions: stamps.map(\.version), machine: origin.machine, feed)
  }
}

extension Value {
  /// About how many bytes it takes in a frame.
  fileprivate var size: Int {
    switch self {
    case .text(let bytes), .blob(let bytes): bytes.count
    case .null, .integer, .real: 8
    }
  }
}
