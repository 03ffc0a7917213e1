// What the cloud keeps of rows that both sides edit. docs/decisions/0050-two-way-rows.md tells what each number means.

import DroverCore

enum TwoWayTables {
  static let migration = """
    -- How the stream's rows travel; NULL where they only go up.
    ALTER TABLE drover_schema
      ADD COLUMN direction TEXT, ADD COLUMN newer TEXT, ADD COLUMN merge_unit TEXT, ADD COLUMN is_key_natural BOOLEAN,
      ADD COLUMN reach TEXT;
    ALTER TABLE drover_schema_waiting
      ADD COLUMN direction TEXT, ADD COLUMN newer TEXT, ADD COLUMN merge_unit TEXT, ADD COLUMN is_key_natural BOOLEAN,
      ADD COLUMN reach TEXT;

    -- From which epoch one continues, and the highest version of that one which it has seen.
    ALTER TABLE drover_epoch ADD COLUMN parent TEXT, ADD COLUMN fork BIGINT;

    -- The streams that go down. The machine '*' stands for rows that belong to every machine.
    CREATE TABLE drover_flow (
      -- In lower case, as in the tables below.
      stream        TEXT COLLATE "C" NOT NULL,
      machine_id    TEXT COLLATE "C" NOT NULL,
      -- The stream, as the machine spells it.
      name          TEXT NOT NULL,
      direction     TEXT NOT NULL CHECK (direction IN ('down', 'both')),
      -- Whose rows the machine gets: its own, or '*'.
      owner         TEXT COLLATE "C" NOT NULL,
      complete_when TEXT,
      PRIMARY KEY (stream, machine_id)
    );
    CREATE INDEX drover_flow_machine ON drover_flow (machine_id);

    -- The version at which a machine's bookkeeping of a stream began.
    CREATE TABLE drover_since (
      machine_id TEXT COLLATE "C" NOT NULL,
      stream     TEXT COLLATE "C" NOT NULL,
      since      BIGINT NOT NULL,
      -- The last epoch whose history was heard, and of which rows have flowed back.
      epoch      TEXT NOT NULL,
      PRIMARY KEY (machine_id, stream)
    );

    -- The rows that the cloud has decided about.
    CREATE TABLE drover_row (
      machine_id       TEXT COLLATE "C" NOT NULL,
      stream           TEXT COLLATE "C" NOT NULL,
      local_id         TEXT COLLATE "C" NOT NULL,
      -- The machine's newest own edit that was merged: its epoch's number and its version; NULL for none.
      edge_epoch       BIGINT,
      edge_version     BIGINT,
      -- The newest decision of the cloud, and the newest own edit of the machine that it has seen.
      cloud_version    BIGINT NOT NULL,
      decided_epoch    BIGINT,
      decided_version  BIGINT,
      is_cloud_content BOOLEAN NOT NULL,
      -- Since when the row is gone, microseconds since 1970; NULL while it is there.
      gone_at          BIGINT,
      -- The row's number among those that go down; NULL for a row that has not gone down.
      number           BIGINT,
      PRIMARY KEY (machine_id, stream, local_id)
    );
    CREATE UNIQUE INDEX drover_row_number ON drover_row (machine_id, stream, number) WHERE number IS NOT NULL;
    CREATE INDEX drover_row_gone ON drover_row (gone_at) WHERE gone_at IS NOT NULL;

    -- What people have edited and nobody has taken yet.
    CREATE TABLE drover_edit (
      stream     TEXT COLLATE "C" NOT NULL,
      machine_id TEXT COLLATE "C" NOT NULL,
      id         BIGINT GENERATED ALWAYS AS IDENTITY,
      -- The key's values in their order.
      key        JSONB NOT NULL,
      -- Of the row as it was before; NULL for a row that was not there.
      epoch      BIGINT,
      version    BIGINT,
      PRIMARY KEY (stream, machine_id, id)
    );

    -- The highest number that was given.
    CREATE TABLE drover_down (
      machine_id TEXT COLLATE "C" NOT NULL,
      stream     TEXT COLLATE "C" NOT NULL,
      last       BIGINT NOT NULL,
      PRIMARY KEY (machine_id, stream)
    );

    -- What machines have received of what goes down: the numbers after after_seq up to and including through_seq.
    CREATE TABLE drover_down_received (
      machine_id  TEXT COLLATE "C" NOT NULL,
      stream      TEXT COLLATE "C" NOT NULL,
      after_seq   BIGINT NOT NULL,
      through_seq BIGINT NOT NULL CHECK (after_seq < through_seq),
      PRIMARY KEY (machine_id, stream, after_seq)
    );

    -- Decisions of a future that the store has lost have versions within these.
    CREATE TABLE drover_lost_decision (
      first BIGINT PRIMARY KEY,
      last  BIGINT NOT NULL
    );

    -- Values that lost a conflict, until a person resolves it.
    CREATE TABLE drover_conflict (
      id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      machine_id TEXT COLLATE "C" NOT NULL,
      -- As the machine spells it.
      stream     TEXT COLLATE "C" NOT NULL,
      local_id   TEXT COLLATE "C" NOT NULL,
      -- Microseconds since 1970.
      at         BIGINT NOT NULL,
      reason     TEXT NOT NULL,
      loser      TEXT NOT NULL,
      -- JSON arrays of the columns' names and the row's values; NULL for a delete.
      columns    TEXT NOT NULL,
      content    TEXT,
      version    BIGINT NOT NULL,
      result     BIGINT NOT NULL
    );
    CREATE INDEX drover_conflict_row ON drover_conflict (machine_id, stream, local_id);
    """

