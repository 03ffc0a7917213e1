// The cloud's bookkeeping in PostgreSQL, as append-only migrations; SQLite's CloudTables tells of the same. Names are compared by their bytes.
// Sink tables are made when a stream is described.

import DroverCore

enum CloudTables {
  /// Brings the database to this version's tables; several consumers may start at once.
  static func migrate(_ connection: Connection) throws {
    try connection.run("BEGIN")
    do {
      try connection.run("SELECT pg_advisory_xact_lock(\(Locks.migration))")
      try connection.run(
        "CREATE TABLE IF NOT EXISTS drover_migration (number BIGINT PRIMARY KEY, made_at TIMESTAMPTZ NOT NULL DEFAULT now())"
      )
      let done = try done(connection)
      for (index, migration) in migrations.enumerated() where index >= done {
        try connection.run(migration)
        try connection.query("INSERT INTO drover_migration (number) VALUES ($1)", [.integer(index + 1)])
      }
      try connection.run("COMMIT")
    } catch {
      try? connection.run("ROLLBACK")
      throw error
    }
  }

  /// For programs that only read.
  static func requireCurrent(_ connection: Connection) throws {
    guard try done(connection) == migrations.count else {
      throw PostgreSQLError(
        operation: "open", subject: connection.subject,
        cause: "its tables are of an older version of Drover; `drover cloud` brings them to this one when it starts",
        state: "0A000")
    }
  }

  /// How many of the migrations have been made; none that this version does not know.
  private static func done(_ connection: Connection) throws -> Int64 {
    let done = try connection.query("SELECT coalesce(max(number), 0) FROM drover_migration").integer(0, 0)
    guard done <= migrations.count else {
      throw PostgreSQLError(
        operation: "open", subject: connection.subject,
        cause:
          "its tables are of a newer version of Drover (\(done), and this one knows \(migrations.count)); update this one",
        state: "0A000")
    }
    return done
  }

  private static let migrations = [
    bookkeeping, DeadLetterTables.migration, PostgreSQLReplica.migration, outboxes, Consumers.migration,
    ChangeFeed.migration, MachineTables.migration, PostgreSQLReplica.gapMigration, TroubleTable.migration,
    SharedTables.migration, StreamWaits.migration, BlockedTable.migration, TwoWayTables.migration,
    TwoWayTables.columnsMigration,
    TwoWayTables.conflictBytes,
    TwoWayTables.editIndex,
    RefusedRowTable.migration,
    StoreRuns.migration,
    OrderMigration.migration,
  ]

  private static let outboxes = """
    -- How the machine's outbox stood when it told so last: events that wait for a confirmation, the version of the oldest of them, dead
    -- letters at the edge, bytes that its disk has left; and when that was heard.
    ALTER TABLE drover_machine
      ADD COLUMN waiting BIGINT, ADD COLUMN oldest BIGINT, ADD COLUMN edge_letters BIGINT, ADD COLUMN free_bytes BIGINT,
      ADD COLUMN told_at BIGINT;
    """

