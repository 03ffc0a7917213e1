// What the operator says of a stream for all machines: `streams:` in the cloud's configuration. A description that differs waits, whoever
// sends it and whatever came first. What a pin does not name follows the rules without pins (SharedTable.swift).

package struct StreamPin: Equatable, Sendable {
  package var name: StreamName
  package var kind: Kind
  /// Whether the stream has no table: its events have a body.
  package var isBody: Bool
  /// Column names in the key's order; empty: not pinned.
  package var key: [String]
  package var completeWhen: Condition?
  /// Holds for the rows of all machines, those that declare none too; nil: not pinned.
  package var naturalKey: NaturalKey?
  /// The tables whose rows travel with the stream's; empty: not pinned.
  package var lines: [StreamName]
  /// The types of these columns. Others may be there or not.
  package var columns: [Column]
  /// nil: all.
  package var machines: Set<MachineID>?
  /// The most columns of its table, all machines together; nil: what holds for every table.
  package var mostColumns: Int?
  /// Whether its rows are protected from edits in SQL while they only go up; nil: as those of all streams.
  package var isProtected: Bool?

  package init(
    name: StreamName, kind: Kind, isBody: Bool = false, key: [String] = [], completeWhen: Condition? = nil,
    naturalKey: NaturalKey? = nil, lines: [StreamName] = [], columns: [Column] = [], machines: Set<MachineID>? = nil,
    mostColumns: Int? = nil, isProtected: Bool? = nil
  ) {
    self.isProtected = isProtected
    self.name = name
    self.kind = kind
    self.isBody = isBody
    self.key = key
    self.completeWhen = completeWhen
    self.naturalKey = naturalKey
    self.lines = lines
    self.columns = columns
    self.machines = machines
    self.mostColumns = mostColumns
  }

  /// The pinned type of a column, or nil.
  package func column(_ name: SQLName) -> Column? { columns.first { SQLName($0.name) == name } }

  /// Why a machine may not use the stream, or nil.
  fileprivate func refusal(of machine: MachineID) -> String? {
    machines?.contains(machine) == false ? "the configuration does not list \(machine) under its machines" : nil
  }

  fileprivate func refusal(ofKind other: Kind) -> String? {
    other == kind ? nil : "it is of kind \(other.rawValue), and the configuration says \(kind.rawValue)"
  }

  fileprivate func refusal(of schema: StreamSchema) -> String? {
    if isBody { return "it has a table, and the configuration says that the stream has none" }
    if let reason = refusal(ofKind: schema.kind) { return reason }
    // A key may get `drover_life`: each machine's rows stay its own.
    let own = schema.sourceKey.map { SQLName(schema.columns[$0].name) }
    if !key.isEmpty, own != key.map(SQLName.init) {
      return
        "its key is \(own.map(\.text).joined(separator: ", ")), and the configuration says \(key.joined(separator: ", "))"
    }
    if let completeWhen {
      let wanted = try? completeWhen.resolved(among: schema.columns)
      if wanted == nil || wanted.map({ ExactText($0.text) }) != schema.completeWhen.map({ ExactText($0.text) }) {
        return
          "it is complete when \(schema.completeWhen?.text ?? "never"), and the configuration says \(completeWhen.text)"
      }
    }
    if let naturalKey, let declared = schema.naturalKey, !naturalKey.isSame(as: declared) {
      return "its rows are matched by \(declared.words), and the configuration says \(naturalKey.words)"
    }
    if let naturalKey, schema.flow.direction.goesDown {
      return
        "its rows come down (`direction: \(schema.flow.direction.rawValue)`), and the configuration matches the rows of all machines by \(naturalKey.words), so an edit has no one machine to go to; leave out one of the two"
    }
    if !lines.isEmpty, Set(lines.map { SQLName($0.text) }) != Set(schema.lines.map { SQLName($0.table.text) }) {
      let own = schema.lines.map(\.table.text).joined(separator: ", ")
      return
        "its lines are \(own.isEmpty ? "none" : own), and the configuration says \(lines.map(\.text).joined(separator: ", "))"
    }
    for column in schema.columns {
      if let pinned = self.column(SQLName(column.name)), !pinned.keeps(column) {
        return
          "its column \(column.name) is \(column.typeName), and the configuration says \(pinned.typeName)"
      }
    }
    return nil
  }
}