  static let columnsMigration = """
    ALTER TABLE drover_flow ADD COLUMN merge_unit TEXT NOT NULL DEFAULT 'row';
    -- The row as it was before, where rows of the table are merged by columns.
    ALTER TABLE drover_edit ADD COLUMN before JSONB;

    -- What machines had of a row before the cloud's edits that they may not know: one entry for each decision that they may hold.
    CREATE TABLE drover_base (
      machine_id    TEXT COLLATE "C" NOT NULL,
      stream        TEXT COLLATE "C" NOT NULL,
      local_id      TEXT COLLATE "C" NOT NULL,
      -- The decision that the machine holds; 0 for none.
      cloud_version BIGINT NOT NULL,
      -- The machine's newest own edit in it.
      edge_epoch    BIGINT,
      edge_version  BIGINT,
      -- The schema of the values, and these as a JSON array.
      schema_id     TEXT NOT NULL,
      content       TEXT NOT NULL,
      -- Microseconds since 1970.
      at            BIGINT NOT NULL,
      PRIMARY KEY (machine_id, stream, local_id, cloud_version)
    );
    CREATE INDEX drover_base_at ON drover_base (at);
    """

  static let conflictBytes = """
    ALTER TABLE drover_conflict ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
    UPDATE drover_conflict SET bytes = octet_length(columns) + coalesce(octet_length(content), 0);
    -- The sums are read from it alone.
    CREATE INDEX drover_conflict_bytes ON drover_conflict (machine_id, bytes);
    """

  /// A comparison asks for each row whether an edit of it waits. A key may be longer than an entry of any other kind of index.
  static let editIndex = "CREATE INDEX drover_edit_key ON drover_edit USING hash (key);"

  /// As the tables name a stream.
  static func name(_ stream: StreamName) -> String { SQLName(stream.text).text }
}

extension Flow {
  /// Where a description is kept.
  static let columns = "direction, newer, merge_unit, is_key_natural, reach"

  /// Reads those columns.
  init(_ rows: Rows, _ row: Int, from first: Int) {
    guard let direction = rows.optionalText(row, first).flatMap(Direction.init) else {
      self = .up
      return
    }
    self.init(
      direction: direction, newer: rows.optionalText(row, first + 1),
      merge: rows.optionalText(row, first + 2).flatMap(MergeUnit.init) ?? .row,
      isKeyNatural: !rows.isNull(row, first + 3) && rows.boolean(row, first + 3),
      reach: rows.optionalText(row, first + 4).flatMap(Reach.init) ?? .machine)
  }

  var parameters: [Parameter] {
    guard self != .up else { return [.text(nil), .text(nil), .text(nil), .boolean(nil), .text(nil)] }
    return [
      .text(direction.rawValue), .text(newer), .text(merge.rawValue), .boolean(isKeyNatural), .text(reach.rawValue),
    ]
  }

