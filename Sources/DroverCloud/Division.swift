// Which of the messages that have come one transaction takes where several consumers share a store. What a transaction has taken is locked until
// its commit, so it takes no more than it has to, and first what no other consumer has. All take everything in one order, so that they seldom wait in
// a circle.

import DroverCore

struct Division {
  let now: [InboundMessage]
  let later: [InboundMessage]

  /// So many consumers can be at work at once although each has something of all machines. More parts would be more commits.
  private static let parts = 4
  /// A database has room for some thousands of locks, all consumers' together.
  private static let mostStreams = 200

  init(_ messages: [InboundMessage], _ transaction: any StreamClaims) throws {
    let topics = messages.map { try? Topic(parsing: $0.topic) }
    let streams = topics.map(\.?.events)
    guard !streams.contains(nil) else {
      // A machine's status comes before its events and waits for no other machine.
      now = Self.inOrder(
        messages.indices.filter { streams[$0] == nil }.map { (Self.place(of: topics[$0]), messages[$0]) })
      later = messages.indices.filter { streams[$0] != nil }.map { messages[$0] }
      return
    }
    let all = Set(streams.map { $0! }).shuffled()
    let claimed = try transaction.claim(all, most: min(Self.mostStreams, (all.count + Self.parts - 1) / Self.parts))
    now = Self.inOrder(
      messages.indices.filter { claimed.contains(streams[$0]!) }.map { (Self.place(of: topics[$0]), messages[$0]) })
    later = messages.indices.filter { !claimed.contains(streams[$0]!) }.map { messages[$0] }
  }

  /// Descriptions and events by their stream, whose table is shared by all machines; then what is a machine's alone.
  private static func place(of topic: Topic?) -> String {
    switch topic {
    case .schema(let machine, let stream), .events(let machine, _, let stream):
      "0 \(SQLName(stream.text).text) \(machine)"
    case .status(let machine): "1 \(machine)"
    default: "2"
    }
  }

  /// Messages of one place stay in the order in which they came.
  private static func inOrder(_ messages: [(place: String, message: InboundMessage)]) -> [InboundMessage] {
    messages.enumerated().sorted { ($0.element.place, $0.offset) < ($1.element.place, $1.offset) }.map(
      \.element.message)
  }
}

extension Topic {
  /// Whose events come on it; nil for everything else.
  fileprivate var events: MachineStream? {
    guard case .events(let machine, _, let stream) = self else { return nil }
    return MachineStream(machine: machine, stream: stream)
  }
}
