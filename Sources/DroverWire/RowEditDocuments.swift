// A row as people see and edit it over HTTP. Values are written as frames write them (docs/protocol.md, "Values").

package import DroverCore
private import Foundation

extension JSON {
  /// A value of a row.
  package init(_ value: Value) {
    func tagged(_ tag: String, _ bytes: ArraySlice<UInt8>) -> JSON {
      .object([(tag, .string(Data(bytes).base64EncodedString()))])
    }
    switch value {
    case .null: self = .null
    case .integer(let integer): self = .integer(integer)
    case .real(let real) where real.isFinite: self = .real(real)
    case .real(let real): self = .object([("$real", .string(real < 0 ? "-inf" : "inf"))])
    case .text(let bytes):
      self = String(validating: bytes, as: UTF8.self).map { .string($0) } ?? tagged("$text", bytes)
    case .blob(let bytes): self = tagged("$blob", bytes)
    }
  }
}

extension RowTable {
  package var document: [(String, JSON)] {
    [
      ("stream", .string(origin.stream.text)), ("machine", .string(origin.machine.text)),
      ("direction", .string(schema.flow.direction.rawValue)), ("editable", .bool(closed == nil)),
      ("why_not", closed.map { .string($0) } ?? .null),
      ("key", .array(schema.key.map { .string(schema.columns[$0].name) })),
      (
        "columns",
        .array(
          schema.columns.enumerated().map { index, column in
            .object([
              ("name", .string(column.name)), ("type", .string(column.declaredType)),
              ("key", .bool(schema.key.contains(index))),
            ])
          })
      ),
    ]
  }
}

extension ViewedRow {
  package func document(_ table: RowTable) -> JSON {
    .object([
      ("stream", .string(table.origin.stream.text)), ("machine", .string(table.origin.machine.text)),
      ("id", .string(localID)), ("version", .integer(version)),
      ("tag", values.map { .string(RowTag($0).text) } ?? .null),
      ("edited_by", standing.isCloudContent ? "cloud" : "machine"), ("state", .string(standing.state.rawValue)),
      ("sentence", .string(standing.sentence)), ("machines", .integer(Int64(standing.machines))),
      (
        "confirmed_by",
        .integer(Int64([.confirmed, .waiting, .refused].contains(standing.state) ? standing.confirmations : 0))
      ),
      ("conflicts", .array(standing.conflicts.map { .integer($0) })),
      ("refused_by", .array(standing.refusals.map(\.json))),
      ("history", .array(history)),
      (
        "body",
        values.map { values in .object(zip(table.schema.columns, values).map { ($0.name, JSON($1)) }) } ?? .null
      ),
    ])
  }
}

extension ViewedRow {
  /// What is known of the row's way, the oldest first. The times are those of versions, by the clock of the side that edited.
  private var history: [JSON] {
    func step(_ what: String, _ at: Int64? = nil, _ text: String) -> JSON {
      .object([
        ("step", .string(what)), ("at", at.map { .string(Timestamp.text(microseconds: $0)) } ?? .null),
        ("text", .string(text)),
      ])
    }
    var steps: [JSON] = []
    let mark = standing.mark
    let edge = mark.map { $0.edge?.version } ?? (version > 0 ? version : nil)
    let machine = edge.map { step("machine_edit", $0, "Edited at the machine") }
    let isMachineLast = standing.hasMachineEditSince
    if !isMachineLast, let machine { steps.append(machine) }
    if let mark, mark.cloud > 0 {
      steps.append(
        mark.isCloudContent
          ? step("cloud_edit", mark.cloud, "Edited in the cloud")
          : step("decision", mark.cloud, "Decided in the cloud: the machine's edit won"))
    }
    if isMachineLast, let machine { steps.append(machine) }
    switch standing.state {
    case .edited: steps.append(step("edited", nil, "Edited in the cloud a moment ago"))
    case .waiting: steps.append(step("waiting", nil, "On its way to the machine, which has not confirmed it"))
    case .confirmed where standing.hasMachineEditSince:
      steps.append(step("skipped", nil, "The machine kept its own newer edit"))
    case .confirmed: steps.append(step("confirmed", nil, "Confirmed by the machine"))
    case .refused: steps += standing.refusals.prefix(5).map { step("refused", $0.row.last, $0.sentence) }
    case .up, .machine: break
    }
    return steps
      + standing.conflicts.map { step("conflict", nil, "Conflict \($0): the value that lost waits for a person") }
  }
}

extension Timestamp {
  fileprivate static func text(microseconds: Int64) -> String {
    var bytes: [UInt8] = []
    write(microseconds: microseconds, into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension KeptRefusal {
  fileprivate var sentence: String { "Refused by \(machine) (\(row.reason)): \(row.cause)" }
}

extension RowStanding {
  /// Where the row stands, for people.
  package var sentence: String {
    switch state {
    case .up: "The row comes from the machine, and its stream only goes up."
    case .machine: "The row is as the machine has sent it."
    case .edited: "It was edited in the cloud a moment ago, and the consumer sends it next."
    case .waiting where !isCloudContent:
      "The machine's own edit is the newest. The row goes down again, so that the machine hears of the decision."
    case .waiting:
      machines == 1
        ? "The edit goes down, and the machine has not confirmed it yet."
        : "The edit goes down; \(confirmations) of \(machines) machines have confirmed it."
    case .refused where machines == 1:
      "The machine's own table refuses the row, so it is a dead letter there: \(refusals[0].row.cause). An edit of the row that the table takes clears it."
    case .refused:
      "\(refusals.count) of \(machines) machines refuse the row, so it is a dead letter there; the first: \(refusals[0].machine), \(refusals[0].row.cause)."
    case .confirmed where hasMachineEditSince: "The machine has edited the row since, and its edit is the newest."
    case .confirmed where !isCloudContent: "The machine has confirmed the row; its own edit is the newest."
    case .confirmed: machines == 1 ? "The machine has confirmed the edit." : "All machines have confirmed the edit."
    }
  }
}

package enum RowBody {
  /// The columns that a request names: a JSON object with a value for each.
  package static func fields(_ body: [UInt8]) throws(WireError) -> [RowField] {
    try EmittedBody.check(body[...])
    var scanner = JSONScanner(body[...])
    var fields: [RowField] = []
    try scanner.readObject { (name, scanner) throws(WireError) in
      fields.append(RowField(name: String(decoding: name, as: UTF8.self), value: try scanner.readValue()))
    }
    try scanner.expectEnd()
    return fields
  }
}
