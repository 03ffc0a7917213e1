// What must hold while everything fails, and what must have come of it in the end. It is asked of the files alone: the edges' outboxes
// and the cloud's tables, read by connections of its own.

import DroverCore
import DroverEdge

/// A broken promise: which one, and how it shows.
package struct Violation: Error, Equatable, CustomStringConvertible {
  package let invariant: String
  package let detail: String
  package var description: String { "\(invariant): \(detail)" }
}

final class Invariants {
  private struct Key: Hashable {
    var machine: String
    var stream: String
    var id: String
  }

  private struct Origin: Hashable {
    var machine: String
    var epoch: String
    var stream: String
  }

  /// What the cloud held after its last commit.
  private struct Cloud {
    var received: [Origin: IntervalSet] = [:]
    var epochs: [String: Int64] = [:]
    /// Rows of snapshots and batches with their version.
    var rows: [Key: (version: RowVersion, row: String)] = [:]
    /// Those of batches that are complete.
    var complete: Set<Key> = []
    var tombstones: [Key: RowVersion] = [:]
    /// The newest tombstones that the store has let go of.
    var retired: [Key: RowVersion] = [:]
    var facts: [Key: String] = [:]
  }

  private let path: String
  let machines: () -> [SimulatedMachine]
  /// Judge only what is left in the end: how a mistake would look to somebody who cannot see into the system.
  private let onlyTheEnd: Bool
  private var reader: PlainDatabase?
  private var cloud = Cloud()
  private var dataVersion: Int64?
  private var backup: Cloud?
  /// What was committed at any time, also in a cloud that was put back since.
  private var everReceived: [Origin: IntervalSet] = [:]
  /// Of rows that both sides edit.
  var newestConflict: Int64 = 0
  /// The first that was broken.
  private(set) var violation: Violation?

  init(path: String, onlyTheEnd: Bool, machines: @escaping () -> [SimulatedMachine]) {
    self.path = path
    self.onlyTheEnd = onlyTheEnd
    self.machines = machines
  }

  func fail(_ invariant: String, _ detail: String) {
    if violation == nil { violation = Violation(invariant: invariant, detail: detail) }
  }

  // MARK: While it runs

  /// After every commit of the cloud's.
  func didCommit() {
    guard !onlyTheEnd, violation == nil else { return }
    do {
      // Most transactions only ask.
      let version = try reading { try $0.integer("PRAGMA data_version") }
      guard version != dataVersion else { return }
      dataVersion = version
      let before = cloud
      cloud = try reading(Self.state)
      for (origin, set) in cloud.received { everReceived[origin, default: IntervalSet()].formUnion(set) }
      cloud.retired = retired(since: before)
      nothingGoesBack(before)
      try coverageIsTrue()
      try newConflictsAreTrue()
    } catch {
      fail("the simulation itself", "\(error)")
    }
  }

  /// A tombstone that is retired has had its effect, whatever comes late of an epoch that is over.
  private func retired(since before: Cloud) -> [Key: RowVersion] {
    let gone = before.tombstones.filter { cloud.tombstones[$0.key] == nil && cloud.rows[$0.key] == nil }
    return before.retired.merging(gone) { max($0, $1) }
  }

