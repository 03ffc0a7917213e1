// What the store notes of its sink tables, in `drover_sink` and `drover_sink_column`, is made again if it was deleted: from the tables, and from what
// the machines have described. Nothing of a table changes.

import DroverCore

struct SinkNotes {
  let connection: Connection

  /// Streams of which a table is not noted any more.
  func streamsWithout() throws -> [StreamName] {
    let rows = try connection.query(
      """
      SELECT stream FROM drover_schema AS known
       WHERE NOT EXISTS (SELECT 1 FROM drover_sink WHERE name = lower(known.stream COLLATE "C"))
      UNION
      SELECT stream FROM drover_schema_line AS line
       WHERE NOT EXISTS (SELECT 1 FROM drover_sink WHERE name = lower(line.table_name COLLATE "C"))
      ORDER BY 1
      """)
    var seen: Set<SQLName> = []
    return try (0..<rows.count).map { try StreamName(rows.text($0, 0)) }.filter {
      seen.insert(SQLName($0.text)).inserted
    }
  }

  func has(_ stream: StreamName) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM drover_sink WHERE name = $1)", [.text(SQLName(stream.text).text)], isKept: false
    ).boolean(0, 0)
  }

  /// Notes for which of a source's columns those of a table stand, as far as they are there and that is not known.
  /// - Returns: whether something was new.
  func note(_ columns: [Column], key: [Int], of sink: String, table: Int64) throws -> Bool {
    let present = try connection.query(
      """
      SELECT present.attname::text, present.atttypid::bigint FROM pg_attribute AS present
       WHERE present.attrelid::bigint = $1 AND present.attnum > 0 AND NOT present.attisdropped
      """, [.integer(table)], isKept: false)
    let types = Dictionary(
      (0..<present.count).map { (ExactText(present.text($0, 0)), present.integer($0, 1)) }
    ) { first, _ in first }
    var isChanged = false
    func note(_ column: Column, place: Int?) throws {
      guard let type = types[ExactText(Names.column(column.name))],
        try !isNoted(column, of: sink, place: place)
      else { return }
      // A column that was widened for several affinities keeps each value as it came.
      let isWidened = TypeNumber(rawValue: UInt32(type)) == .jsonb
      try SinkTable.note(
        isWidened ? Column(name: column.name, declaredType: "") : column, of: sink, keyPosition: place, connection)
      isChanged = true
    }
    for (index, column) in columns.enumerated() { try note(column, place: key.firstIndex(of: index)) }
    // Other machines may tell lives.
    if !columns.contains(where: { SQLName($0.name) == SQLName(StreamSchema.lifeColumn) }) {
      try note(Column(name: StreamSchema.lifeColumn, declaredType: "TEXT"), place: key.count)
    }
    return isChanged
  }

  private func isNoted(_ column: Column, of sink: String, place: Int?) throws -> Bool {
    try connection.query(
      """
      SELECT EXISTS (SELECT 1 FROM drover_sink_column WHERE sink = $1 AND name = $2
                        AND ($3::bigint IS NULL OR key_position IS NOT NULL) AND column_name = $4)
      """,
      [.text(sink), .text(SQLName(column.name).text), .integer(place), .text(Names.column(column.name))], isKept: false
    ).boolean(0, 0)
  }

  // MARK: For a comparison

  /// What is missing of the notes on a table that a comparison reads; nil where nothing is.
  func lack(of stream: StreamName, _ rows: StreamSchema) throws -> String? {
    guard try has(stream) else { return SinkNote.tableIsGone(stream) }
    let noted = try connection.query(
      "SELECT name, key_position IS NOT NULL FROM drover_sink_column WHERE sink = $1",
      [.text(SQLName(stream.text).text)], isKept: false)
    let known = Dictionary(
      (0..<noted.count).map { (SQLName(noted.text($0, 0)), noted.boolean($0, 1)) }
    ) { first, _ in first }
    let lacking = rows.columns.enumerated().filter { index, column in
      let isKey = known[SQLName(column.name)]
      return isKey == nil || isKey == false && rows.key.contains(index)
    }.map(\.element.name)
    return lacking.isEmpty ? nil : SinkNote.columnsAreGone(lacking, stream)
  }
}