/// The pins of all streams. As in SQLite, `Stock` and `stock` are one.
package struct StreamPins: Equatable, Sendable {
  private let pins: [SQLName: StreamPin]
  /// The streams whose lines the tables of these names are.
  private let headers: [SQLName: StreamName]
  private let protectsAll: Bool

  /// - Parameter protectsAll: whether the rows of streams that only go up are protected from edits in SQL, where a pin says nothing of it.
  package init(_ pins: [StreamPin] = [], protectsAll: Bool = false) {
    self.protectsAll = protectsAll
    self.pins = Dictionary(pins.map { (SQLName($0.name.text), $0) }, uniquingKeysWith: { first, _ in first })
    headers = Dictionary(
      pins.flatMap { pin in pin.lines.map { (SQLName($0.text), pin.name) } }, uniquingKeysWith: { first, _ in first })
  }

  package var isEmpty: Bool { pins.isEmpty }

  package subscript(_ stream: StreamName) -> StreamPin? { pins[SQLName(stream.text)] }

  // MARK: Protection

  /// Whether any stream's rows may be protected.
  package var protectsAny: Bool { protectsAll || pins.values.contains { $0.isProtected == true } }

  /// Whether edits in SQL of a stream's table are refused while its rows only go up.
  /// - Parameter header: whose lines the table holds; nil for a stream's own.
  package func protects(_ stream: StreamName, header: StreamName?) -> Bool {
    self[header ?? stream]?.isProtected ?? protectsAll
  }

  /// What such an edit is refused with.
  package static func protection(of stream: String) -> String {
    "drover: stream \(stream) only goes up, so this edit would be lost; edit the row at its machine, or declare `direction: both` there (the consumer's configuration says `protect: true`)"
  }

  /// Why a machine's stream cannot be as it describes it, or nil.
  package func refusal(of schema: StreamSchema, _ stream: StreamName, _ machine: MachineID) -> String? {
    guard !isEmpty else { return nil }
    if let header = headers[SQLName(stream.text)] { return "the configuration says that it is the lines of \(header)" }
    if let pin = self[stream], let reason = pin.refusal(of: machine) ?? pin.refusal(of: schema) { return reason }
    for line in schema.lines {
      let header = headers[SQLName(line.table.text)]
      if self[line.table] != nil || header.map({ SQLName($0.text) != SQLName(stream.text) }) == true {
        return
          "its lines are \(line.table), and the configuration says that this is \(header.map { "the lines of \($0)" } ?? "a stream of its own")"
      }
    }
    return nil
  }

  /// The same of a stream without a table.
  package func refusal(ofBodies kind: Kind, _ stream: StreamName, _ machine: MachineID) -> String? {
    if let header = headers[SQLName(stream.text)] { return "the configuration says that it is the lines of \(header)" }
    guard let pin = self[stream] else { return nil }
    if let reason = pin.refusal(of: machine) { return reason }
    return pin.isBody
      ? pin.refusal(ofKind: kind) : "it has no table, and the configuration says that the stream has one"
  }
}

extension NaturalKey {
  /// The same columns, whatever the case of their names.
  package func isSame(as other: NaturalKey) -> Bool {
    columns.map(SQLName.init) == other.columns.map(SQLName.init)
      && fallback.map(SQLName.init) == other.fallback.map(SQLName.init)
  }
}

extension Column {
  /// As a person reads it.
  package var typeName: String { declaredType.isEmpty ? "without a type" : String(declaredType.prefix(64)) }
}
