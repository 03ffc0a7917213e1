// The sink table of one child table: the lines of headers. Lines come and go with their header's events; a line has its header's epoch and
// version, so that one which has moved to another header is not taken back by an older event of the first.

import DroverCore

struct LineMerge {
  let schema: LineSchema
  private let machine: MachineID
  private let writer: SinkWriter
  var table: SinkTable { writer.table }
  private let header: SinkWriter
  private let completeWhen: Condition?
  /// Positions of the reference in the lines' columns.
  private let references: [Int]

  init(_ schema: LineSchema, table: SinkTable, header: SinkWriter, machine: MachineID, completeWhen: Condition?) throws
  {
    self.schema = schema
    self.machine = machine
    self.header = header
    self.completeWhen = completeWhen
    references = schema.references
    writer = try SinkWriter(
      table, names: schema.rows.columns.map { SQLName($0.name) }, key: schema.rows.key)
  }

  /// For each event why its lines cannot be written; nil when tables had to change first.
  func faults(_ lines: [[[Value]]], _ transaction: Transaction) throws -> [String?]? {
    let rows = lines.flatMap { $0 }.map(converted)
    guard
      case .done(let faults) = try Fitting.run(
        rows, writer.columns, key: writer.key, tables: [writer.table], transaction)
    else { return nil }
    var rest = faults[...]
    return lines.map { lines in
      defer { rest = rest.dropFirst(lines.count) }
      return rest.prefix(lines.count).compactMap { $0 }.first
    }
  }

  private func converted(_ row: [Value]) -> [Value] {
    writer.columns.indices.map { writer.columns[$0].affinity.converting(row[$0]) }
  }

  /// Makes the header's lines those of its event, which has taken effect.
  func replace(_ rows: [[Value]], header key: [Value], version: RowVersion, _ transaction: Transaction) throws {
    _ = try writer.upsert(
      rows.map { NewRow(values: converted($0), version: version.version) }, machine: machine, epoch: version.epoch,
      transaction.feed)
    try remove(header: key, olderThan: version, transaction)
  }

  /// Removes the header's lines that are older than its event.
  func remove(header key: [Value], olderThan version: RowVersion, _ transaction: Transaction) throws {
    guard let parameters = parameters(header: key) else { return }
    let (table, feed) = (writer.table, transaction.feed)
    try feed.open(table.feed)
    let first = references.count + 2
    let deletion = """
      DELETE FROM \(table.qualified) AS line WHERE \(isOfHeader)
         AND (line.drover_epoch, line.drover_version) < ($\(first)::bigint, $\(first + 1)::bigint)
      """
    let statement = table.feed?.burying(
      deletion, alias: "line", key: table.wholeKey, version: "$\(first + 1)::bigint", now: "$\(first + 2)::bigint")
    let now: [Parameter] = table.feed == nil ? [] : [.integer(feed.now)]
    let deleted = try feed.connection.query(
      statement ?? deletion, parameters + [.integer(version.epoch), .integer(version.version)] + now
    ).changed
    feed.count(table.feed, deletes: deleted)
  }

  /// Whether the header has these lines. Others that it has were cleared at the edge, which takes none from what is complete.
  func holds(_ rows: [[Value]], header key: [Value], _ transaction: Transaction) throws -> Bool {
    guard let parameters = parameters(header: key) else { return rows.isEmpty }
    let found = try transaction.connection.query(
      """
      SELECT \(writer.columns.map { "line.\($0.identifier)" }.joined(separator: ", "))
        FROM \(writer.table.qualified) AS line WHERE \(isOfHeader)
      """, parameters)
    let stored = (0..<found.count).map { row in writer.columns.indices.map { writer.columns[$0].value(found, row, $0) }
    }
    return Set(stored).isSuperset(of: rows.map(converted))
  }

  /// Whether the event would take a line away from another header, which is complete.
  func frozenElsewhere(
    _ rows: [[Value]], header key: [Value], version: RowVersion, _ transaction: Transaction
  ) throws -> Bool {
    guard let completeWhen else { return false }
    let own = try writer.find(
      rows.map { writer.keyValues(of: converted($0)) }, machine: machine, transaction.connection)
    let others = own.compactMap { line -> [Value]? in
      guard let line, line.version < version else { return nil }
      let other = header.converted(key: references.map { line.values[$0] })
      return SinkWriter.identity(of: other) == SinkWriter.identity(of: key) ? nil : other
    }
    return try header.find(others, machine: machine, transaction.connection).contains {
      $0.map { header.holds(completeWhen, of: $0) } ?? false
    }
  }

  // MARK: Of one header

  private var isOfHeader: String {
    (["line.\(writer.table.machine) = $1"]
      + references.enumerated().map {
        "line.\(writer.columns[$1].identifier) = $\($0 + 2)::\(writer.columns[$1].type.name)"
      }).joined(
        separator: " AND ")
  }

  /// Nil where no line can be of this header, because its column could not hold the key.
  private func parameters(header key: [Value]) -> [Parameter]? {
    var parameters: [Parameter] = [.text(machine.text)]
    for (reference, value) in zip(references, key) {
      let column = writer.columns[reference]
      let value = column.affinity.converting(value)
      guard column.fit(value) == .fits else { return nil }
      var fields = FieldList(column.type)
      column.append(value, to: &fields)
      parameters.append(fields.only)
    }
    return parameters
  }
}
