// A sink table as it is in PostgreSQL: which of its columns stands for which of a source's, and how each holds its values.

import DroverCore

struct SinkTable {
  /// The stream, as the first who described it spells it.
  let stream: String
  /// Without the schema in which it is.
  let name: String
  /// As SQL takes it.
  let qualified: String
  let form: SinkForm
  /// The machine's column, quoted.
  let machine: String
  /// The source's columns, in the table's order.
  let columns: [SinkColumn]
  /// Their names in the key's order, without the machine.
  let key: [SQLName]
  /// What its columns are called, Drover's own included, in the table's order.
  let shape: TableShape
  /// What of the change feed belongs to it; nil where its rows are not numbered.
  let feed: FeedTable?
  /// Rows of a machine at least go down from it, so that edits of it are captured.
  var isTwoWay = false

  /// The most that a table takes: 1600 columns and 32 parts of an index, Drover's own included
  /// (https://www.postgresql.org/docs/current/limits.html).
  static let maximumColumns = 1595
  static let maximumKeyColumns = 31

  func column(_ name: SQLName) -> SinkColumn? { columns.first { $0.name == name } }

  /// A column that the table had; another program may have dropped it since.
  func need(_ name: SQLName) throws -> SinkColumn {
    if let column = column(name) { return column }
    throw PostgreSQLError(
      operation: "use the sink table \(self.name) of", subject: "the store",
      cause: "its column \(name) is not there, or no column of it is noted as that one", state: "42703")
  }

  private static let ownColumns: Set<String> = [
    "machine_id", "drover_machine_id", "drover_epoch", "drover_version", TableShape.schemaColumn,
    TableShape.changeColumn,
  ]

  // MARK: Looking

  /// - Parameters:
  ///   - stream: whose sink it is.
  ///   - place: the schema in which tables are made, quoted.
  /// - Returns: nil where there is none of Drover's.
  static func read(_ stream: StreamName, in place: String, _ connection: Connection) throws -> SinkTable? {
    let name = SQLName(stream.text).text
    let sink = try connection.query(
      """
      SELECT table_name, kind, form, header, EXISTS (SELECT 1 FROM drover_feed), is_loose, stream,
             EXISTS (SELECT 1 FROM drover_flow WHERE drover_flow.stream = name)
        FROM drover_sink WHERE name = $1
      """, [.text(name)])
    guard sink.count > 0, let kind = Kind(rawValue: sink.text(0, 1)) else { return nil }
    let form = SinkForm(
      kind: kind, isTable: sink.text(0, 2) == "table",
      header: sink.optionalText(0, 3).map(SQLName.init), isLoose: sink.boolean(0, 5))
    let table = sink.text(0, 0)
    let feed = sink.boolean(0, 4) ? FeedTable(stream: name, table: table, in: place) : nil
    return try read(
      table, of: sink.text(0, 6), sink: name, form: form, feed: feed, isTwoWay: sink.boolean(0, 7), in: place,
      connection)
  }

