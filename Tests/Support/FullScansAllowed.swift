// Walks that are meant, each with its reason. Everything else is found by an index or a key.

package enum FullScansAllowed {
  /// Columns that say whose rows are looked for, and no more.
  package static let owners: Set = ["machine_id", "drover_machine_id", "stream", "sink"]

  /// Tables whose rows are no more than configuration and limits allow, for each machine: `limits`, `dead_letters`, streams, epochs and schemas.
  package static let bounded: Set = [
    "drover_meta", "drover_clock", "drover_stream", "drover_space", "drover_sink", "drover_sink_column", "drover_feed",
    "drover_feed_stream", "drover_changes", "drover_identity", "drover_identity_member", "drover_capture",
    "drover_backfill", "drover_ahead", "drover_kept", "drover_message_count", "drover_trouble", "drover_dead_total",
    "drover_dead_dropped", "drover_dead_use", "drover_dead_letter", "drover_dead_field", "drover_schema",
    "drover_schema_line", "drover_schema_column", "drover_schema_waiting", "drover_schema_waiting_column",
    "drover_schema_waiting_line", "drover_column_alone", "drover_progress", "drover_epoch", "drover_run",
    "drover_received", "drover_gap", "drover_check", "drover_over_budget", "drover_machine", "drover_consumer",
    "drover_migration", "grdb_migrations", "drover_blocked", "drover_stream_wait", "drover_wait",
    "drover_down", "drover_down_waiting", "drover_down_field",
    "drover_flow", "drover_flow_column", "drover_since", "drover_down", "drover_down_received", "drover_lost_decision",
    "drover_writer", "drover_conflict", "drover_down_run", "drover_opening", "drover_refused", "drover_refused_row",
    "drover_refill",
  ]

  package struct FullScan: Sendable {
    /// Text that a statement has.
    package let part: String
    package let reason: String
  }

  package static let reasons: [FullScan] = [
    FullScan(
      part: "FROM drover_sink AS sink", reason: "what protects all sink tables is looked at, when tables have changed"),
    FullScan(part: "AND is_displaced = 0", reason: "a comparison reads edits that the consumer takes within seconds"),
    FullScan(part: "count(*)", reason: "a report or a comparison counts"),
    FullScan(part: " LIMIT ", reason: "as many rows as the limit says, in the order of an index"),
    FullScan(part: "drover_next", reason: "the view reads the last row of the outbox"),
    FullScan(part: "highest", reason: "the newest key of an app's table, at the start and after a change of the table"),
    FullScan(part: "drover_life_", reason: "lives are compared with their table after the app has changed it"),
    FullScan(part: "AS old WHERE NOT EXISTS", reason: "a rotated table is compared with its successor, once"),
    FullScan(part: "INSERT INTO drover_space", reason: "once, when the table is made"),
    FullScan(part: "entry.seq > stream.confirmed_through", reason: "at the start of the agent"),
    FullScan(
      part: "AND body IS NULL AND op = 'put'", reason: "waiting rows get lives, once after a change of the table"),
    FullScan(part: "drover_is_shown", reason: "a comparison reads all rows of a machine's stream"),
    FullScan(part: "typeof(", reason: "a column's types are looked at when its type changes"),
    FullScan(part: "SELECT EXISTS (SELECT 1 FROM", reason: "the first row that is found ends it"),
    FullScan(part: "lower(stream) = lower(", reason: "a person has a table put aside"),
    FullScan(part: " AS header", reason: "lines without a header, looked for by a comparison"),
    FullScan(part: "made_at < ", reason: "old tombstones are retired once an hour"),
    FullScan(
      part: "FROM drover_tombstone WHERE machine_id = ?1",
      reason: "a machine's tombstones are measured when it has more than its bound"),
    FullScan(part: "INSERT INTO drover_unit_", reason: "a table's headers are noted when it is attached"),
    FullScan(
      part: "DELETE FROM drover_unit_", reason: "the same, and headers that are gone, by an index of these alone"),
    FullScan(part: "\"machine_id\" IS ", reason: "an app's key may have a column of that name"),
    FullScan(part: "FROM drover_row WHERE stream", reason: "deleted rows are sent again with all others"),
    FullScan(part: "UPDATE drover_outbox SET again = 1", reason: "once, when an epoch begins"),
    FullScan(part: "drover_epoch IS NULL", reason: "a table that somebody has changed is repaired"),
    FullScan(part: "drover_version IS NULL", reason: "the same"),
    FullScan(part: "drover_gone_at", reason: "old deletes are forgotten once an hour, the oldest first"),
    FullScan(
      part: "AS shared (epoch, version)", reason: "what a restored machine has lost, once for each of its epochs"),
    FullScan(
      part: "DELETE FROM drover_row WHERE", reason: "a machine's stream ends to go down, with all of its entries"),
    FullScan(
      part: "edge_epoch IS NOT NULL AND gone_at IS NULL",
      reason: "a machine continues from an earlier state: its rows are looked at once"),
    FullScan(
      part: "SELECT $1, $2, pg_catalog.jsonb_build_array(",
      reason: "a machine's stream begins to go down with all of its rows"),
    FullScan(part: "SET held = 0 WHERE", reason: "once, when the cloud's store has gone back"),
    FullScan(part: "row.held = 0", reason: "the same, when all has come down again: the few rows that are left"),
    FullScan(part: "DELETE FROM drover_edit WHERE", reason: "the same, and edits that were taken"),
    FullScan(part: "DELETE FROM drover_base WHERE stream = ", reason: "a machine's stream ends to go down"),
    FullScan(part: "DELETE FROM drover_base WHERE machine_id = ? AND", reason: "the same"),
  ]

  /// Whether a statement has no condition: it is about every row of what it names.
  package static func isAboutWholeTables(_ sql: String) -> Bool { !sql.contains("WHERE") }
}