  /// Whose rows go down to a machine.
  func owner(of machine: MachineID) -> MachineID { reach == .all ? .all : machine }
}

// MARK: What is known of machines

extension Transaction {
  /// Before rows of a table are written whose edits are captured.
  func markWriter(of table: SinkTable) throws {
    guard table.isTwoWay, !isWriter else { return }
    try connection.query("SELECT set_config('drover.writer', 'on', true)")
    isWriter = true
  }

  /// How the rows of a machine's stream travel now.
  func flow(of origin: MachineStream) throws -> Flow {
    try latestSchema(machine: origin.machine, stream: origin.stream)?.flow ?? .up
  }

  func note(_ lineage: Lineage, epoch: Epoch, machine: MachineID, stream: StreamName) throws {
    let origin = MachineStream(machine: machine, stream: stream)
    if let known = store.knowledge.lineages[origin], known.epoch == epoch, known.lineage == lineage { return }
    let number = try number(of: epoch, machine: machine)
    if let fork = lineage.fork {
      try connection.query(
        """
        UPDATE drover_epoch SET parent = $3, fork = $4
         WHERE machine_id = $1 AND epoch = $2 AND (parent, fork) IS DISTINCT FROM ($3, $4)
        """, [.text(machine.text), .text(epoch.text), .text(fork.parent.text), .integer(fork.version)])
    }
    let heard = try connection.query(
      "SELECT since, epoch FROM drover_since WHERE machine_id = $1 AND stream = $2",
      [.text(machine.text), .text(TwoWayTables.name(stream))])
    let isHeard = heard.count > 0 && heard.text(0, 1) == epoch.text
    guard try isHeard || lineage.fork == nil || flowBack(origin, epoch: number) else { return }
    if !isHeard || heard.integer(0, 0) != lineage.since {
      try connection.query(
        """
        INSERT INTO drover_since (machine_id, stream, since, epoch) VALUES ($1, $2, $3, $4)
        ON CONFLICT (machine_id, stream) DO UPDATE SET since = excluded.since, epoch = excluded.epoch
        """, [.text(machine.text), .text(TwoWayTables.name(stream)), .integer(lineage.since), .text(epoch.text)])
    }
    store.knowledge.lineages[origin] = (epoch, lineage)
  }

  /// Which edits an epoch has seen.
  func history(of epoch: Int64, machine: MachineID) throws -> EpochHistory {
    let rows = try connection.query(
      """
      SELECT own.number, earlier.number, own.fork FROM drover_epoch AS own
        JOIN drover_epoch AS earlier ON earlier.machine_id = own.machine_id AND earlier.epoch = own.parent
       WHERE own.machine_id = $1 AND own.fork IS NOT NULL
      """, [.text(machine.text)])
    var forks: [Int64: (parent: Int64, version: Int64)] = [:]
    for row in 0..<rows.count { forks[rows.integer(row, 0)] = (rows.integer(row, 1), rows.integer(row, 2)) }
    return EpochHistory(epoch: epoch, forks: forks)
  }

  /// The version at which the machine's bookkeeping of the stream began.
  func since(_ origin: MachineStream) throws -> Int64 {
    let rows = try connection.query(
      "SELECT since FROM drover_since WHERE machine_id = $1 AND stream = $2",
      [.text(origin.machine.text), .text(TwoWayTables.name(origin.stream))])
    return rows.count == 0 ? 0 : rows.integer(0, 0)
  }

  func lostDecisions() throws -> LostDecisions {
    let rows = try connection.query("SELECT first, last FROM drover_lost_decision")
    return LostDecisions(
      (0..<rows.count).filter { rows.integer($0, 0) <= rows.integer($0, 1) }.map {
        rows.integer($0, 0)...rows.integer($0, 1)
      })
  }

  // MARK: Beginning and ending to go down

