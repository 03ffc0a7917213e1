// The queue of orders in SQLite. Any program may insert into `drover_order`, so the triggers let through what is a program's to write and refuse the rest.
// docs/how-to/worklists.md tells programs what they may do.

import DroverCore

enum OrderMigration {
  /// As long as this table has a row, it is Drover that writes.
  private static let isForeign = "NOT EXISTS (SELECT 1 FROM drover_writer)"

  static let migration = """
    -- Orders for machines. A program inserts worklist, order_key and fields, and may add machine, priority and not_before; Drover writes the rest.
    CREATE TABLE drover_order (
      number      INTEGER PRIMARY KEY,
      worklist    TEXT NOT NULL,
      order_key   TEXT NOT NULL CHECK (typeof(order_key) = 'text' AND length(CAST(order_key AS BLOB)) BETWEEN 1 AND 1024 AND instr(order_key, char(0)) = 0),
      -- A JSON object.
      fields      TEXT NOT NULL CHECK (typeof(fields) = 'text' AND json_valid(fields) AND substr(ltrim(fields, char(9, 10, 13, 32)), 1, 1) = '{'),
      -- The machine that gets it; '*' is any; NULL: as the configuration says.
      machine     TEXT,
      -- Higher ones go first.
      priority    INTEGER NOT NULL DEFAULT 0 CHECK (typeof(priority) = 'integer'),
      -- Microseconds since 1970 before which it is not handed out.
      not_before  INTEGER CHECK (typeof(not_before) IN ('integer', 'null')),

      -- Who may get it, as decided: a machine, '*', '' for none; NULL while it is not decided.
      target      TEXT,
      state       TEXT NOT NULL DEFAULT 'queued'
                  CHECK (state IN ('queued', 'handed out', 'in work', 'complete', 'withdrawn', 'refused')),
      note        TEXT,
      -- The machine's request that it was handed out to.
      request     TEXT,
      holder      TEXT,
      handed_at   INTEGER,
      -- Since when it is in its state.
      since       INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)),
      in_doubt    INTEGER NOT NULL DEFAULT 0 CHECK (in_doubt IN (0, 1)),
      -- The newest row of the holder that does not count.
      rows_epoch   INTEGER,
      rows_version INTEGER,
      -- When a person requeued it last.
      requeued_at INTEGER,
      posted_at   INTEGER,
      UNIQUE (worklist, order_key),
      CHECK (state NOT IN ('handed out', 'in work') OR holder IS NOT NULL),
      CHECK (state <> 'handed out' OR request IS NOT NULL)
    );
    CREATE INDEX drover_order_queue ON drover_order (worklist, target, priority DESC, number) WHERE state = 'queued';
    CREATE INDEX drover_order_state ON drover_order (worklist, state, number);
    CREATE INDEX drover_order_request ON drover_order (worklist, request) WHERE request IS NOT NULL;
    CREATE INDEX drover_order_holder ON drover_order (worklist, holder) WHERE holder IS NOT NULL AND state <> 'complete';
    CREATE INDEX drover_order_since ON drover_order (worklist, since);
    CREATE INDEX drover_order_unposted ON drover_order (worklist, since) WHERE state = 'complete' AND posted_at IS NULL;

    -- What machines have asked for: the newest requests of each.
    CREATE TABLE drover_refill (
      number     INTEGER PRIMARY KEY AUTOINCREMENT,
      worklist   TEXT NOT NULL,
      machine_id TEXT NOT NULL,
      request    TEXT NOT NULL,
      state      TEXT NOT NULL CHECK (state IN ('open', 'taken', 'not taken', 'closed')),
      at         INTEGER NOT NULL,
      UNIQUE (worklist, machine_id, request)
    );
    CREATE INDEX drover_refill_state ON drover_refill (worklist, machine_id, state, number);

    -- A known order that is listed again stays as it is, also with INSERT OR REPLACE. One that is queued may be replaced.
    CREATE TRIGGER drover_order_known BEFORE INSERT ON drover_order
      WHEN \(isForeign) AND EXISTS (SELECT 1 FROM drover_order
             WHERE worklist = NEW.worklist AND order_key = NEW.order_key AND (state <> 'queued' OR holder IS NOT NULL))
    BEGIN
      SELECT RAISE(IGNORE);
    END;
    CREATE TRIGGER drover_order_insert BEFORE INSERT ON drover_order
      WHEN \(isForeign) AND (NEW.state <> 'queued' OR NEW.target IS NOT NULL OR NEW.note IS NOT NULL OR NEW.request IS NOT NULL
        OR NEW.holder IS NOT NULL OR NEW.handed_at IS NOT NULL OR NEW.in_doubt <> 0 OR NEW.rows_epoch IS NOT NULL OR NEW.requeued_at IS NOT NULL OR NEW.posted_at IS NOT NULL)
    BEGIN
      SELECT RAISE(ABORT, '\(OrderRefusal.insert)');
    END;
    CREATE TRIGGER drover_order_state_update
      BEFORE UPDATE OF number, worklist, order_key, state, note, request, holder, handed_at, since, in_doubt, rows_epoch, rows_version, requeued_at, posted_at
      ON drover_order WHEN \(isForeign)
    BEGIN
      SELECT RAISE(ABORT, '\(OrderRefusal.state)');
    END;
    CREATE TRIGGER drover_order_target_update BEFORE UPDATE OF target ON drover_order
      WHEN \(isForeign) AND NEW.target IS NOT NULL
    BEGIN
      SELECT RAISE(ABORT, '\(OrderRefusal.state)');
    END;
    CREATE TRIGGER drover_order_fields_update BEFORE UPDATE OF fields, machine, priority, not_before ON drover_order
      WHEN \(isForeign) AND OLD.state <> 'queued'
    BEGIN
      SELECT RAISE(ABORT, '\(OrderRefusal.update)');
    END;
    -- Who gets it is decided again.
    CREATE TRIGGER drover_order_fields_updated AFTER UPDATE OF fields, machine ON drover_order
      WHEN \(isForeign) AND NEW.target IS NOT NULL
    BEGIN
      UPDATE drover_order SET target = NULL WHERE number = NEW.number;
    END;
    CREATE TRIGGER drover_order_delete BEFORE DELETE ON drover_order
      WHEN \(isForeign) AND (OLD.state IN ('handed out', 'in work') OR OLD.state = 'queued' AND OLD.holder IS NOT NULL)
    BEGIN
      SELECT RAISE(ABORT, '\(OrderRefusal.delete)');
    END;
    """
}
