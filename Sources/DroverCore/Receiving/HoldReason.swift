// Why the cloud asks an agent to wait with a stream. It travels as a short code, so that the agent's log says it in the agent's own words, and
// nothing from outside is printed.

package enum HoldReason: Equatable, Sendable {
  /// The cloud cannot adapt to the table's new schema.
  case schema
  /// The stream had a table, or has one on other machines, and comes without one.
  case bodies
  /// The table in the cloud cannot be written.
  case table
  /// The machine has sent more than it may; the budget's name. Another version of Drover may know others.
  case budget(String)

  private static let budgetPrefix = "budget "

  package var code: String {
    switch self {
    case .schema: "schema"
    case .bodies: "bodies"
    case .table: "table"
    case .budget(let name): Self.budgetPrefix + name
    }
  }

  /// - Returns: nil for a code of another version.
  package init?(code: some StringProtocol) {
    switch code {
    case "schema": self = .schema
    case "bodies": self = .bodies
    case "table": self = .table
    default:
      let name = code.utf8.dropFirst(Self.budgetPrefix.utf8.count)
      let isName = name.allSatisfy { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || $0 == UInt8(ascii: "_") }
      guard code.hasPrefix(Self.budgetPrefix), (1...64).contains(name.count), isName else { return nil }
      self = .budget(String(decoding: name, as: UTF8.self))
    }
  }

  /// The reason and what to do, as a clause.
  package var text: String {
    switch self {
    case .schema:
      "the cloud cannot adapt to its table's new schema; see `drover schema list` in the cloud, or restore the table"
    case .bodies:
      "the cloud has a table of another form under its name; see `drover schema list` in the cloud, or give the stream another name"
    case .table: "its table in the cloud cannot be written now; `drover status` in the cloud says why"
    case .budget(let name):
      "this machine sends more than limits.\(name) in the cloud's configuration allows; it goes on by itself, or raise the limit"
    }
  }
}

/// Streams that an agent is to wait with: the command `hold`. A stream's name stands in a line, and its reason, with a tab before it, in the next. No
/// stream has such a name, so an agent that knows no reasons passes over it.
package enum HoldOrder {
  package static func encode(_ holds: [(stream: StreamName, reason: HoldReason)]) -> [UInt8] {
    Array(holds.map { "\($0.stream.text)\n\t\($0.reason.code)" }.joined(separator: "\n").utf8)
  }

  /// - Returns: names by their bytes, each with its reason where it has one that this version knows.
  package static func decode(_ bytes: [UInt8]) -> [(name: ArraySlice<UInt8>, reason: HoldReason?)] {
    var holds: [(name: ArraySlice<UInt8>, reason: HoldReason?)] = []
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      if line.first != UInt8(ascii: "\t") {
        holds.append((line, nil))
      } else if let last = holds.indices.last {
        holds[last].reason = HoldReason(code: String(decoding: line.dropFirst(), as: UTF8.self))
      }
    }
    return holds
  }
}
