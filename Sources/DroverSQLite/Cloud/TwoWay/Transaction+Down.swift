// The way down: rows are read in the order of their numbers, and confirmed.

import DroverCore
import DroverWire
import GRDB

extension Transaction {
  // MARK: Down

  func conflictCount(of machine: MachineID) throws -> Int {
    try ConflictTable(database: database).count(of: machine)
  }

  func conflictCounts() throws -> [MachineID: Int] { try ConflictTable(database: database).counts() }

  /// They are made again in each transaction that comes after a change of the database's schema.
  func mendCapture() throws -> [CaptureFault] {
    defer { store.captureFaults = [] }
    return store.captureFaults
  }

  func downEpoch() throws -> Epoch {
    let known = try prepared("SELECT value FROM drover_meta WHERE name = 'down_epoch'")
    defer { known.reset() }
    if try known.step(), let epoch = try? Epoch(known.text(0)) { return epoch }
    let epoch = Epoch(random: .random(in: .min ... .max))
    try setNote("down_epoch", epoch.text)
    return epoch
  }

  func downStreams(of machine: MachineID?) throws -> [DownStream] {
    let received = try downReceived(by: machine)
    let flows = try prepared(
      """
      SELECT flow.machine_id, flow.stream, ifnull(down.last, 0)
        FROM drover_flow AS flow LEFT JOIN drover_down AS down ON down.machine_id = flow.owner AND down.stream = flow.stream
       WHERE flow.machine_id <> '*' \(machine == nil ? "" : "AND flow.machine_id = ?1")
       ORDER BY flow.machine_id, flow.stream
      """)
    if let machine { flows.bind(machine.text, at: 1) }
    defer { flows.reset() }
    var streams: [DownStream] = []
    while try flows.step() {
      let origin = MachineStream(machine: try MachineID(flows.text(0)), stream: try StreamName(flows.text(1)))
      guard let schema = try latestSchema(machine: origin.machine, stream: origin.stream) else { continue }
      streams.append(
        DownStream(
          machine: origin.machine, stream: origin.stream, schema: schema, last: flows.integer(2),
          received: received[origin] ?? IntervalSet()))
    }
    return streams
  }

  /// - Parameter machine: nil for all.
  private func downReceived(by machine: MachineID?) throws -> [MachineStream: IntervalSet] {
    let rows = try prepared(
      """
      SELECT machine_id, stream, after_seq, through_seq FROM drover_down_received \(machine == nil ? "" : "WHERE machine_id = ?1")
      """)
    if let machine { rows.bind(machine.text, at: 1) }
    defer { rows.reset() }
    var received: [MachineStream: IntervalSet] = [:]
    while try rows.step() {
      guard let interval = Interval(believing: rows.integer(2), rows.integer(3)) else { continue }
      let origin = MachineStream(machine: try MachineID(rows.text(0)), stream: try StreamName(rows.text(1)))
      received[origin, default: IntervalSet()].insert(interval)
    }
    return received
  }

  func readDown(_ stream: DownStream, after: Int64, limit: Int, maximumBytes: Int) throws -> DownRead {
    let owner = stream.schema.flow.owner(stream.machine)
    do {
      return try onSink(stream.stream) {
        guard let table = try twoWayTable(of: stream.stream, owner: owner) else {
          return DownRead(entries: [], scannedThrough: after, last: stream.last)
        }
        return try read(stream, of: owner, table, after: after, limit: limit, maximumBytes: maximumBytes)
      }
    } catch is SinkBlocked where store.care.isOn {
      // What cannot be read goes down when the table is whole again.
      return DownRead(entries: [], scannedThrough: after, last: stream.last)
    }
  }

  private func read(
    _ stream: DownStream, of owner: String, _ table: TwoWayTable, after: Int64, limit: Int, maximumBytes: Int
  ) throws -> DownRead {
    // A row goes down as its version says, not as a person has edited it since.
    if table.schema.flow.merge == .columns { while try takeEdits(of: stream.stream, limit: 10_000).hasMore {} }
    var read = DownRead(
      entries: [], scannedThrough: after, last: try lastNumber(owner: owner, stream: stream.stream),
      run: try newestRun(owner: owner, stream: stream.stream))
    let select = try prepared(
      """
      SELECT local_id, number, cloud_version, edge_epoch, edge_version FROM drover_row
       WHERE machine_id = ?1 AND stream = ?2 AND number > ?3 ORDER BY number LIMIT ?4
      """)
    select.bind(owner, at: 1)
    select.bind(stream.stream.text, at: 2)
    select.bind(after, at: 3)
    select.bind(Int64(limit), at: 4)
    defer { select.reset() }
    var epochs: [Int64: Epoch] = [:]
    var bytes = 0
    while try select.step() {
      let key = try LocalIDCodec.key(select.text(0), schema: table.schema)
      let stored = try table.stored(key)
      var entry = OutboxEntry(
        seq: select.integer(1), stream: 0, version: select.integer(2), key: Values(key),
        content: stored.map { .row(Values($0.values)) } ?? .none)
      if !select.isNull(3), owner != CloudTwoWay.everyMachine {
        let number = select.integer(3)
        if epochs[number] == nil { epochs[number] = try epoch(number, of: stream.machine) }
        entry.edge = epochs[number].map { DownEvent.Mark(epoch: $0, version: select.integer(4)) }
      }
      read.entries.append(entry)
      read.scannedThrough = entry.seq
      bytes += (stored?.values ?? key).reduce(16) { $0 + $1.size }
      if bytes >= maximumBytes { return read }
    }
    // Numbers between the entries are those of rows that were numbered again.
    if read.entries.count < limit { read.scannedThrough = max(after, read.last) }
    return read
  }