  private static let bookkeeping = """
    CREATE TABLE drover_meta (
      name  TEXT PRIMARY KEY,
      value TEXT NOT NULL
    );

    -- Times are microseconds since 1970.
    CREATE TABLE drover_machine (
      machine_id   TEXT COLLATE "C" PRIMARY KEY,
      epoch        TEXT,
      online       BOOLEAN,
      software     TEXT,
      status_at    BIGINT,
      -- The machine's clock less the cloud's as the machine last measured it, in microseconds.
      clock_offset BIGINT,
      first_heard  BIGINT NOT NULL,
      last_heard   BIGINT NOT NULL
    );

    -- A machine's epochs in the order in which they were heard of.
    CREATE TABLE drover_epoch (
      machine_id  TEXT COLLATE "C" NOT NULL,
      epoch       TEXT NOT NULL,
      number      BIGINT NOT NULL,
      first_heard BIGINT NOT NULL,
      PRIMARY KEY (machine_id, epoch),
      UNIQUE (machine_id, number)
    );

    -- What has been received of each outbox: the seqs after after_seq up to and including through_seq.
    CREATE TABLE drover_received (
      machine_id  TEXT COLLATE "C" NOT NULL,
      epoch       TEXT NOT NULL,
      stream      TEXT COLLATE "C" NOT NULL,
      after_seq   BIGINT NOT NULL,
      through_seq BIGINT NOT NULL CHECK (after_seq < through_seq),
      PRIMARY KEY (machine_id, epoch, stream, after_seq)
    );

    -- The newest runs of a machine's agent that were heard of, and the highest seq that their frames know of.
    CREATE TABLE drover_run (
      machine_id TEXT COLLATE "C" NOT NULL,
      epoch      TEXT NOT NULL,
      run        BIGINT NOT NULL CHECK (run >= 0),
      reached    BIGINT NOT NULL CHECK (reached >= 0),
      PRIMARY KEY (machine_id, epoch, run)
    );

    -- The sink tables that Drover has made. Streams that differ in the case of ASCII letters alone share one.
    CREATE TABLE drover_sink (
      -- The stream in lower case.
      name       TEXT COLLATE "C" PRIMARY KEY,
      stream     TEXT COLLATE "C" NOT NULL,
      table_name TEXT COLLATE "C" NOT NULL,
      kind       TEXT NOT NULL CHECK (kind IN ('snapshot', 'payload', 'batch')),
      form       TEXT NOT NULL CHECK (form IN ('table', 'body')),
      -- The stream whose lines the table holds; NULL for a stream's own table.
      header     TEXT COLLATE "C"
    );

    -- The source's columns in the sink tables.
    CREATE TABLE drover_sink_column (
      sink          TEXT COLLATE "C" NOT NULL REFERENCES drover_sink ON DELETE CASCADE,
      -- In lower case.
      name          TEXT COLLATE "C" NOT NULL,
      -- As the first who brought it spells it, and as PostgreSQL has it.
      source_name   TEXT NOT NULL,
      column_name   TEXT COLLATE "C" NOT NULL,
      -- As declared, with \\0 for NUL; empty where machines declare it with different affinities.
      declared_type TEXT NOT NULL,
      -- Its place in the key, from 0; NULL when it is no part of it.
      key_position  BIGINT,
      PRIMARY KEY (sink, name)
    );

    CREATE TABLE drover_schema (
      machine_id    TEXT COLLATE "C" NOT NULL,
      stream        TEXT COLLATE "C" NOT NULL,
      schema_id     TEXT NOT NULL,
      kind          TEXT NOT NULL CHECK (kind IN ('snapshot', 'payload', 'batch')),
      described     BIGINT NOT NULL,
      -- The condition's own text, which is parsed again and never run as it stands.
      complete_when TEXT,
      PRIMARY KEY (machine_id, stream, schema_id)
    );

    CREATE TABLE drover_schema_column (
      machine_id        TEXT COLLATE "C" NOT NULL,
      stream            TEXT COLLATE "C" NOT NULL,
      schema_id         TEXT NOT NULL,
      position          BIGINT NOT NULL,
      name              TEXT NOT NULL,
      declared_type     TEXT NOT NULL,
      -- Places from 0; NULL where it has none.
      key_position      BIGINT,
      identity_position BIGINT,
      else_position     BIGINT,
      PRIMARY KEY (machine_id, stream, schema_id, position)
    );
    CREATE INDEX drover_schema_identity ON drover_schema_column (stream, machine_id) WHERE identity_position = 0;

    -- Columns of the tables whose rows travel with a schema's header.
    CREATE TABLE drover_schema_line (
      machine_id    TEXT COLLATE "C" NOT NULL,
      stream        TEXT COLLATE "C" NOT NULL,
      schema_id     TEXT NOT NULL,
      number        BIGINT NOT NULL,
      table_name    TEXT NOT NULL,
      position      BIGINT NOT NULL,
      name          TEXT NOT NULL,
      declared_type TEXT NOT NULL,
      key_position  BIGINT,
      -- Which part of the header's key it names, from 0; NULL when it names none.
      header_part   BIGINT,
      PRIMARY KEY (machine_id, stream, schema_id, number, position)
    );

    -- The last schema of a machine's stream that the sink table could not follow.
    CREATE TABLE drover_schema_waiting (
      machine_id TEXT COLLATE "C" NOT NULL,
      stream     TEXT COLLATE "C" NOT NULL,
      schema_id  TEXT NOT NULL,
      kind       TEXT NOT NULL CHECK (kind IN ('snapshot', 'payload', 'batch')),
      reason     TEXT NOT NULL,
      first_at   BIGINT NOT NULL,
      PRIMARY KEY (machine_id, stream)
    );

    CREATE TABLE drover_schema_waiting_column (
      machine_id        TEXT COLLATE "C" NOT NULL,
      stream            TEXT COLLATE "C" NOT NULL,
      position          BIGINT NOT NULL,
      name              TEXT NOT NULL,
      declared_type     TEXT NOT NULL,
      key_position      BIGINT,
      identity_position BIGINT,
      else_position     BIGINT,
      PRIMARY KEY (machine_id, stream, position)
    );

    -- The columns by which the rows of a sink table are matched. Their places from 0; NULL where a column is none of them.
    CREATE TABLE drover_identity (
      -- In lower case.
      stream            TEXT COLLATE "C" NOT NULL,
      name              TEXT NOT NULL,
      identity_position BIGINT,
      else_position     BIGINT,
      PRIMARY KEY (stream, name)
    );

    CREATE TABLE drover_tombstone (
      machine_id TEXT COLLATE "C" NOT NULL,
      stream     TEXT COLLATE "C" NOT NULL,
      local_id   TEXT COLLATE "C" NOT NULL,
      -- The epoch's number, and the version within it.
      epoch      BIGINT NOT NULL,
      version    BIGINT NOT NULL,
      seq        BIGINT,
      made_at    BIGINT NOT NULL,
      PRIMARY KEY (machine_id, stream, local_id)
    );
    CREATE INDEX drover_tombstone_age ON drover_tombstone (made_at);

    CREATE TABLE drover_progress (
      machine_id TEXT COLLATE "C" NOT NULL,
      stream     TEXT COLLATE "C" NOT NULL,
      applied    BIGINT NOT NULL,
      superseded BIGINT NOT NULL,
      refused    BIGINT NOT NULL,
      -- Of the newest event: its version, and when it was committed here.
      version    BIGINT NOT NULL,
      applied_at BIGINT NOT NULL,
      PRIMARY KEY (machine_id, stream)
    );

    -- What became of every message that was committed, so that none is unaccounted for.
    CREATE TABLE drover_message_count (
      outcome TEXT PRIMARY KEY,
      count   BIGINT NOT NULL
    );
    """
}

/// Names of advisory locks (https://www.postgresql.org/docs/current/explicit-locking.html, section "Advisory Locks"), 64 bits each.
enum Locks {
  static let migration = name("migration")
  /// Consumers that have it share the database; who works alone has it alone.
  static let consumers = name("consumer")
  /// Who has it is the consumer of this number.
  static func consumer(_ number: Int64) -> Int64 { name("consumer", String(number)) }
  /// The consumer that holds it is the leader.
  static let first = name("first consumer")

  /// Who has it is the only one that merges events of a machine's stream.
  static func events(of machine: MachineID, _ stream: StreamName) -> Int64 {
    name("events", machine.text, SQLName(stream.text).text)
  }

  /// The lock under which a worklist's queue is written.
  static func orders(of worklist: WorklistName) -> Int64 { name("orders", worklist.text) }

  static func name(_ parts: String...) -> Int64 {
    var hash = FNV1a()
    hash.combine("drover")
    for part in parts { hash.combine(part) }
    return Int64(bitPattern: hash.state)
  }
}
