// What the store keeps of rows that both sides edit. docs/decisions/0050-two-way-rows.md has the reasons.

import DroverCore
import GRDB

enum CloudTwoWay {
  /// The machine of rows that are for all machines.
  static let everyMachine = "*"

  /// The places for the parts of a key in `drover_edit`. They have no type, so that values stay as they are.
  static func keyColumns(_ count: Int) -> [String] { (0..<count).map { "key\($0)" } }

  static let migration = """
    -- From which of the machine's epochs an epoch continues (its number), and the highest version there that is a part of its history.
    ALTER TABLE drover_epoch ADD COLUMN parent INTEGER;
    ALTER TABLE drover_epoch ADD COLUMN fork INTEGER;

    -- In which direction the stream's rows travel, and what is declared about rows that both sides edit.
    ALTER TABLE drover_schema ADD COLUMN direction TEXT NOT NULL DEFAULT 'up';
    ALTER TABLE drover_schema ADD COLUMN newer TEXT;
    ALTER TABLE drover_schema ADD COLUMN merge_unit TEXT NOT NULL DEFAULT 'row';
    ALTER TABLE drover_schema ADD COLUMN is_key_natural INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE drover_schema ADD COLUMN reach TEXT NOT NULL DEFAULT 'machine';
    ALTER TABLE drover_schema_waiting ADD COLUMN direction TEXT NOT NULL DEFAULT 'up';
    ALTER TABLE drover_schema_waiting ADD COLUMN newer TEXT;
    ALTER TABLE drover_schema_waiting ADD COLUMN merge_unit TEXT NOT NULL DEFAULT 'row';
    ALTER TABLE drover_schema_waiting ADD COLUMN is_key_natural INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE drover_schema_waiting ADD COLUMN reach TEXT NOT NULL DEFAULT 'machine';

    -- The machines' streams that go down. The triggers of the sink tables look here for whose rows may be edited.
    CREATE TABLE drover_flow (
      stream        TEXT NOT NULL,
      machine_id    TEXT NOT NULL,
      direction     TEXT NOT NULL CHECK (direction IN ('down', 'both')),
      -- Whose rows the machine gets: its own, or '*'.
      owner         TEXT NOT NULL,
      complete_when TEXT,
      PRIMARY KEY (stream, machine_id)
    ) WITHOUT ROWID;
    CREATE INDEX drover_flow_machine ON drover_flow (machine_id, stream);

    -- The columns of a sink table that Drover carries down, in lower case.
    CREATE TABLE drover_flow_column (
      stream TEXT NOT NULL,
      name   TEXT NOT NULL,
      PRIMARY KEY (stream, name)
    ) WITHOUT ROWID;

    -- The version at which a machine's bookkeeping of a stream began, and the number of the epoch that said so last.
    CREATE TABLE drover_since (
      machine_id TEXT NOT NULL,
      stream     TEXT NOT NULL,
      since      INTEGER NOT NULL,
      epoch      INTEGER NOT NULL,
      PRIMARY KEY (machine_id, stream)
    ) WITHOUT ROWID;

    -- One entry for each row that the cloud has decided about. It outlives the row.
    CREATE TABLE drover_row (
      machine_id       TEXT NOT NULL,
      stream           TEXT NOT NULL,
      local_id         TEXT NOT NULL,
      -- The machine's newest own edit that was merged: the epoch's number, and the version.
      edge_epoch       INTEGER,
      edge_version     INTEGER,
      cloud_version    INTEGER NOT NULL,
      -- The newest own edit that the cloud's decision has seen.
      decided_epoch    INTEGER,
      decided_version  INTEGER,
      is_cloud_content INTEGER NOT NULL CHECK (is_cloud_content IN (0, 1)),
      -- Since when the row is gone, microseconds since 1970; NULL while it is there.
      gone_at          INTEGER,
      -- Its place among what goes down; NULL for a row that has nothing to go down.
      number           INTEGER,
      PRIMARY KEY (machine_id, stream, local_id)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX drover_row_number ON drover_row (machine_id, stream, number) WHERE number IS NOT NULL;
    CREATE INDEX drover_row_gone ON drover_row (gone_at) WHERE gone_at IS NOT NULL;

    -- The last number that was given.
    CREATE TABLE drover_down (
      machine_id TEXT NOT NULL,
      stream     TEXT NOT NULL,
      last       INTEGER NOT NULL,
      PRIMARY KEY (machine_id, stream)
    ) WITHOUT ROWID;

    -- What machines have received of what goes down, in the numbering that is in force.
    CREATE TABLE drover_down_received (
      machine_id  TEXT NOT NULL,
      stream      TEXT NOT NULL,
      after_seq   INTEGER NOT NULL,
      through_seq INTEGER NOT NULL CHECK (after_seq < through_seq),
      PRIMARY KEY (machine_id, stream, after_seq)
    ) WITHOUT ROWID;

    -- Versions of decisions that the store may have lost when it was put back.
    CREATE TABLE drover_lost_decision (
      first INTEGER NOT NULL,
      last  INTEGER NOT NULL
    );

    -- A row only while the consumer writes: then the triggers of the sink tables do nothing. Nobody else ever sees it.
    CREATE TABLE drover_writer (id INTEGER PRIMARY KEY CHECK (id = 0));

    -- Edits in the cloud that the consumer has not taken yet. The triggers of the sink tables write them.
    CREATE TABLE drover_edit (
      id           INTEGER PRIMARY KEY,
      stream       TEXT NOT NULL,
      machine_id   TEXT NOT NULL,
      -- The row's own before the edit; 0 for a row that was not there.
      old_epoch    INTEGER NOT NULL,
      old_version  INTEGER NOT NULL,
      -- No edit: a row that an INSERT meets, and that REPLACE removes in silence.
      is_displaced INTEGER NOT NULL DEFAULT 0 CHECK (is_displaced IN (0, 1)),
      was_complete INTEGER NOT NULL DEFAULT 0,
      \(keyColumns(SinkTable.maximumKeyColumns).joined(separator: ", "))
    );
    CREATE INDEX drover_edit_stream ON drover_edit (stream);

    -- Values that lost, until a person resolves the conflict.
    CREATE TABLE drover_conflict (
      id         INTEGER PRIMARY KEY AUTOINCREMENT,
      machine_id TEXT NOT NULL,
      stream     TEXT NOT NULL,
      local_id   TEXT NOT NULL,
      -- Microseconds since 1970.
      at         INTEGER NOT NULL,
      reason     TEXT NOT NULL CHECK (reason IN ('edit', 'delete', 'key')),
      loser      TEXT NOT NULL CHECK (loser IN ('cloud', 'machine')),
      -- The names of the columns, and the values in JSON; NULL: a delete.
      columns    TEXT NOT NULL,
      content    TEXT,
      version    INTEGER NOT NULL,
      result     INTEGER NOT NULL
    );
    CREATE INDEX drover_conflict_row ON drover_conflict (machine_id, stream, local_id);
    """

