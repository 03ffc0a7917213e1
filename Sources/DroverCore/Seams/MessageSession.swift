// The seam to the broker. One thread owns the connection and calls the handler; the handler never blocks longer than a
// database commit, and what it returns from `received` is what may be acknowledged. DroverMQTT implements `Publisher`
// and drives a `SessionHandler`; the edge's relay and the cloud's consumer are the two handlers.

/// A message that came from the broker.
package struct InboundMessage: Equatable, Sendable {
  package var topic: String
  package var payload: [UInt8]
  /// True when the broker kept it for new subscribers, and it is not news.
  package var isRetained: Bool
  /// The broker has tried to deliver it before. [MQTT-3.3.1-1]
  package var isDuplicate: Bool
  /// MQTT 5's content type property; nil with 3.1.1 or when the publisher set none.
  package var contentType: String?

  package init(
    topic: String, payload: [UInt8], isRetained: Bool = false, isDuplicate: Bool = false, contentType: String? = nil
  ) {
    self.topic = topic
    self.payload = payload
    self.isRetained = isRetained
    self.isDuplicate = isDuplicate
    self.contentType = contentType
  }
}

/// A message for the broker; always at QoS 1.
package struct OutboundMessage: Equatable, Sendable {
  package var topic: String
  package var payload: [UInt8]
  package var isRetained: Bool
  package var contentType: String?

  package init(topic: String, payload: [UInt8], isRetained: Bool = false, contentType: String? = nil) {
    self.topic = topic
    self.payload = payload
    self.isRetained = isRetained
    self.contentType = contentType
  }
}

/// Names one publication until its PUBACK; unique within one connection only.
package struct PublishToken: Hashable, Sendable {
  package let rawValue: Int32
  package init(rawValue: Int32) { self.rawValue = rawValue }
}

/// What a PUBACK said. MQTT 3.1.1 has no reasons: there a refused message looks like `.success`.
/// Source: MQTT 5, section 3.4.2.1.
package enum AcknowledgementReason: Equatable, Sendable {
  /// 0x00
  case success
  /// 0x10: the broker took it, and no client subscribes to its topic.
  case noMatchingSubscribers
  /// 0x87
  case notAuthorised
  /// 0x95
  case packetTooLarge
  /// 0x97
  case quotaExceeded
  case other(UInt8)

  package init(code: UInt8) {
    self =
      switch code {
      case 0x00: .success
      case 0x10: .noMatchingSubscribers
      case 0x87: .notAuthorised
      case 0x95: .packetTooLarge
      case 0x97: .quotaExceeded
      default: .other(code)
      }
  }
}

/// What the broker said when it took the connection.
package struct SessionInfo: Equatable, Sendable {
  /// The broker still had this client's session: its subscriptions and what was queued for it.
  package var sessionPresent: Bool
  /// 5, or 4 for MQTT 3.1.1 (the numbers of the CONNECT packet).
  package var protocolLevel: Int
  /// The largest packet that the broker takes, in bytes, if it said so.
  package var maximumPacketSize: Int?
  /// Whether the broker keeps retained messages; confirmations, descriptions and statuses are such.
  package var keepsRetained: Bool
  /// The highest QoS that the broker takes. Drover publishes with 1.
  package var maximumQoS: Int

  package init(
    sessionPresent: Bool, protocolLevel: Int, maximumPacketSize: Int? = nil, keepsRetained: Bool = true,
    maximumQoS: Int = 2
  ) {
    self.keepsRetained = keepsRetained
    self.maximumQoS = maximumQoS
    self.sessionPresent = sessionPresent
    self.protocolLevel = protocolLevel
    self.maximumPacketSize = maximumPacketSize
  }
}

/// Why a publication was not even handed to the library.
package enum PublishError: Error, Equatable, Sendable {
  case notConnected
  /// The message is larger than the broker takes.
  case tooLarge
  case failed(reason: String)
}

/// One open connection, as a handler sees it. Used on the session's own thread only, and only between
/// `sessionOpened` and `sessionClosed`.
package protocol Publisher: AnyObject {
  /// Hands a message to the connection; its PUBACK comes back through `SessionHandler.acknowledged`.
  func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken
}

/// What a service does with a connection. All calls come from the session's one thread, never at the same time.
package protocol SessionHandler: AnyObject {
  /// CONNACK has come and the subscriptions are acknowledged.
  func sessionOpened(_ info: SessionInfo, publisher: any Publisher)
  /// Messages in the order of arrival. Returning means that they are safe: only then are their PUBACKs written.
  /// Throwing refuses all of them: the connection is dropped without a PUBACK, and a persistent session delivers them again.
  func received(_ messages: [InboundMessage]) throws
  /// The broker has answered one publication.
  func acknowledged(_ token: PublishToken, reason: AcknowledgementReason)
  /// A connection is ending. Called before `sessionClosed`, also where the session was not open yet.
  /// - Parameter isTaken: the broker gave the session to another client with the same ID; nil where it closed the connection without a word.
  func sessionEnding(isTaken: Bool?)
  /// The connection is gone; tokens without an answer will get none.
  func sessionClosed(reason: String)
  /// Called at least once in each turn of the loop, connected or not, and whenever `wake` was called.
  /// Returns how long the loop may sleep if nothing happens.
  func turn(now: ContinuousClock.Instant) -> Duration
  /// The process was asked to stop. True when nothing is left to wait for; asked again after each turn, at most for
  /// the session's draining time.
  func isDrained() -> Bool
  /// The last thing to be said on an open connection before DISCONNECT, e.g. a farewell status.
  func sessionWillClose(publisher: any Publisher)
}

/// A connection of a service's own, for as long as it has something to ask or to send.
package protocol BrokerVisit: Sendable {
  /// The broker, for a sentence.
  var broker: String { get }
  /// Who the service is to the broker; nil without a user.
  var user: String? { get }
  /// What went wrong last, for the one who waits for the visit.
  var remark: String? { get }
  /// Serves `handler` on a thread of its own. Returns when that has ended.
  func run(handler: sending any SessionHandler) async
  /// Makes the session call `handler.turn` soon. From any thread, as often as one likes.
  func wake()
  /// Ends the session when its handler is drained. From any thread.
  func stop()
}

extension SessionHandler {
  package func sessionEnding(isTaken: Bool?) {}
}
