// The cloud's bookkeeping in SQLite, as append-only migrations. Sink tables are made by SinkTable when a stream is described.

import GRDB

enum CloudTables {
  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1 bookkeeping") { database in
      try database.execute(
        sql: """
          CREATE TABLE drover_meta (
            name  TEXT PRIMARY KEY,
            value TEXT NOT NULL
          ) WITHOUT ROWID;

          -- Times are microseconds since 1970.
          CREATE TABLE drover_machine (
            machine_id  TEXT PRIMARY KEY,
            epoch       TEXT,
            online      INTEGER CHECK (online IN (0, 1)),
            software    TEXT,
            status_at   INTEGER,
            -- The machine's clock less the cloud's as the machine last measured it, in microseconds.
            clock_offset INTEGER,
            first_heard INTEGER NOT NULL,
            last_heard  INTEGER NOT NULL
          ) WITHOUT ROWID;

          -- A machine's epochs in the order in which they were heard of.
          CREATE TABLE drover_epoch (
            machine_id  TEXT NOT NULL,
            epoch       TEXT NOT NULL,
            number      INTEGER NOT NULL,
            first_heard INTEGER NOT NULL,
            PRIMARY KEY (machine_id, epoch)
          ) WITHOUT ROWID;

          -- What has been received of each outbox: the seqs after after_seq up to and including through_seq.
          CREATE TABLE drover_received (
            machine_id  TEXT NOT NULL,
            epoch       TEXT NOT NULL,
            stream      TEXT NOT NULL,
            after_seq   INTEGER NOT NULL,
            through_seq INTEGER NOT NULL CHECK (after_seq < through_seq),
            -- The highest version among the stream's events, the same in all its rows.
            version     INTEGER NOT NULL,
            PRIMARY KEY (machine_id, epoch, stream, after_seq)
          ) WITHOUT ROWID;

          -- The sink tables that Drover has made.
          CREATE TABLE drover_sink (
            stream TEXT PRIMARY KEY,
            kind   TEXT NOT NULL CHECK (kind IN ('snapshot', 'payload', 'batch')),
            form   TEXT NOT NULL CHECK (form IN ('table', 'body'))
          ) WITHOUT ROWID;

          CREATE TABLE drover_schema (
            machine_id TEXT NOT NULL,
            stream     TEXT NOT NULL,
            schema_id  TEXT NOT NULL,
            kind       TEXT NOT NULL CHECK (kind IN ('snapshot', 'payload', 'batch')),
            described  INTEGER NOT NULL,
            PRIMARY KEY (machine_id, stream, schema_id)
          ) WITHOUT ROWID;

          CREATE TABLE drover_schema_column (
            machine_id    TEXT NOT NULL,
            stream        TEXT NOT NULL,
            schema_id     TEXT NOT NULL,
            position      INTEGER NOT NULL,
            name          TEXT NOT NULL,
            declared_type TEXT NOT NULL,
            -- Its place in the key, from 0; NULL when it is no part of it.
            key_position  INTEGER,
            PRIMARY KEY (machine_id, stream, schema_id, position)
          ) WITHOUT ROWID;

          CREATE TABLE drover_tombstone (
            machine_id TEXT NOT NULL,
            stream     TEXT NOT NULL,
            local_id   TEXT NOT NULL,
            -- The epoch's number, and the version within it.
            epoch      INTEGER NOT NULL,
            version    INTEGER NOT NULL,
            seq        INTEGER,
            made_at    INTEGER NOT NULL,
            PRIMARY KEY (machine_id, stream, local_id)
          ) WITHOUT ROWID;

          CREATE TABLE drover_progress (
            machine_id TEXT NOT NULL,
            stream     TEXT NOT NULL,
            applied    INTEGER NOT NULL,
            superseded INTEGER NOT NULL,
            refused    INTEGER NOT NULL,
            -- Of the newest event: its version, and when it was committed here.
            version    INTEGER NOT NULL,
            applied_at INTEGER NOT NULL,
            PRIMARY KEY (machine_id, stream)
          ) WITHOUT ROWID;

          -- What became of every message that was committed, so that none is unaccounted for.
          CREATE TABLE drover_message_count (
            outcome TEXT PRIMARY KEY,
            count   INTEGER NOT NULL
          ) WITHOUT ROWID;

          CREATE TABLE drover_dead_letter (
            id         INTEGER PRIMARY KEY,
            topic      TEXT NOT NULL,
            machine_id TEXT,
            stream     TEXT,
            reason     TEXT NOT NULL,
            detail     TEXT NOT NULL,
            raw        BLOB NOT NULL,
            -- The message's or event's full size; raw is cut where it is larger than what is kept.
            bytes      INTEGER NOT NULL,
            digest     INTEGER NOT NULL,
            count      INTEGER NOT NULL,
            first_at   INTEGER NOT NULL,
            last_at    INTEGER NOT NULL
          );
          CREATE INDEX drover_dead_letter_digest ON drover_dead_letter (digest);
          CREATE INDEX drover_dead_letter_machine ON drover_dead_letter (machine_id, stream);
          """)
    }
    migrator.registerMigration("2 replay of dead letters") { database in
      try database.execute(
        sql: """
          -- When it was sent again, until the consumer has had it once more.
          ALTER TABLE drover_dead_letter ADD COLUMN replayed_at INTEGER;
          -- Of the frame that held it, for one event of a frame.
          ALTER TABLE drover_dead_letter ADD COLUMN epoch TEXT;
          CREATE INDEX drover_dead_letter_replayed ON drover_dead_letter (topic, bytes) WHERE replayed_at IS NOT NULL;
          """)
    }
    migrator.registerMigration("3 bounds of dead letters") { try $0.execute(sql: DeadLetterSpace.migration) }
    migrator.registerMigration("4 comparisons") { database in
      try database.execute(
        sql: """
          -- What the last comparison of a machine's stream with its source found.
          CREATE TABLE drover_check (
            machine_id    TEXT NOT NULL,
            stream        TEXT NOT NULL,
            checked_at    INTEGER NOT NULL,
            rows_at_edge  INTEGER NOT NULL,
            rows_in_cloud INTEGER NOT NULL,
            -- Rows that still differ, and rows that differed and were sent again.
            drift         INTEGER NOT NULL,
            repaired      INTEGER NOT NULL,
            in_flight     INTEGER NOT NULL,
            -- Why it could not be finished.
            failure       TEXT,
            PRIMARY KEY (machine_id, stream)
          ) WITHOUT ROWID;
          """)
    }
    migrator.registerMigration("5 complete batches") { database in
      // The condition's own text, which is parsed again and never run as it stands.
      try database.execute(sql: "ALTER TABLE drover_schema ADD COLUMN complete_when TEXT")
    }
    migrator.registerMigration("6 lines of batches") { database in
      try database.execute(
        sql: """
          -- The stream whose lines the table holds; NULL for a stream's own table.
          ALTER TABLE drover_sink ADD COLUMN header TEXT;

          -- Columns of the tables whose rows travel with a schema's header.
          CREATE TABLE drover_schema_line (
            machine_id    TEXT NOT NULL,
            stream        TEXT NOT NULL,
            schema_id     TEXT NOT NULL,
            number        INTEGER NOT NULL,
            table_name    TEXT NOT NULL,
            position      INTEGER NOT NULL,
            name          TEXT NOT NULL,
            declared_type TEXT NOT NULL,
            key_position  INTEGER,
            -- Which part of the header's key it names, from 0; NULL when it names none.
            header_part   INTEGER,
            PRIMARY KEY (machine_id, stream, schema_id, number, position)
          ) WITHOUT ROWID;
          """)
    }
    migrator.registerMigration("7 waiting schemas") { try $0.execute(sql: SchemaTables.migration) }
    migrator.registerMigration("8 details of dead letters") {
      try $0.execute(sql: DeadLetterSpace.migrationOfDetails)
    }
    migrator.registerMigration("9 natural keys") { try $0.execute(sql: MatchedSink.migration) }
    migrator.registerMigration("10 runs of agents") { database in
      try database.execute(
        sql: """
          -- The newest runs of a machine's agent that were heard of, and the highest seq that their frames know of.
          CREATE TABLE drover_run (
            machine_id TEXT NOT NULL,
            epoch      TEXT NOT NULL,
            run        INTEGER NOT NULL CHECK (run >= 0),
            reached    INTEGER NOT NULL CHECK (reached >= 0),
            PRIMARY KEY (machine_id, epoch, run)
          ) WITHOUT ROWID;

          ALTER TABLE drover_received DROP COLUMN version;
          """)
    }
    migrator.registerMigration("11 outboxes of machines") { database in
      try database.execute(
        sql: """
          -- How the machine's outbox stood when it told so last: events that wait for a confirmation, the version of the oldest of them, dead
          -- letters at the edge, bytes that its disk has left; and when that was heard.
          ALTER TABLE drover_machine ADD COLUMN waiting INTEGER;
          ALTER TABLE drover_machine ADD COLUMN oldest INTEGER;
          ALTER TABLE drover_machine ADD COLUMN edge_letters INTEGER;
          ALTER TABLE drover_machine ADD COLUMN free_bytes INTEGER;
          ALTER TABLE drover_machine ADD COLUMN told_at INTEGER;
          """)
    }
    migrator.registerMigration("12 change feed") { try $0.execute(sql: ChangeFeed.migration) }
    migrator.registerMigration("13 budgets of machines") { try $0.execute(sql: MachineTables.migration) }
    migrator.registerMigration("14 gaps of capture") { database in
      try database.execute(
        sql: """
          -- Gaps in what machines captured of their streams: the one that was heard of last, and the last that a comparison has closed.
          CREATE TABLE drover_gap (
            machine_id TEXT NOT NULL,
            stream     TEXT NOT NULL,
            gap        TEXT NOT NULL,
            closed     TEXT,
            tried_at   INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (machine_id, stream)
          ) WITHOUT ROWID;
          """)
    }
    migrator.registerMigration("15 troubles") { try $0.execute(sql: TroubleTable.migration) }
    migrator.registerMigration("16 shared tables") { database in
      try database.execute(sql: SharedTables.migration)
      try SharedTables.rankHeldRows(database, now: SQLiteCloudStore.wallClock())
    }
    migrator.registerMigration("17 streams that wait at machines") { try $0.execute(sql: StreamWaits.migration) }
    migrator.registerMigration("18 blocked sinks") { try $0.execute(sql: BlockedTable.migration) }
    migrator.registerMigration("19 two-way rows") { try $0.execute(sql: CloudTwoWay.migration) }
    migrator.registerMigration("20 merging by columns") { try $0.execute(sql: CloudTwoWay.columnsMigration) }
    migrator.registerMigration("21 bytes of conflicts") { try $0.execute(sql: ConflictTable.bytesMigration) }
    migrator.registerMigration("22 mark of the bookkeeping") { try $0.execute(sql: StoreMark.migration) }
    migrator.registerMigration("23 rows that machines refuse") { try $0.execute(sql: RefusedRowTable.migration) }
    migrator.registerMigration("24 runs of the way down") { try $0.execute(sql: StoreRuns.migration) }
    migrator.registerMigration("25 orders") { try $0.execute(sql: OrderMigration.migration) }
    return migrator
  }
}