  /// - Parameters:
  ///   - table: the sink's own, or one that has its columns too.
  ///   - stream: as the first who described it spells it.
  static func read(
    _ table: String, of stream: String, sink: String, form: SinkForm, feed: FeedTable? = nil, isTwoWay: Bool = false,
    in place: String, _ connection: Connection
  ) throws -> SinkTable {
    let qualified = "\(place).\(quoted(table))"
    let rows = try connection.query(
      """
      SELECT present.attname::text, present.atttypid::bigint, own.name, own.declared_type, own.key_position,
             format_type(present.atttypid, present.atttypmod)
        FROM pg_attribute AS present LEFT JOIN drover_sink_column AS own ON own.sink = $2 AND own.column_name = present.attname::text
       WHERE present.attrelid = $1::text::regclass AND present.attnum > 0 AND NOT present.attisdropped ORDER BY present.attnum
      """, [.text(qualified), .text(sink)])
    var columns: [SinkColumn] = []
    var key: [(Int64, SQLName)] = []
    var names: [SQLName] = []
    for row in 0..<rows.count {
      guard let name = rows.optionalText(row, 2).map(SQLName.init) else {
        if ["drover_epoch", "drover_version"].contains(rows.text(row, 0)),
          rows.integer(row, 1) != Int64(TypeNumber.bigint.rawValue)
        {
          throw PostgreSQLError(
            operation: "use the sink table \(table) of", subject: connection.subject,
            cause: "its column \(rows.text(row, 0)) has the type \(rows.text(row, 5)); it has to be bigint",
            state: "42P16")
        }
        // A column that another program has added is not a column of the source, whatever its name.
        if ownColumns.contains(rows.text(row, 0)) { names.append(SQLName(rows.text(row, 0))) }
        continue
      }
      names.append(name)
      guard let type = TypeNumber(rawValue: UInt32(rows.integer(row, 1))) else {
        throw PostgreSQLError(
          operation: "use the sink table \(table) of", subject: connection.subject,
          cause:
            "its column \(name) has the type \(rows.text(row, 5)), which Drover does not use; give it one of \(TypeNumber.allCases.map(\.name).joined(separator: ", "))",
          state: "42P16")
      }
      columns.append(
        SinkColumn(
          name: name, identifier: quoted(rows.text(row, 0)),
          affinity: Column(name: "", declaredType: rows.text(row, 3).unescaped).affinity, type: type))
      if let place = rows.optionalInteger(row, 4) { key.append((place, name)) }
    }
    let machine =
      form.isTable && columns.contains { $0.name == SQLName("machine_id") } ? "drover_machine_id" : "machine_id"
    let parts = key.sorted { $0.0 < $1.0 }.map(\.1)
    return SinkTable(
      stream: stream, name: table, qualified: qualified, form: form, machine: quoted(machine), columns: columns,
      key: parts,
      shape: TableShape(names: names, key: [SQLName(machine)] + parts), feed: feed, isTwoWay: isTwoWay)
  }

  // MARK: Making

  /// The columns of a stream without a table.
  static let bodyColumns = [
    (Column(name: "local_id", declaredType: "TEXT"), TypeNumber.text),
    (Column(name: "occurred_at", declaredType: "TEXT"), .text),
    // Kept as it was written; body::jsonb is what can be indexed.
    (Column(name: "body", declaredType: "TEXT"), .json),
  ]

  /// Makes the table of a stream, and notes it.
  static func make(
    _ stream: StreamName, form: SinkForm, header: StreamName?, schema: StreamSchema?, in place: String,
    _ connection: Connection
  )
    throws
  {
    let table = Names.relation(stream.text)
    let columns = schema.map(typedColumns) ?? bodyColumns
    let key = schema?.key ?? [0]
    let machine = quoted(schema?.machineColumn ?? "machine_id")
    let definitions = columns.map { definition($0.0, $0.1) }
    let parts = [machine] + key.map { quoted(Names.column(columns[$0].0.name)) }
    try connection.run(
      """
      CREATE TABLE \(place).\(quoted(table)) (
        \(machine) text COLLATE "C" NOT NULL,
        \(definitions.joined(separator: ",\n  ")),
        drover_epoch bigint NOT NULL,
        drover_version bigint NOT NULL,
        PRIMARY KEY (\(parts.joined(separator: ", ")))
      )
      """)
    let name = SQLName(stream.text).text
    try note(stream, table: table, form: form, header: header, connection)
    for (index, column) in columns.enumerated() {
      try note(column.0, of: name, keyPosition: key.firstIndex(of: index), connection)
    }
  }

  private static func typedColumns(_ schema: StreamSchema) -> [(Column, TypeNumber)] {
    let isWide = schema.columns.count > SinkColumn.mostRoomyColumns
    return schema.columns.enumerated().map { index, column in
      (column, SinkColumn.type(of: column, isCompact: isWide && !schema.key.contains(index)))
    }
  }

