// MQTT 3.1.1 has no word for "too large": a broker throws such a message away and acknowledges it, or it throws the client out, which comes back
// with the same message. Here is what tells of it all the same: the frame's size, and what becomes of smaller ones.

package struct SizeSuspicion: Sendable {
  /// A frame that the broker seems to find too large.
  package struct Suspect: Equatable, Sendable {
    package var stream: Int
    package var events: Int
    package var bytes: Int

    package init(stream: Int, events: Int, bytes: Int) {
      self.stream = stream
      self.events = events
      self.bytes = bytes
    }
  }

  private var isMute = false
  /// In the order of publication.
  private var inFlight: [(token: PublishToken, suspect: Suspect)] = []
  /// The largest frame that the broker has acknowledged.
  private var largestAcknowledged = 0
  /// How often a connection ended with a frame on its way that was larger than that.
  private var endings = 0
  /// How often frames of a stream that were larger than every confirmed one were lost.
  private var losses: [Int: Int] = [:]

  package init() {}

  /// - Parameter level: of the protocol; 4 is MQTT 3.1.1.
  package mutating func opened(level: Int) {
    isMute = level < 5
    inFlight = []
  }

  package mutating func published(_ token: PublishToken, _ suspect: Suspect) {
    if isMute { inFlight.append((token, suspect)) }
  }

  package mutating func acknowledged(_ token: PublishToken) {
    guard let index = inFlight.firstIndex(where: { $0.token == token }) else { return }
    largestAcknowledged = max(largestAcknowledged, inFlight.remove(at: index).suspect.bytes)
  }

  /// Whether a frame that is on its way has ended a connection before, as far as one can tell.
  package var isLikely: Bool { endings > 0 && inFlight.contains { $0.suspect.bytes > largestAcknowledged } }

  /// The connection is gone.
  /// - Returns: the frame that is the likely cause, the second time that it may be.
  package mutating func closed() -> Suspect? {
    defer { inFlight = [] }
    guard isMute, let suspect = inFlight.first(where: { $0.suspect.bytes > largestAcknowledged })?.suspect else {
      endings = 0
      return nil
    }
    endings += 1
    return endings > 1 ? suspect : nil
  }

  /// A frame was acknowledged and is not confirmed.
  /// - Parameters:
  ///   - confirmed: bytes of the largest frame that was.
  ///   - isAnswered: whether the consumer is there, since it has answered a question of this connection's.
  /// - Returns: whether its size is the likely cause.
  package mutating func lost(_ suspect: Suspect, confirmed: Int, isAnswered: Bool) -> Bool {
    guard isMute, isAnswered, suspect.bytes > confirmed else {
      losses[suspect.stream] = nil
      return false
    }
    losses[suspect.stream, default: 0] += 1
    // What else is confirmed shows that the road is open; where nothing is, the consumer's answer does.
    return losses[suspect.stream]! > 1 || confirmed == 0
  }
}
