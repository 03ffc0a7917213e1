// `streams` of the cloud's file: what the operator says of streams for all machines. `drover schema pin` writes it from what is there.

internal import DroverCore

extension StreamPin {
  /// Reads `streams`. Nil after a problem, empty without the key.
  static func list(reading file: Section) -> [StreamPin]? {
    let sections = file.sections("streams", example: "[{name: orders, kind: batch, key: [id]}]", isRequired: false)
    let pins = sections.map { StreamPin(reading: $0) }
    var owners: [SQLName: String] = [:]
    for case (let keys, let pin?) in zip(sections, pins) {
      for (name, key) in [(pin.name, "name")] + pin.lines.map({ ($0, "with") }) {
        if let owner = owners[SQLName(name.text)] {
          keys.report("\(owner) has the table \(quoted(name.text)) already, as SQLite compares names", at: key)
        } else {
          owners[SQLName(name.text)] = keys.path
        }
      }
    }
    let complete = pins.compactMap(\.self)
    return complete.count < pins.count || sections.isEmpty && file.isGiven("streams") ? nil : complete
  }

  private init?(reading stream: Section) {
    let column = Form<String>.text("a column's name", maximumBytes: 128)
    let name = stream.required("name", .streamName, example: "orders")
    let kind = stream.required("kind", Form<Kind>.oneOf, example: "snapshot")
    let isBody = stream.optional("body", .yesOrNo, default: false)
    let key = stream.list("key", column)
    let completeWhen = stream.optional("complete_when", .condition)
    let naturalKey = NaturalKey(reading: stream, kind: kind, hasTable: true)
    let with = stream.list("with", .table)
    let columns = stream.texts("columns", .text("a column's name or type", maximumBytes: 128))
    let machines = Self.machines(reading: stream)
    let isProtected = stream.optional("protect", .yesOrNo)
    let most = stream.section("limits").optional("columns", .integer(1...1900))

    if isBody {
      for given in ["key", "complete_when", "identity", "else", "with", "columns"] where stream.isGiven(given) {
        stream.report("a stream whose events have a body has no table, and so none of this", at: given)
      }
    }
    for given in ["complete_when", "with"] where stream.isGiven(given) && kind != nil && kind != .batch {
      stream.report("only a stream of kind batch has this", at: given)
    }
    var lines: [StreamName] = []
    for table in with {
      do throws(InvalidName) { lines.append(try StreamName(table)) } catch { stream.report(error.message, at: "with") }
    }
    guard let name, let kind, let columns, lines.count == with.count else { return nil }
    self.init(
      name: name, kind: kind, isBody: isBody, key: key, completeWhen: completeWhen, naturalKey: naturalKey,
      lines: lines, columns: columns.map { Column(name: $0.key, declaredType: $0.value) }, machines: machines,
      mostColumns: most, isProtected: isProtected)
  }

  /// The word `all`, as without the key, or a list.
  private static func machines(reading stream: Section) -> Set<MachineID>? {
    guard stream.isList("machines") else {
      _ = stream.optional("machines", Form<String>("a list of machines, or all") { $0 == "all" ? $0 : nil })
      return nil
    }
    return Set(stream.list("machines", .machineName).compactMap { try? MachineID($0) })
  }
}

extension Form where Value == String {
  fileprivate static var machineName: Form {
    Form("a machine's name") { (try? MachineID($0))?.text }
  }
}