  private func nothingGoesBack(_ before: Cloud) {
    for (origin, set) in before.received where !set.subtracting(cloud.received[origin] ?? IntervalSet()).isEmpty {
      fail(
        "what is received stays received",
        "\(origin.stream) of \(origin.machine) had \(set) and has \(cloud.received[origin] ?? IntervalSet())")
    }
    for key in before.complete where cloud.rows[key]?.row != before.rows[key]?.row {
      fail(
        "a complete batch never changes",
        "\(key.stream) \(key.id) of \(key.machine): \(before.rows[key]!.row) to \(cloud.rows[key]?.row ?? "nothing")")
    }
    for (key, old) in before.rows {
      if let new = cloud.rows[key] {
        if new.version < old.version {
          fail("versions never go back", "\(key.stream) \(key.id) of \(key.machine): \(old.version) to \(new.version)")
        } else if new.version == old.version, new.row != old.row {
          fail(
            "a row changes only with a newer version",
            "\(key.stream) \(key.id) of \(key.machine): \(old.row) to \(new.row)")
        }
      } else if cloud.tombstones[key].map({ $0 <= old.version }) ?? true {
        fail("a row goes only by a newer delete", "\(key.stream) \(key.id) of \(key.machine)")
      }
    }
    for (key, old) in before.tombstones {
      if let row = cloud.rows[key], row.version <= old {
        fail(
          "a deleted row comes back only with a newer version",
          "\(key.stream) \(key.id) of \(key.machine): deleted at \(old), there at \(row.version)")
      }
      if let new = cloud.tombstones[key], new < old {
        fail("versions never go back", "\(key.stream) \(key.id) of \(key.machine): deleted at \(old), now \(new)")
      }
    }
    for (key, old) in before.facts where cloud.facts[key] != old {
      fail(
        "a fact never changes",
        "\(key.stream) \(key.id) of \(key.machine): \(old) to \(cloud.facts[key] ?? "nothing")")
    }
  }

  /// Whatever still lies in an outbox and is covered in the cloud has had its effect there.
  private func coverageIsTrue() throws {
    for machine in machines() {
      guard !machine.isAmbiguous, let epoch = machine.epoch, let number = cloud.epochs[epoch] else { continue }
      for entry in try machine.outbox() {
        let origin = Origin(machine: machine.id.text, epoch: epoch, stream: entry.stream)
        guard cloud.received[origin]?.contains(entry.seq) ?? false else { continue }
        let key = Key(machine: machine.id.text, stream: entry.stream, id: entry.key)
        let version = RowVersion(epoch: number, version: entry.version)
        let isApplied =
          if let retired = cloud.retired[key], retired >= version {
            true
          } else if ["stock", "lot"].contains(entry.stream) {
            try cloud.rows[key].map { $0.version >= version || cloud.complete.contains(key) }
              ?? (cloud.tombstones[key].map { $0 >= version } ?? !machine.hasRow(entry.key, in: entry.stream))
          } else {
            // What becomes of an edit of a two-way row is looked at in the end.
            TwoWayForm.streams.contains(entry.stream) || cloud.facts[key] != nil
          }
        if !isApplied {
          fail(
            "coverage is true",
            "the cloud covers seq \(entry.seq) of \(entry.stream) of \(machine.id), key \(entry.key), and has not applied it"
          )
        }
      }
    }
  }

  /// Before an edge forgets.
  func willForget(_ machine: SimulatedMachine, _ settlement: Settlement) {
    guard !onlyTheEnd, violation == nil, settlement.confirmed.values.contains(where: { !$0.isEmpty }) else { return }
    guard let entries = try? machine.outbox(), let epoch = machine.epoch else { return }
    for entry in entries {
      guard let number = (["stock", "reading", "note", "lot"] + TwoWayForm.streams).firstIndex(of: entry.stream),
        settlement.confirmed[number + 1]?.contains(entry.seq) ?? false
      else { continue }
      let origin = Origin(machine: machine.id.text, epoch: epoch, stream: entry.stream)
      if !(everReceived[origin]?.contains(entry.seq) ?? false) {
        fail(
          "an edge forgets only what the cloud has committed",
          "seq \(entry.seq) of \(entry.stream) of \(machine.id), key \(entry.key)")
      }
    }
  }

  /// After every step.
  func epochsHaveReasons() {
    guard !onlyTheEnd else { return }
    for machine in machines() {
      guard let (before, new) = machine.epochForNothing(), (try? isOver(before, new, machine)) != true else { continue }
      fail("an epoch begins only for a reason", "\(machine.id), and nothing was put back since its last epoch began")
    }
  }

  /// Whether the cloud heard of yet another epoch after this one: of a future that was lost with a database, whose frames came late. Its
  /// rows have won, so one more epoch has to begin.
  private func isOver(_ epoch: String, _ new: String, _ machine: SimulatedMachine) throws -> Bool {
    try reading {
      try $0.integer(
        """
        SELECT 1 FROM drover_epoch AS this JOIN drover_epoch AS later USING (machine_id)
         WHERE machine_id = '\(machine.id)' AND this.epoch = '\(epoch)' AND later.epoch <> '\(new)'
           AND later.number > this.number
        """) != nil
    }
  }