  static let columnsMigration = """
    ALTER TABLE drover_flow ADD COLUMN merge_unit TEXT NOT NULL DEFAULT 'row';

    -- Of an edit of a table with rows that are merged by columns: the row's values before it.
    CREATE TABLE drover_edit_value (
      edit_id INTEGER NOT NULL,
      -- In lower case.
      name    TEXT NOT NULL,
      -- It has no type, so that a value stays as it is.
      value,
      PRIMARY KEY (edit_id, name)
    ) WITHOUT ROWID;
    CREATE TRIGGER drover_edit_is_taken AFTER DELETE ON drover_edit BEGIN
      DELETE FROM drover_edit_value WHERE edit_id = OLD.id;
    END;

    -- What machines had of a row before the cloud's edits that they may not know: one entry for each decision that they may hold.
    CREATE TABLE drover_base (
      machine_id    TEXT NOT NULL,
      stream        TEXT NOT NULL,
      local_id      TEXT NOT NULL,
      -- The decision that the machine holds; 0 for none.
      cloud_version INTEGER NOT NULL,
      -- The machine's newest own edit in it.
      edge_epoch    INTEGER,
      edge_version  INTEGER,
      -- The schema of the values, and these as a JSON list.
      schema_id     TEXT NOT NULL,
      content       TEXT NOT NULL,
      -- Microseconds since 1970.
      at            INTEGER NOT NULL,
      PRIMARY KEY (machine_id, stream, local_id, cloud_version)
    ) WITHOUT ROWID;
    CREATE INDEX drover_base_at ON drover_base (at);
    """

  /// What is kept of a machine's rows and goes with it.
  static let ofMachines = [
    "drover_flow", "drover_since", "drover_row", "drover_down", "drover_down_received", "drover_edit",
    "drover_conflict", "drover_base", "drover_refused", "drover_refused_row", "drover_down_run",
  ]
}

extension Flow {
  /// The columns of `drover_schema` and `drover_schema_waiting`.
  static let columns = "direction, newer, merge_unit, is_key_natural, reach"

  var arguments: StatementArguments { [direction.rawValue, newer, merge.rawValue, isKeyNatural, reach.rawValue] }

  /// nil where another version of Drover knows a word that this one does not.
  init?(_ row: Row) {
    guard let direction = Direction(rawValue: row["direction"]), let merge = MergeUnit(rawValue: row["merge_unit"]),
      let reach = Reach(rawValue: row["reach"])
    else { return nil }
    self.init(
      direction: direction, newer: row["newer"], merge: merge, isKeyNatural: row["is_key_natural"], reach: reach)
  }

  /// Whose rows a machine gets.
  func owner(_ machine: MachineID) -> String { reach == .all ? CloudTwoWay.everyMachine : machine.text }
}
