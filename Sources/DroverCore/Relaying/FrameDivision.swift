// How large frames are, and what becomes of one that broker or consumer find too large: it is divided, or its one event becomes a dead letter. The
// broker's limit is known where CONNACK tells it or a PUBACK refuses a frame; the consumer's stands in its confirmations; what a broker of MQTT 3.1.1
// does without a word, `SizeSuspicion` finds out.

package struct FrameDivision: Sendable {
  /// What becomes of a frame that was too large. Its interval is read again at once.
  package enum Refusal: Equatable, Sendable {
    /// In smaller frames.
    case divided
    /// Without this event, which becomes a dead letter.
    case deadLetter(seq: Int64)
  }

  private let limits: RelayLimits
  /// How large a stream's frames may be, where that has turned out.
  private var sizes: [Int: FrameSize] = [:]
  /// Half of what broker and consumer take, as far as it is known: a frame's last event may be a large one.
  private var takenBytes = Int.max / 2
  private var brokerLimit: Int?
  private var consumerLimit: Int?
  private var largestSent = 0
  private var suspicion = SizeSuspicion()

  package init(limits: RelayLimits) { self.limits = limits }

  // MARK: What is known of limits

  /// - Parameters:
  ///   - maximumPacketSize: what the broker takes, where it said so.
  ///   - level: of the protocol; 4 is MQTT 3.1.1.
  package mutating func opened(maximumPacketSize: Int?, level: Int) {
    brokerLimit = maximumPacketSize
    suspicion.opened(level: level)
    limitFrames()
  }

  /// The consumer says what it takes.
  /// - Returns: whether a frame was sent that is larger: the consumer has put it aside and will not confirm it.
  package mutating func heard(consumerLimit limit: Int?) -> Bool {
    guard limit != consumerLimit else { return false }
    consumerLimit = limit
    limitFrames()
    guard let limit, largestSent > limit else { return false }
    largestSent = 0
    return true
  }

  private mutating func limitFrames() {
    let taken = max(1, min(brokerLimit ?? .max, consumerLimit ?? .max) / 2)
    guard taken != takenBytes else { return }
    takenBytes = taken
    sizes = [:]
  }

  /// Another database has other streams under the same numbers.
  package mutating func databaseChanged() { sizes = [:] }

  // MARK: Frames

  /// How large the stream's frames may be now.
  package func size(of stream: EdgeStream) -> FrameSize {
    if let size = sizes[stream.number] { return size }
    let most = stream.declaration.frame ?? limits.frame
    return FrameSize(events: most.events, bytes: min(most.bytes, takenBytes))
  }

  /// Whether the consumer is known to put a frame of so many bytes aside.
  package func isBeyondConsumer(bytes: Int) -> Bool { consumerLimit.map { bytes > $0 } ?? false }

  /// A frame is about to be published.
  /// - Parameter bytes: as the consumer will see it, unpacked.
  package mutating func sending(bytes: Int) { largestSent = max(largestSent, bytes) }

  /// A frame is on its way.
  package mutating func published(_ token: PublishToken, _ frame: SizeSuspicion.Suspect) {
    suspicion.published(token, frame)
  }

  /// The broker answered a publication, whatever its answer.
  package mutating func answered(_ token: PublishToken) { suspicion.acknowledged(token) }

  /// The broker took a frame.
  package mutating func accepted(stream: Int) { sizes[stream]?.accepted() }

  /// Broker or consumer do not take a frame of this size.
  /// - Parameter onlySeq: the event, where the frame has one alone.
  package mutating func refused(_ stream: EdgeStream, events: Int, bytes: Int, onlySeq: Int64?) -> Refusal {
    var size = size(of: stream)
    size.refused(events: events, bytes: bytes)
    sizes[stream.number] = size
    return onlySeq.map { .deadLetter(seq: $0) } ?? .divided
  }

  /// Who does not take a frame of so many bytes, for a sentence: `larger than the broker takes`.
  package func taker(bytes: Int) -> String {
    if let consumerLimit, bytes > consumerLimit {
      return "the consumer takes (its limits.message_bytes is \(consumerLimit))"
    }
    return "the broker takes" + (brokerLimit.map { " (at most \($0) bytes a packet)" } ?? "")
  }

  // MARK: Limits that no side states

  /// Whether a frame on its way is the likely reason why connections end, and not another client.
  package var isSuspected: Bool { suspicion.isLikely }

  /// The connection is gone.
  /// - Returns: the frame that is the likely cause, the second time that it may be.
  package mutating func closed() -> SizeSuspicion.Suspect? { suspicion.closed() }

  /// A frame was acknowledged and seems to be lost.
  /// - Returns: whether its size is the likely cause.
  package mutating func lost(_ suspect: SizeSuspicion.Suspect, confirmed: Int, isAnswered: Bool) -> Bool {
    suspicion.lost(suspect, confirmed: confirmed, isAnswered: isAnswered)
  }

  /// Smaller frames may pass; a single event stays as it is.
  package mutating func blamed(_ suspect: SizeSuspicion.Suspect, _ stream: EdgeStream) {
    guard suspect.events > 1 else { return }
    var size = size(of: stream)
    size.refused(events: suspect.events, bytes: suspect.bytes)
    sizes[stream.number] = size
  }
}
