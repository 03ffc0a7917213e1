// What has come from the cloud and waits for the agent's turn. Receiving only puts messages here: it neither decides nor touches the database, so
// a database that is locked for an hour does not block the connection. What has no room is refused as a whole batch: the connection ends without
// an acknowledgement of it, and the broker delivers it again.

package struct InboundQueue: Sendable {
  package enum Verdict: Equatable, Sendable {
    /// All of the batch waits for the turn.
    case queued
    /// None of the batch was taken. The broker has to deliver it again.
    case full
  }

  private let mostMessages: Int
  private let mostBytes: Int
  private var waiting: [InboundMessage] = []
  private var bytes = 0

  package init(messages: Int, bytes: Int) {
    mostMessages = messages
    mostBytes = bytes
  }

  package var count: Int { waiting.count }

  /// Takes all of a batch or none of it. An empty queue takes any batch, since the connection bounds what it reads at once.
  package mutating func append(_ messages: [InboundMessage]) -> Verdict {
    let size = messages.reduce(0) { $0 + $1.topic.utf8.count + $1.payload.count }
    guard waiting.isEmpty || waiting.count + messages.count <= mostMessages && bytes + size <= mostBytes else {
      return .full
    }
    waiting += messages
    bytes += size
    return .queued
  }

  /// Everything, in the order of arrival.
  package mutating func take() -> [InboundMessage] {
    guard !waiting.isEmpty else { return [] }
    defer { (waiting, bytes) = ([], 0) }
    return waiting
  }
}

/// Why a batch was refused, for the log of the connection.
package struct InboundQueueFull: Error, CustomStringConvertible {
  package let waiting: Int

  package init(waiting: Int) { self.waiting = waiting }

  package var description: String {
    "messages from the cloud wait for the agent's turn (\(waiting)), and there is no room for more; the broker delivers these again"
  }
}
