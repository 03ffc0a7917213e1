// The topic grammar of version 1: what may be said where. docs/protocol.md holds the table.

/// A topic below `drover/v1/`.
package enum Topic: Hashable, Sendable {
  /// Frames and bare events, edge to cloud.
  case events(MachineID, Kind, StreamName)
  /// The retained description of a stream's table, edge to cloud.
  case schema(MachineID, StreamName)
  /// The retained birth message and last will, edge to cloud.
  case status(MachineID)
  /// The retained confirmation, cloud to edge.
  case confirm(MachineID)
  /// Frames of rows that travel down, cloud to edge.
  case down(MachineID, Kind, StreamName)
  /// The retained confirmation of what came down, edge to cloud.
  case downConfirm(MachineID)
  /// A request, cloud to edge.
  case command(MachineID, name: String)
  /// Its answer, edge to cloud.
  case reply(MachineID, id: String)
  /// A question, edge to cloud. Its answer is the command `answer-<id>`.
  case ask(MachineID, id: String)

  package static let prefix = "drover/v1/"
  /// Everything that Drover says and hears.
  package static let everything = "drover/v1/#"

  /// What machines say of themselves; retained, which no shared subscription delivers [MQTT-4.8.2].
  package static let documentFilters = [
    "\(prefix)+/schema/#", "\(prefix)+/status", "\(prefix)+/down-confirm",
  ]

  /// Events and questions; each member of a group gets some of them.
  /// - Parameter machine: whose; of all machines, if it is not said.
  package static func sharedFilters(of group: String, machine: String = "+") -> [String] {
    [Kind.snapshot, .payload, .batch].map { "$share/\(group)/\(prefix)\(machine)/\($0.rawValue)/#" }
      + ["$share/\(group)/\(prefix)\(machine)/ask/+"]
  }

  /// The answers of all machines.
  package static let replyFilter = "\(prefix)+/reply/+"

  package static func confirmFilter(for machine: MachineID) -> String { "\(prefix)\(machine)/confirm" }
  package static func downFilter(for machine: MachineID) -> String { "\(prefix)\(machine)/down/#" }
  package static func commandFilter(for machine: MachineID) -> String { "\(prefix)\(machine)/command/+" }

  package var machine: MachineID {
    switch self {
    case .events(let machine, _, _), .schema(let machine, _), .status(let machine), .confirm(let machine),
      .down(let machine, _, _), .downConfirm(let machine), .command(let machine, _), .reply(let machine, _),
      .ask(let machine, _):
      machine
    }
  }

  package var text: String {
    switch self {
    case .events(let machine, let kind, let stream): "\(Self.prefix)\(machine)/\(kind.rawValue)/\(stream)"
    case .schema(let machine, let stream): "\(Self.prefix)\(machine)/schema/\(stream)"
    case .status(let machine): "\(Self.prefix)\(machine)/status"
    case .confirm(let machine): "\(Self.prefix)\(machine)/confirm"
    case .down(let machine, let kind, let stream): "\(Self.prefix)\(machine)/down/\(kind.rawValue)/\(stream)"
    case .downConfirm(let machine): "\(Self.prefix)\(machine)/down-confirm"
    case .command(let machine, let name): "\(Self.prefix)\(machine)/command/\(name)"
    case .reply(let machine, let id): "\(Self.prefix)\(machine)/reply/\(id)"
    case .ask(let machine, let id): "\(Self.prefix)\(machine)/ask/\(id)"
    }
  }

  /// Whose a topic is that breaks the grammar behind the machine; nil where it breaks it before.
  package static func machine(ofStray text: String) -> MachineID? {
    guard text.utf8.starts(with: prefix.utf8) else { return nil }
    let name = text.utf8.dropFirst(prefix.utf8.count).prefix { $0 != UInt8(ascii: "/") }
    return try? MachineID(String(decoding: name, as: UTF8.self))
  }

  /// Reads a topic. Throws with the level that breaks the grammar and what is allowed there.
  package init(parsing text: String) throws(InvalidName) {
    // By bytes: to Swift a '/' with a combining mark behind it is another Character.
    guard text.utf8.starts(with: Self.prefix.utf8) else {
      throw InvalidName(message: "the topic does not begin with \(Self.prefix)")
    }
    let levels = text.utf8.dropFirst(Self.prefix.utf8.count)
      .split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Substring.init)
    let machine = try MachineID(String(levels[0]))
    switch (levels.count, levels.count > 1 ? levels[1] : "") {
    case (2, "status"): self = .status(machine)
    case (2, "confirm"): self = .confirm(machine)
    case (2, "down-confirm"): self = .downConfirm(machine)
    case (4, "down"):
      guard let kind = Kind(rawValue: String(levels[2])) else { throw Self.unknown }
      self = .down(machine, kind, try StreamName(String(levels[3])))
    case (3, "schema"): self = .schema(machine, try StreamName(String(levels[2])))
    case (3, "command"): self = .command(machine, name: String(levels[2]))
    case (3, "reply"): self = .reply(machine, id: String(levels[2]))
    case (3, "ask"): self = .ask(machine, id: String(levels[2]))
    case (3, let level):
      guard let kind = Kind(rawValue: String(level)) else { throw Self.unknown }
      self = .events(machine, kind, try StreamName(String(levels[2])))
    default: throw Self.unknown
    }
  }

  private static let unknown = InvalidName(
    message:
      "no such topic; expected \(prefix)MACHINE/ and snapshot/STREAM, payload/STREAM, batch/STREAM, schema/STREAM or status"
  )
}