  static func definition(_ column: Column, _ type: TypeNumber) -> String {
    // Rows of machines and schemas that tell no lives are the first of their keys.
    let isLife = SQLName(column.name) == SQLName(StreamSchema.lifeColumn)
    return "\(quoted(Names.column(column.name))) \(SinkColumn.definition(type))\(isLife ? " NOT NULL DEFAULT ''" : "")"
  }

  /// Gives the key of a table of facts `drover_life`.
  func tellLives(sink: String, _ connection: Connection) throws {
    let life = Column(name: StreamSchema.lifeColumn, declaredType: "TEXT")
    let definition = Self.definition(life, .text)
    let constraint = try connection.query(
      "SELECT conname::text FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'p'",
      [.text(qualified)])
    guard constraint.count == 1 else {
      throw PostgreSQLError(
        operation: "use the sink table \(name) of", subject: connection.subject,
        cause: "its primary key was dropped; add it again", state: "42P16")
    }
    try connection.run(
      """
      ALTER TABLE \(qualified) ADD COLUMN \(definition), DROP CONSTRAINT \(quoted(constraint.text(0, 0)));
      ALTER TABLE \(qualified) ADD PRIMARY KEY (\((wholeKey + [life.name]).joined(separator: ", ")))
      """)
    if let feed { try connection.run("ALTER TABLE \(feed.gone) ADD COLUMN \(definition)") }
    try Self.note(life, of: sink, keyPosition: key.count, connection)
  }

  /// Notes a table as a stream's sink.
  static func note(
    _ stream: StreamName, table: String, form: SinkForm, header: StreamName?, _ connection: Connection
  ) throws {
    try connection.query(
      "INSERT INTO drover_sink (name, stream, table_name, kind, form, header, is_loose) VALUES ($1, $2, $3, $4, $5, $6, $7)",
      [
        .text(SQLName(stream.text).text), .text(stream.text), .text(table), .text(form.kind.rawValue),
        .text(form.isTable ? "table" : "body"),
        .text(header?.text), .boolean(form.isLoose),
      ])
  }

  /// Notes for which of a source's columns one of the table stands.
  static func note(_ column: Column, of sink: String, keyPosition: Int?, _ connection: Connection) throws {
    try connection.query(
      """
      INSERT INTO drover_sink_column AS known (sink, name, source_name, column_name, declared_type, key_position)
      VALUES ($1, $2, $3, $4, $5, $6)
      ON CONFLICT (sink, name) DO UPDATE
         SET column_name = excluded.column_name, key_position = coalesce(known.key_position, excluded.key_position)
      """,
      [
        .text(sink), .text(SQLName(column.name).text), .text(column.name), .text(Names.column(column.name)),
        .text(column.declaredType.escaped), .integer(keyPosition),
      ])
  }

  /// Whether another program has added a column of this name.
  func hasForeign(_ column: Column, _ connection: Connection) throws -> Bool {
    try connection.query(
      "SELECT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname::text = $2 AND NOT attisdropped)",
      [.text(qualified), .text(Names.column(column.name))], isKept: false
    ).boolean(0, 0)
  }

  /// What else stands under a name in the schema; nil where it is free.
  static func taken(_ stream: StreamName, in place: String, _ connection: Connection) throws -> String? {
    let rows = try connection.query(
      """
      SELECT CASE relkind WHEN 'i' THEN 'an index' WHEN 'I' THEN 'an index' WHEN 'S' THEN 'a sequence' WHEN 'v' THEN 'a view'
                          WHEN 'm' THEN 'a view' ELSE 'a table' END
        FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relname = $2::text::name
      UNION ALL
      SELECT 'a type' FROM pg_type WHERE typnamespace = $1::text::regnamespace AND typname = $2::text::name LIMIT 1
      """, [.text(place), .text(Names.relation(stream.text))])
    return rows.count == 0 ? nil : rows.text(0, 0)
  }
}