  /// A machine has described a stream: sees to it that the table captures edits if rows go down, and does not if none do.
  func settleFlow(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws {
    let name = TwoWayTables.name(stream)
    guard let table = try table(of: stream), schema.flow.direction.goesDown || table.isTwoWay else { return }
    // Rows for all machines have their numbers since the first machine that gets them came.
    let isShared = try schema.flow.reach == .all && isShared(name)
    let isChanged = try noteFlow(schema, machine: machine, stream: stream)
    if isChanged { try reshaped() }
    guard let table = try self.table(of: stream) else { return }
    if table.isTwoWay {
      try settleCapture(of: table, stream)
    } else {
      try Capture.end(name, table: table, connection)
    }
    guard isChanged, !isShared, schema.flow.direction == .down else { return }
    try beginDown(stream, of: schema.flow.owner(of: machine))
  }

  /// Whether a machine gets the rows that are for all.
  private func isShared(_ name: String) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE stream = $1 AND machine_id = '*')", [.text(name)]
    ).boolean(0, 0)
  }

  /// Looks at the triggers of a table when it is used first, and after it has changed.
  func settleCapture(of table: SinkTable, _ stream: StreamName) throws {
    guard store.knowledge.captures.insert(SQLName(stream.text)).inserted else { return }
    try Capture(self, table, stream: TwoWayTables.name(stream)).settle()
  }

  /// - Returns: whether it was otherwise before.
  private func noteFlow(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> Bool {
    let name = TwoWayTables.name(stream)
    let owner = schema.flow.owner(of: machine)
    guard schema.flow.direction.goesDown else {
      guard try endFlow(name, machine.text) else { return false }
      try endSharedFlow(name)
      return true
    }
    func note(_ name: String, _ machine: String) throws -> Bool {
      try connection.query(
        """
        INSERT INTO drover_flow AS known (stream, machine_id, name, direction, owner, complete_when, merge_unit)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (stream, machine_id) DO UPDATE
           SET name = excluded.name, direction = excluded.direction, owner = excluded.owner,
               complete_when = excluded.complete_when, merge_unit = excluded.merge_unit
         WHERE (known.name, known.direction, known.owner, known.complete_when, known.merge_unit) IS DISTINCT FROM
               (excluded.name, excluded.direction, excluded.owner, excluded.complete_when, excluded.merge_unit)
        """,
        [
          .text(name), .text(machine), .text(stream.text), .text(schema.flow.direction.rawValue),
          .text(owner.text), .text(schema.completeWhen?.text.escaped), .text(schema.flow.merge.rawValue),
        ]
      ).changed > 0
    }
    let isChanged = try note(name, machine.text)
    guard owner == .all else {
      try endSharedFlow(name)
      return isChanged
    }
    return try note(name, MachineID.all.text) || isChanged
  }

  /// The machine's rows of the stream only go up from now on: nothing is decided in the cloud about them any more.
  private func endFlow(_ name: String, _ machine: String) throws -> Bool {
    let flow: [Parameter] = [.text(name), .text(machine)]
    let ended = try connection.query("DELETE FROM drover_flow WHERE stream = $1 AND machine_id = $2", flow).changed
    guard ended > 0 else { return false }
    try RefusedRowTable(connection: connection).forget(SQLName(name), machine: machine)
    for table in ["drover_row", "drover_edit", "drover_down_received", "drover_base"] {
      try connection.query("DELETE FROM \(table) WHERE stream = $1 AND machine_id = $2", flow)
    }
    return true
  }

  /// Rows for all machines go down as long as one machine takes them.
  private func endSharedFlow(_ name: String) throws {
    let isTaken = try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_flow WHERE stream = $1 AND machine_id <> '*' AND owner = '*')",
      [.text(name)]
    ).boolean(0, 0)
    if !isTaken { _ = try endFlow(name, MachineID.all.text) }
  }

  /// Streams of which nothing goes down any more, because their machines were forgotten.
  func endFlows(of machine: MachineID) throws {
    let streams = try connection.query(
      "DELETE FROM drover_flow WHERE machine_id = $1 RETURNING stream", [.text(machine.text)])
    for row in 0..<streams.count {
      let name = streams.text(row, 0)
      try endSharedFlow(name)
      store.knowledge.tables[SQLName(name)] = nil
      guard let table = try table(of: StreamName(name)), !table.isTwoWay else { continue }
      try Capture.end(name, table: table, connection)
    }
  }
}