  /// After every turn of an agent.
  func windowHolds(_ machine: SimulatedMachine, leftBefore: Int) {
    guard !onlyTheEnd, let window = machine.window else { return }
    let limits = window.limits
    if window.events > max(limits.window.events, leftBefore) {
      fail("the window holds", "\(machine.id): \(window.events) events, and \(limits.window.events) are allowed")
    }
    // A read begins while there is room; what it brought is sent.
    let read = limits.readBytes * 4 + limits.readEvents * 1000
    if window.bytes > limits.window.bytes + read {
      fail("the window holds", "\(machine.id): \(window.bytes) bytes, and \(limits.window.bytes) are allowed")
    }
  }

  // MARK: In the end

  func end() {
    guard violation == nil else { return }
    do {
      try hostileIsBounded()
      let letters = try reading(Self.deadLetters)
      // A consumer that dies here dies within a transaction, with one message in its hands far more often than by any kill from outside: some innocent
      // ones are set aside. Nothing of them is missing, which the rest looks at, because what is set aside is not confirmed.
      for letter in letters
      where letter.reason != "poison"
        && !["conflict reading", "conflict note", "frozen lot", "conflict price"].contains(
          "\(letter.reason) \(letter.stream)")
      {
        fail(
          "dead letters are what could not be applied",
          "\(letter.stream) of \(letter.machine), reason \(letter.reason): \(letter.detail)")
      }
      for machine in machines() {
        for table in ["stock", "lot"] { try rowsAreEqual(machine, table, letters) }
        try factsAreThere(machine, letters)
        try finalRecordsAreThere(machine)
        if let tables = machine.twoWay { try twoWayEnd(machine, tables) }
        let waiting = try machine.waitingCount()
        if waiting > 0 { fail("the outbox is empty in the end", "\(machine.id): \(waiting) are left") }
        let isOnline = try reading {
          try $0.integer("SELECT online FROM drover_machine WHERE machine_id = '\(machine.id)'")
        }
        if isOnline != 1 {
          fail("the status that is shown is true", "\(machine.id) is online, and not so in the cloud")
        }
        let unflagged = try machine.unflaggedCount()
        if unflagged > 0 {
          fail("the app's flag says what is so", "\(machine.id): \(unflagged) rows of stock are not flagged")
        }
        let kept = try machine.keptCount()
        if kept > 0 {
          fail("the outbox is empty in the end", "\(machine.id): \(kept) values of deleted facts are left")
        }
      }
    } catch {
      fail("the simulation itself", "\(error)")
    }
  }

  private func rowsAreEqual(_ machine: SimulatedMachine, _ table: String, _ letters: [DeadLetterLine]) throws {
    let columns = try machine.columns(of: table)
    let edge = try machine.rows(of: table, columns: columns)
    let cloud = try reading { database -> [String: String] in
      guard try Self.tables(database).contains(table) else { return [:] }
      var result: [String: String] = [:]
      try database.rows("SELECT id, \(quotedRow(columns)) FROM \(table) WHERE machine_id = '\(machine.id)'") {
        result[$0.text(0)] = $0.text(1)
      }
      return result
    }
    for id in Set(edge.keys).union(cloud.keys).sorted() where edge[id] != cloud[id] {
      // What existed only in the future that a backup took away stays, until drift is checked.
      if edge[id] == nil, machine.hasGoneBack, try isLeftOver(machine, table, id) { continue }
      if table == "lot", try edge[id] == nil ? isComplete(machine, id) : isFrozen(machine, id, letters) { continue }
      fail(
        "the rows are equal in the end",
        "\(table) \(id) of \(machine.id) is \(edge[id] ?? "gone") and in the cloud \(cloud[id] ?? "gone")")
    }
  }

