// What went wrong on the way to the cloud since the agent started, counted for people: nothing is lost by any of it, but a count that grows
// says where to look.

package struct DeliveryFailure: Equatable, Sendable {
  package enum Kind: String, CaseIterable, Sendable {
    case connectionLost = "connection_lost"
    case nobodySubscribes = "nobody_subscribes"
    case notAuthorised = "not_authorised"
    case tooLarge = "too_large"
    case quotaExceeded = "quota_exceeded"
    case refused
    case unconfirmed
    case store

    package init?(_ reason: AcknowledgementReason) {
      switch reason {
      case .success: return nil
      case .noMatchingSubscribers: self = .nobodySubscribes
      case .notAuthorised: self = .notAuthorised
      case .packetTooLarge: self = .tooLarge
      case .quotaExceeded: self = .quotaExceeded
      case .other: self = .refused
      }
    }

    package var text: String {
      switch self {
      case .connectionLost: "the connection to the broker was lost"
      case .nobodySubscribes: "no consumer subscribed to a frame"
      case .notAuthorised: "the broker did not authorise a frame"
      case .tooLarge: "a frame was larger than the broker takes"
      case .quotaExceeded: "the broker's quota was used up"
      case .refused: "the broker refused a frame"
      case .unconfirmed: "a frame was sent again because nothing confirmed it"
      case .store: "the outbox could not be read or written"
      }
    }
  }

  package var kind: Kind
  package var count: Int
  /// Microseconds since 1970.
  package var last: Int64

  package init(_ kind: Kind, count: Int, last: Int64) {
    self.kind = kind
    self.count = count
    self.last = last
  }
}
