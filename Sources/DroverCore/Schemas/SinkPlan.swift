// What a description does to a sink table: nothing, changes in a fixed order, another table in its place, or it has to wait. The planner decides
// from values; `SchemaDialect` has each store gather them and execute the plan.

/// What a sink table is wanted for.
package struct SinkWish: Sendable {
  package var stream: StreamName
  package var kind: Kind
  /// nil: a stream without a table.
  package var schema: StreamSchema?
  package var machine: MachineID
  /// Whether the operator has said that tables of other machines shall follow.
  package var isAccepted: Bool
  /// Whether a bare event wants it.
  package var isBare: Bool
  /// The stream whose lines the table holds; nil for a stream's own table.
  package var header: StreamName?

  package init(
    _ stream: StreamName, _ kind: Kind, _ schema: StreamSchema?, _ machine: MachineID, isAccepted: Bool = false,
    isBare: Bool = false, header: StreamName? = nil
  ) {
    self.stream = stream
    self.kind = kind
    self.schema = schema
    self.machine = machine
    self.isAccepted = isAccepted
    self.isBare = isBare
    self.header = header
  }

  /// The same for a table of lines that travel with the stream's rows.
  package func lines(_ line: LineSchema) -> SinkWish {
    SinkWish(line.table, kind, line.rows, machine, isAccepted: isAccepted, header: stream)
  }

  /// What the table holds.
  package func form(_ pins: StreamPins) -> SinkForm {
    SinkForm(
      kind: kind, isTable: schema != nil, header: header.map { SQLName($0.text) },
      isLoose: isBare && schema == nil && pins[stream] == nil)
  }
}

/// A sink table that is there.
package struct PresentSink: Sendable {
  package var form: SinkForm
  package var shape: TableShape
  /// Its columns, each with a type of the affinity that it keeps.
  package var columns: [Column]

  package init(form: SinkForm, shape: TableShape, columns: [Column]) {
    self.form = form
    self.shape = shape
    self.columns = columns
  }
}

extension Column {
  /// The columns of a table that would change a value of the schema's, each with what the schema has.
  package static func retyped(_ columns: [Column], by schema: StreamSchema) -> [(present: Column, new: Column)] {
    let present = Dictionary(columns.map { (SQLName($0.name), $0) }, uniquingKeysWith: { first, _ in first })
    return schema.columns.filter { SQLName($0.name) != SQLName(StreamSchema.lifeColumn) }.compactMap { column in
      present[SQLName(column.name)].flatMap { $0.keeps(column) ? nil : ($0, column) }
    }
  }
}

/// A change of a sink table, in the order in which they are made.
package enum TableChange: Equatable, Sendable {
  /// Its rows say from now on under which schema each was written (`TableShape.schemaColumn`).
  case markRows
  /// Its key gets `drover_life`.
  case tellLives
  /// A column gets a type that keeps every value.
  case widen(Column)
  case add(Column)
}

package enum SinkPlan: Equatable, Sendable {
  /// There is no table of Drover's.
  case make
  /// The table was made by bare events alone. It goes aside with its rows, and another is made.
  case replace
  /// What the table lacks; empty where it fits.
  case change([TableChange])
  case wait(Obstacle)
}

package struct SinkPlanner: Sendable {
  package var limits: CloudStoreLimits
  /// The most that a table takes in this database.
  package var capacity: TableShape.Bounds

  package init(limits: CloudStoreLimits, capacity: TableShape.Bounds) {
    self.limits = limits
    self.capacity = capacity
  }

  /// - Parameters:
  ///   - present: the table of this name; nil where none of Drover's is there.
  ///   - shared: what single machines have brought to the table.
  ///   - isUsedByOthers: whether another machine has described it. Asked only where the answer counts, as is the next.
  ///   - hasOtherSchema: whether the machine has described the stream otherwise too.
  package func plan(
    _ wish: SinkWish, for present: PresentSink?, shared: () throws -> SharedTable,
    isUsedByOthers: () throws -> Bool, hasOtherSchema: () throws -> Bool
  ) rethrows -> SinkPlan {
    if let reason = wish.schema.flatMap(bounds(of: wish.stream).refusal) { return .wait(Obstacle(reason, .none)) }
    guard let present else { return .make }
    let form = wish.form(limits.pins)
    if present.form.isLoose, form.isTable { return .replace }
    if let reason = present.form.refusal(of: form, wish.stream) {
      return .wait(Obstacle(reason, .table(wish.stream)))
    }
    guard let schema = wish.schema else { return .change([]) }
    let shared = try shared()
    let bounds = bounds(of: wish.stream, uncounted: shared.uncounted(limits.columnsPerMachine))
    if let reason = present.shape.refusal(of: schema, wish.stream, bounds) {
      return .wait(Obstacle(reason, .table(wish.stream)))
    }
    let (lacking, retyped) = (present.shape.lacking(schema), Column.retyped(present.columns, by: schema))
    if !wish.isAccepted, !lacking.isEmpty || !retyped.isEmpty, try isUsedByOthers(),
      let reason = shared.refusal(
        lacking: lacking, retyped: retyped, wish.stream, limits.pins[wish.stream], budget: limits.columnsPerMachine)
    {
      return .wait(Obstacle(reason, .word))
    }
    let isMarked = try present.shape.needsMark(
      for: schema, kind: wish.kind, isLines: wish.header != nil, hasOther: hasOtherSchema)
    return .change(
      (isMarked ? [.markRows] : []) + (present.shape.needsLives(for: schema) ? [.tellLives] : [])
        + retyped.map { .widen($0.present) } + lacking.map { .add($0) })
  }

  private func bounds(of stream: StreamName, uncounted: Int = 0) -> TableShape.Bounds {
    let most = limits.pins[stream]?.mostColumns ?? limits.columnsPerTable
    return .init(columns: min(most + uncounted, capacity.columns), keyColumns: capacity.keyColumns)
  }
}
