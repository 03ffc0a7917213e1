// Alerts as JSON: the same form in the fleet's document and in what a webhook gets.

package import DroverCore

extension Alert {
  package var document: JSON { .object(members) }

  fileprivate var members: [(String, JSON)] {
    [
      ("id", .string(id)), ("rule", .string(rule.rawValue)), ("machine", subject.machine.map { .string($0) } ?? .null),
      ("part", subject.part.map { .string($0) } ?? .null), ("count", count.map(integer) ?? .null),
      ("since", .string(Timestamp.text(microseconds: since))), ("value", .integer(value)), ("text", .string(text)),
      ("advice", .string(advice)),
    ]
  }
}

extension AlertChange {
  /// What one post carries.
  /// - Parameter consumer: who posts it.
  package static func document(_ changes: [AlertChange], consumer: String) -> JSON {
    .object([
      ("v", 1), ("consumer", .string(consumer)),
      (
        "alerts",
        .array(
          changes.map { change in
            let head: [(String, JSON)] = [
              ("state", .string(change.state.rawValue)), ("at", .string(Timestamp.text(microseconds: change.at))),
            ]
            return .object(head + change.alert.members)
          })
      ),
    ])
  }
}
