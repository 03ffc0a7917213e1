// What a sink table is, what may become of it when a machine describes its stream, and why not: the same in every store.

/// What a machine may make in the cloud's store.
package struct CloudStoreLimits: Sendable {
  package var streamsPerMachine: Int
  package var columnsPerTable: Int
  /// How many columns one machine may add to a table that other machines use too.
  package var columnsPerMachine: Int
  /// What the operator says of streams.
  package var pins: StreamPins
  /// A dead letter's raw bytes are cut beyond this, unless it is an event of a frame.
  package var deadLetterBytes: Int
  /// What all dead letters may take; one machine's take half of it at most.
  package var deadLetters: DeadLetterBounds
  /// What one machine may leave in the store.
  package var machine: MachineLimits
  /// How many conflicts wait for a person; beyond it the streams wait that have another one.
  package var conflicts: ConflictBounds

  package init(
    streamsPerMachine: Int = 200, columnsPerTable: Int = 1000, columnsPerMachine: Int = 100,
    deadLetterBytes: Int = 1 << 20, deadLetters: DeadLetterBounds = DeadLetterBounds(),
    machine: MachineLimits = MachineLimits(), pins: StreamPins = StreamPins(),
    conflicts: ConflictBounds = ConflictBounds()
  ) {
    self.conflicts = conflicts
    self.columnsPerMachine = columnsPerMachine
    self.pins = pins
    self.machine = machine
    self.deadLetters = deadLetters
    self.streamsPerMachine = streamsPerMachine
    self.columnsPerTable = columnsPerTable
    self.deadLetterBytes = deadLetterBytes
  }

  /// Why a machine with so many streams gets no further one, or nil.
  package func refusal(ofStreams known: Int) -> String? {
    known < streamsPerMachine
      ? nil : "the machine has \(known) streams, and limits.streams_per_machine is \(streamsPerMachine)"
  }

  /// Why a stream with so many descriptions gets no further one, or nil.
  package func refusal(ofSchemas kept: Int) -> String? {
    kept < machine.schemasPerStream
      ? nil
      : "\(kept) schemas of the stream are kept, and limits.schemas_per_stream is \(machine.schemasPerStream)"
  }

  /// Why a stream with so many tables of lines cannot be, or nil.
  package func refusal(ofLines count: Int) -> String? {
    count < streamsPerMachine
      ? nil : "it has \(count) tables of lines, and limits.streams_per_machine is \(streamsPerMachine)"
  }
}

/// What a sink table holds.
package struct SinkForm: Equatable, Sendable {
  package var kind: Kind
  package var isTable: Bool
  /// The stream whose lines the table holds; nil for a stream's own table.
  package var header: SQLName?
  /// Whether bare events alone have made it: then it gives way to the first description.
  package var isLoose: Bool

  package init(kind: Kind, isTable: Bool, header: SQLName?, isLoose: Bool = false) {
    self.kind = kind
    self.isTable = isTable
    self.header = header
    self.isLoose = isLoose
  }

  private var words: String {
    if let header { return "for the lines of \(header)" }
    return "of kind \(kind.rawValue) \(isTable ? "with the columns of a table" : "with a body")"
  }

  /// Why the table cannot hold what is wanted, or nil.
  package func refusal(of wanted: SinkForm, _ stream: StreamName) -> String? {
    (kind, isTable, header) == (wanted.kind, wanted.isTable, wanted.header)
      ? nil : "the sink table \(stream) is \(words), and this is \(wanted.words)"
  }
}

/// The columns of a sink table that is there.
package struct TableShape {
  /// In a table of facts or batches whose schema has changed: the schema that a row was written under.
  package static let schemaColumn = "drover_schema"
  /// While the store keeps a change feed: the number of a row's last change.
  package static let changeColumn = "drover_change"

  /// How much a table takes, in this database and under the operator's limit.
  package struct Bounds: Sendable {
    package var columns: Int
    package var keyColumns: Int

    package init(columns: Int, keyColumns: Int) {
      self.columns = columns
      self.keyColumns = keyColumns
    }

    /// Why no table can be made of a schema, or nil.
    package func refusal(of schema: StreamSchema) -> String? {
      if schema.columns.count > columns {
        return "it has \(schema.columns.count) columns, and limits.columns_per_table is \(columns)"
      }
      if schema.key.count > keyColumns {
        return "its key has \(schema.key.count) columns, and a sink table's has at most \(keyColumns)"
      }
      return nil
    }
  }

  /// In the table's order, Drover's own included.
  package let names: [SQLName]
  /// The machine's column and the local key.
  package let key: [SQLName]

  package init(names: [SQLName], key: [SQLName]) {
    self.names = names
    self.key = key
  }

  package var isMarked: Bool { names.contains(SQLName(Self.schemaColumn)) }

  /// Whether the last part of its key tells facts apart that bear one key of the source's.
  package var tellsLives: Bool { key.last == SQLName(StreamSchema.lifeColumn) }

  /// Whether its key has to get `drover_life` before it can hold rows of a schema.
  package func needsLives(for schema: StreamSchema) -> Bool { schema.tellsLives && !tellsLives }

  /// What it lacks of a schema's columns, but for `drover_life`.
  package func lacking(_ schema: StreamSchema) -> [Column] {
    let present = Set(names + [SQLName(StreamSchema.lifeColumn)])
    return schema.columns.filter { !present.contains(SQLName($0.name)) }
  }

  /// Why it cannot follow a schema, or nil.
  package func refusal(of schema: StreamSchema, _ stream: StreamName, _ bounds: Bounds) -> String? {
    guard key.first == SQLName(schema.machineColumn) else {
      return "it has a column machine_id, and the sink table \(stream) was made for tables without one"
    }
    // A key that differs by `drover_life` alone is followed: rows of a schema without it are the first of their keys.
    let life = SQLName(StreamSchema.lifeColumn)
    let wanted = schema.key.map { SQLName(schema.columns[$0].name) }.filter { $0 != life }
    guard key.dropFirst().filter({ $0 != life }).elementsEqual(wanted), schema.kind == .payload || !tellsLives else {
      return
        "its key is \(schema.key.map { schema.columns[$0].name }.joined(separator: ", ")), and the sink table's is \(key.dropFirst().map(\.text).joined(separator: ", "))"
    }
    let count = sourceColumns + lacking(schema).count
    guard count <= bounds.columns else {
      return "the sink table would have \(count) columns, and limits.columns_per_table is \(bounds.columns)"
    }
    return nil
  }

  /// Besides the source's columns there are the machine, the epoch and the version.
  private var sourceColumns: Int {
    names.count - 3
      - [Self.schemaColumn, Self.changeColumn, StreamSchema.lifeColumn].count { names.contains(SQLName($0)) }
  }

  /// Whether its rows have to say from now on under which schema each was written.
  /// - Parameter hasOther: whether the stream was described otherwise before.
  package func needsMark(for schema: StreamSchema, kind: Kind, isLines: Bool, hasOther: () throws -> Bool) rethrows
    -> Bool
  {
    guard kind != .snapshot, !isLines, !isMarked else { return false }
    let own = schema.columns.count - (schema.tellsLives ? 1 : 0)
    return try !lacking(schema).isEmpty || own < sourceColumns || hasOther()
  }
}
