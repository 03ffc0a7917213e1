// Alerts as JSON: the same form in the fleet's document, in what a webhook gets, and in the consumer's own memory of them.

package import DroverCore

extension Alert {
  package var document: JSON { .object(members) }

  fileprivate var members: [(String, JSON)] {
    [
      ("id", .string(id)), ("rule", .string(rule.rawValue)), ("machine", subject.machine.map { .string($0) } ?? .null),
      ("part", subject.part.map { .string($0) } ?? .null), ("count", count.map(integer) ?? .null),
      ("since", .string(Timestamp.text(microseconds: since))), ("value", .real(value)), ("text", .string(text)),
      ("advice", .string(advice)),
    ]
  }
}
