// One sink table in the change feed. Its rows have a column for the number of their last change, with an index. Beside it stands
// `drover_gone_…`, where a row that is deleted leaves its key, in columns like the sink's, under the delete's number.

import DroverCore

struct FeedTable {
  /// In lower case.
  let stream: String
  /// Both as SQL takes them.
  let gone: String
  private let index: String

  /// - Parameters:
  ///   - stream: in lower case.
  ///   - table: the sink table's name, without the schema in which it is.
  init(stream: String, table: String, in place: String) {
    self.stream = stream
    // Streams cannot be named drover_…, so the names are free.
    gone = "\(place).\(quoted(Names.relation("drover_gone_\(table)")))"
    index = "\(place).\(quoted(Self.indexName(table)))"
  }

  private static func indexName(_ table: String) -> String { Names.relation("drover_changes_of_\(table)") }

  // MARK: Made and dropped

  /// Gives a sink table what the feed needs.
  static func make(for table: SinkTable, _ connection: Connection) throws {
    try connection.run(
      """
      ALTER TABLE \(table.qualified) ADD COLUMN IF NOT EXISTS \(TableShape.changeColumn) bigint;
      CREATE INDEX \(quoted(indexName(table.name))) ON \(table.qualified) (\(TableShape.changeColumn));
      CREATE TABLE \(table.feed!.gone) (
        drover_change  bigint PRIMARY KEY,
        -- Microseconds since 1970.
        drover_gone_at bigint NOT NULL,
        drover_version bigint NOT NULL,
        \(table.machine) text COLLATE "C" NOT NULL,
        \(table.key.map { "\(table.column($0)!.identifier) \(SinkColumn.definition(table.column($0)!.type)) NOT NULL" }.joined(separator: ", "))
      )
      """)
  }

  func drop(_ connection: Connection) throws {
    try connection.run("DROP INDEX IF EXISTS \(index); DROP TABLE IF EXISTS \(gone)")
  }

  // MARK: Deletes

  /// The statement that deletes rows and leaves their keys.
  /// - Parameters:
  ///   - rows: `DELETE FROM … AS alias … WHERE …`.
  ///   - version: an expression.
  ///   - now: an expression: microseconds since 1970.
  func burying(_ rows: String, alias: String, key: [String], version: String, now: String) -> String {
    """
    WITH gone AS (\(rows) RETURNING \(version) AS drover_version, \(key.map { "\(alias).\($0)" }.joined(separator: ", ")))
    INSERT INTO \(gone) (drover_change, drover_gone_at, drover_version, \(key.joined(separator: ", ")))
    SELECT \(ChangeFeed.next), \(now), drover_version, \(key.joined(separator: ", ")) FROM gone
    """
  }

  /// Forgets deletes that were made before a moment, the oldest first, until one is younger.
  /// - Returns: the highest number of them.
  func forgetDeletes(madeBefore moment: Int64, _ connection: Connection) throws -> Int64? {
    try connection.query(
      """
      WITH forgotten AS (
        DELETE FROM \(gone)
         WHERE drover_change < coalesce(
           (SELECT drover_change FROM \(gone) WHERE drover_gone_at >= $1 ORDER BY drover_change LIMIT 1), \(Int64.max))
        RETURNING drover_change)
      SELECT max(drover_change) FROM forgotten
      """, [.integer(moment)]
    ).optionalInteger(0, 0)
  }
}

extension SinkTable {
  /// The machine's column and the key's, quoted.
  var wholeKey: [String] { [machine] + key.map { column($0)!.identifier } }

  /// The column of a row's last number, and the next one, where the rows are numbered.
  var numbering: (column: [String], value: [String]) {
    feed == nil ? ([], []) : ([TableShape.changeColumn], [ChangeFeed.next])
  }

  /// What has a column of the table: where it is part of the key, the keys of deleted rows too.
  func relations(with column: SinkColumn) -> [String] {
    [qualified] + (key.contains(column.name) ? [feed?.gone].compactMap(\.self) : [])
  }
}