  /// Whether the row's epoch is over.
  private func isLeftOver(_ machine: SimulatedMachine, _ table: String, _ id: String) throws -> Bool {
    try reading {
      try $0.integer(
        """
        SELECT 1 FROM \(table) WHERE machine_id = '\(machine.id)' AND id = \(id)
           AND drover_epoch < (SELECT number FROM drover_epoch WHERE epoch = '\(machine.epoch ?? "")')
        """) != nil
    }
  }

  /// Whether a lot is complete in the cloud, and what was refused of it is among the dead letters.
  private func isFrozen(_ machine: SimulatedMachine, _ id: String, _ letters: [DeadLetterLine]) throws -> Bool {
    try isComplete(machine, id)
      && letters.contains {
        $0.machine == machine.id.text && $0.reason == "frozen" && $0.raw.contains("\"id\":\"\(id)\"")
      }
  }

  private func isComplete(_ machine: SimulatedMachine, _ id: String) throws -> Bool {
    try reading {
      try $0.integer("SELECT 1 FROM lot WHERE machine_id = '\(machine.id)' AND id = \(id) AND status = 1") != nil
    }
  }

  private func finalRecordsAreThere(_ machine: SimulatedMachine) throws {
    for id in machine.facts.clearedLots.sorted() where try !isComplete(machine, id) {
      fail("a final record that was cleared is there", "lot \(id) of \(machine.id) is not complete in the cloud")
    }
  }

  private func factsAreThere(_ machine: SimulatedMachine, _ letters: [DeadLetterLine]) throws {
    for (stream, facts) in machine.facts.streams.sorted(by: { $0.key < $1.key }) {
      let cloud = try reading {
        try Self.tables($0).contains(stream) ? try Self.facts($0, stream: stream) : [:]
      }
      var known: Set<String> = []
      for (name, fact) in facts.sorted(by: { $0.key < $1.key }) {
        let id = Facts.id(of: name)
        let rows = cloud.filter {
          $0.key.machine == machine.id.text && Self.id(of: $0.key) == id && fact.contents.values.contains($0.value)
        }
        known.formUnion(rows.map(\.key.id))
        // After a restore the app may give an ID again that the lost future had: then both are facts, with values of their own.
        if rows.count > (machine.facts.wentBack ? Set(rows.values).count : 1) {
          fail("every fact is there once", "\(stream) \(name) of \(machine.id): \(rows.values.sorted())")
        }
        let present = Set(rows.compactMap { row in fact.contents.first { $0.value == row.value }?.key })
        for token in fact.required.sorted() where !present.contains(token) {
          let isDead = letters.contains {
            $0.machine == machine.id.text && $0.stream == stream && $0.raw.contains("\"\(token)\"")
          }
          // A fact that was changed after it was sent is a dead letter. One that only has an ID of another's is not.
          if !isDead || stream == "reading" && fact.contents.count == 1 && !machine.facts.wentBack {
            fail(
              isDead ? "a used ID makes no dead letter" : "every fact is there or among the dead letters",
              "\(stream) \(name) of \(machine.id), \(fact.contents[token]!), is nowhere")
          }
        }
      }
      let strangers = cloud.filter { $0.key.machine == machine.id.text && !known.contains($0.key.id) }
      if !strangers.isEmpty {
        fail(
          "every fact is there with its content", "\(stream) of \(machine.id) never were: \(strangers.values.sorted())")
      }
    }
  }

  /// The app's ID of a fact in the cloud.
  private static func id(of key: Key) -> String { String(key.id.prefix { $0 != "/" }) }

  // MARK: Backups

  func didBackUpCloud() { backup = cloud }

  func willRestoreCloud() {
    reader = nil
    dataVersion = nil
    if let backup { cloud = backup }
  }

  // MARK: Reading the cloud

  func reading<Result>(_ body: (PlainDatabase) throws -> Result) throws -> Result {
    let database = try reader ?? PlainDatabase(path: path, readOnly: true)
    reader = database
    return try body(database)
  }

  static func tables(_ database: PlainDatabase) throws -> Set<String> {
    var tables: Set<String> = []
    try database.rows("SELECT name FROM sqlite_master WHERE type = 'table'") { tables.insert($0.text(0)) }
    return tables
  }

  /// What the hostile machine leaves has no meaning.
  private static let isHonest = "machine_id IS NOT '\(HostileMachine.id)'"