  /// An epoch by its number. Of one that is forgotten stands the oldest that is known: all that a machine asks is whether it is its own.
  func epoch(_ number: Int64, of machine: MachineID) throws -> Epoch? {
    try String.fetchOne(
      database,
      sql: """
        SELECT epoch FROM drover_epoch WHERE machine_id = ?1 AND number >= ?2 ORDER BY number LIMIT 1
        """, arguments: [machine.text, number]
    ).map { try Epoch($0) }
  }

  func note(_ confirmation: DownConfirmation, machine: MachineID) throws -> Bool {
    let streams = try downStreams(of: machine)
    // What a machine refuses is true whatever the numbering is.
    if !streams.isEmpty { try RefusedRowTable(database: database).note(confirmation.refused, machine: machine) }
    guard try confirmation.epoch == downEpoch() else { return false }
    let known = Dictionary(streams.map { ($0.stream, $0) }) { first, _ in first }
    for (stream, received) in confirmation.streams {
      guard let highest = received.last, try hasGoneBack(highest, confirmation, known[stream], machine, stream) else {
        continue
      }
      try beginDownEpoch()
      return false
    }
    for (stream, received) in confirmation.streams {
      guard let before = known[stream]?.received, before != received else { continue }
      try setDownReceived(received, machine: machine, stream: stream)
    }
    for stream in streams where stream.last == 0 && stream.schema.flow.direction == .down {
      // The machine may have rows of an earlier numbering. It deletes them when it has heard all that the store has.
      _ = try nextNumbers(1, owner: stream.owner.text, stream: stream.stream)
    }
    return true
  }

  /// - Parameter known: the stream; nil where it does not go down, or the store does not know that it does.
  private func hasGoneBack(
    _ highest: Int64, _ confirmation: DownConfirmation, _ known: DownStream?, _ machine: MachineID, _ stream: StreamName
  ) throws -> Bool {
    guard let known else {
      return try highest
        > max(
          lastNumber(owner: machine.text, stream: stream),
          lastNumber(owner: CloudTwoWay.everyMachine, stream: stream))
    }
    return StoreRun.storeWentBack(
      received: highest, in: confirmation.runs[stream] ?? 0,
      runs: try downRuns(owner: known.owner.text, stream: stream), last: known.last)
  }

  private func lastNumber(owner: String, stream: StreamName) throws -> Int64 {
    let last = try prepared("SELECT last FROM drover_down WHERE machine_id = ?1 AND stream = ?2")
    last.bind(owner, at: 1)
    last.bind(stream.text, at: 2)
    defer { last.reset() }
    return try last.step() ? last.integer(0) : 0
  }

  private func setDownReceived(_ received: IntervalSet, machine: MachineID, stream: StreamName) throws {
    let delete = try prepared("DELETE FROM drover_down_received WHERE machine_id = ?1 AND stream = ?2")
    let insert = try prepared(
      "INSERT INTO drover_down_received (machine_id, stream, after_seq, through_seq) VALUES (?1, ?2, ?3, ?4)")
    for statement in [delete, insert] {
      statement.bind(machine.text, at: 1)
      statement.bind(stream.text, at: 2)
    }
    try delete.run()
    for interval in received.intervals {
      insert.bind(interval.after, at: 3)
      insert.bind(interval.through, at: 4)
      try insert.run()
    }
  }

  /// The store went back: what was decided after the moment to which it went back is lost.
  func beginDownEpoch() throws {
    try noteLostDecisions()
    try database.execute(sql: "DELETE FROM drover_down_received")
    try setNote("down_epoch", Epoch(random: .random(in: .min ... .max)).text)
  }

  /// Forgets the entries of rows that were deleted before a moment and have gone down.
  /// - Parameter moment: microseconds since 1970.
  func retireEntries(goneBefore moment: Int64) throws {
    try database.execute(sql: "DELETE FROM drover_base WHERE at < ?", arguments: [store.now() - RowBase.lifetime])
    try database.execute(
      sql: """
        DELETE FROM drover_row
         -- A version of a clock that is ahead stays known: the next one has to be above it.
         WHERE gone_at < ?1 AND cloud_version < ?1
           AND (number IS NULL
                OR NOT EXISTS (SELECT 1 FROM drover_flow AS flow
                                WHERE flow.stream = drover_row.stream AND flow.owner = drover_row.machine_id AND flow.machine_id <> '*'
                                  AND drover_row.number >
                                      ifnull((SELECT through_seq FROM drover_down_received AS received
                                               WHERE received.machine_id = flow.machine_id AND received.stream = flow.stream
                                                 AND received.after_seq = 0), 0)))
        """, arguments: [moment])
  }
}

extension Value {
  /// About what it takes, in bytes.
  fileprivate var size: Int {
    switch self {
    case .null: 1
    case .integer, .real: 8
    case .text(let bytes), .blob(let bytes): bytes.count
    }
  }
}
