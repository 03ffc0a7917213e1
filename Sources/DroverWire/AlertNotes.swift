// What a consumer has to know of the alerts that the one before it sent: which are open, and what its webhook has not taken yet.

package import DroverCore

package struct AlertNotes: Equatable, Sendable {
  package var open: [Alert]
  package var waiting: [AlertChange]

  package init(open: [Alert] = [], waiting: [AlertChange] = []) {
    self.open = open
    self.waiting = waiting
  }

  package var text: String {
    JSON.object([
      ("open", .array(open.map { .object($0.note) })),
      (
        "waiting",
        .array(
          waiting.map { .object($0.alert.note + [("state", .string($0.state.rawValue)), ("at", .integer($0.at))]) })
      ),
    ]).text()
  }

  /// Alerts of rules that this version does not know are left out.
  package init(parsing text: String) throws(WireError) {
    self.init()
    let members = try JSONDocument(parsing: text.utf8).members
    for element in try members.array("open") {
      if let alert = try Alert(note: element.members()) { open.append(alert) }
    }
    for element in try members.array("waiting") {
      let change = try element.members()
      guard let alert = try Alert(note: change), let state = AlertChange.State(rawValue: try change.string("state"))
      else { continue }
      waiting.append(AlertChange(state, alert, at: try change.integer("at", in: Bounds.time)))
    }
  }
}

extension Alert {
  fileprivate var note: [(String, JSON)] {
    [
      ("rule", .string(rule.rawValue)), ("machine", subject.machine.map { .string($0) } ?? .null),
      ("part", subject.part.map { .string($0) } ?? .null), ("count", count.map(integer) ?? .null),
      ("since", .integer(since)), ("value", .integer(value)), ("text", .string(text)),
    ]
  }

  fileprivate init?(note: JSONDocument.Members) throws(WireError) {
    guard let rule = AlertRule(rawValue: try note.string("rule")) else { return nil }
    let subject = AlertSubject(
      machine: note.has("machine") ? try note.string("machine") : nil,
      part: note.has("part") ? try note.string("part") : nil)
    self.init(
      rule: rule, subject: subject, count: note.has("count") ? Int(try note.integer("count", in: Bounds.count)) : nil,
      since: try note.integer("since", in: Bounds.time), value: try note.integer("value", in: .min ... .max),
      text: try note.string("text"))
  }
}