  /// Whoever floods takes a bounded part of the store.
  private func hostileIsBounded() throws {
    for (table, most) in HostileMachine.bounds {
      // An epoch that a dead letter names keeps its place; letters have a budget of their own.
      let isNamed =
        ["drover_epoch", "drover_received"].contains(table)
        ? " AND epoch NOT IN (SELECT epoch FROM drover_dead_letter WHERE machine_id = '\(HostileMachine.id)' AND epoch IS NOT NULL)"
        : ""
      let rows = try reading {
        try $0.integer("SELECT count(*) FROM \(table) WHERE machine_id = '\(HostileMachine.id)'\(isNamed)") ?? 0
      }
      if rows > most {
        fail("a hostile machine takes a bounded part of the store", "\(rows) rows in \(table), \(most) are allowed")
      }
    }
  }

  private static func state(_ database: PlainDatabase) throws -> Cloud {
    var cloud = Cloud()
    try database.rows("SELECT machine_id, epoch, stream, after_seq, through_seq FROM drover_received WHERE \(isHonest)")
    { row in
      cloud.received[Origin(machine: row.text(0), epoch: row.text(1), stream: row.text(2)), default: IntervalSet()]
        .insert(Interval(after: row.integer(3), through: row.integer(4)))
    }
    try database.rows("SELECT epoch, number FROM drover_epoch") { cloud.epochs[$0.text(0)] = $0.integer(1) }
    let tables = try tables(database)
    for (stream, id, columns) in [
      ("stock", "id", ["name", "level", "code"]), ("lot", "id", ["weight", "status"]), ("gauge", "local_id", ["body"]),
    ] where tables.contains(stream) {
      try database.rows("SELECT machine_id, \(id), drover_epoch, drover_version, \(quotedRow(columns)) FROM \(stream)")
      { row in
        cloud.rows[Key(machine: row.text(0), stream: stream, id: row.text(1))] = (
          RowVersion(epoch: row.integer(2), version: row.integer(3)), row.text(4)
        )
      }
    }
    if tables.contains("lot") {
      try database.rows("SELECT machine_id, id FROM lot WHERE status = 1") { row in
        cloud.complete.insert(Key(machine: row.text(0), stream: "lot", id: row.text(1)))
      }
    }
    try database.rows("SELECT machine_id, stream, local_id, epoch, version FROM drover_tombstone WHERE \(isHonest)") {
      row in
      cloud.tombstones[Key(machine: row.text(0), stream: row.text(1), id: row.text(2))] = RowVersion(
        epoch: row.integer(3), version: row.integer(4))
    }
    for stream in ["reading", "note", "pulse"] where tables.contains(stream) {
      try cloud.facts.merge(facts(database, stream: stream)) { $1 }
    }
    return cloud
  }

  private static func facts(_ database: PlainDatabase, stream: String) throws -> [Key: String] {
    var (id, content) = stream == "reading" ? ("id", quotedRow(["id", "token", "value"])) : ("local_id", "body")
    if try database.integer("SELECT 1 FROM pragma_table_info('\(stream)') WHERE name = 'drover_life'") != nil {
      id = "id || iif(drover_life = '', '', '/' || drover_life)"
    }
    var facts: [Key: String] = [:]
    try database.rows("SELECT machine_id, \(id), \(content) FROM \(stream)") { row in
      facts[Key(machine: row.text(0), stream: stream, id: row.text(1))] = row.text(2)
    }
    return facts
  }

  private struct DeadLetterLine {
    var machine: String
    var stream: String
    var reason: String
    var detail: String
    var raw: String
  }

  private static func deadLetters(_ database: PlainDatabase) throws -> [DeadLetterLine] {
    var letters: [DeadLetterLine] = []
    try database.rows(
      "SELECT machine_id, stream, reason, detail, CAST(raw AS TEXT) FROM drover_dead_letter WHERE \(isHonest)"
    ) { row in
      letters.append(
        DeadLetterLine(
          machine: row.text(0), stream: row.text(1), reason: row.text(2), detail: row.text(3), raw: row.text(4)))
    }
    return letters
  }
}
