// Which version of MQTT the next attempt speaks. MQTT 5 is wanted, for its reasons and its session expiry; 3.1.1 is
// what is left when the broker knows nothing newer, unless the session needs what only MQTT 5 has. No attempt is ever made here.

/// The numbers are those of the CONNECT packet.
enum ProtocolLevel: Int, Sendable {
  case mqtt311 = 4
  case mqtt5 = 5
}

/// Remembers how attempts ended, as far as the version may be to blame.
struct ProtocolChoice: Sendable {
  enum Ending: Sendable {
    /// CONNACK code 1 of a 3.1.1 broker, reason 0x84, or an answer that is no MQTT 5.
    case versionRefused
    /// The peer hung up on the CONNECT without a word: some old brokers do that to a version they do not know.
    case closedBeforeConnack
    /// No CONNACK came, and the connection stayed open: amqtt waits for the rest of a CONNECT that it reads as one of 3.1.1.
    case unanswered
    /// Everything else, also a connection that had been open: the version was not the cause.
    case otherwise
  }

  /// Waiting is for brokers that are away or overloaded; one that refused the version only wants to hear the other.
  enum Pause: Sendable {
    case none
    case backoff
  }

  /// What the next attempt speaks.
  private(set) var next = ProtocolLevel.mqtt5
  private let needsMQTT5: Bool
  private var closedInARow = 0
  /// Whether the broker has spoken MQTT 5 with us.
  private var hasSpoken5 = false

  /// Whether the next version may be older because this attempt is not answered.
  var mayFallBack: Bool { next == .mqtt5 && !needsMQTT5 && !hasSpoken5 }

  /// The present attempt has become a connection.
  mutating func opened() { hasSpoken5 = hasSpoken5 || next == .mqtt5 }

  /// - Parameter needsMQTT5: 3.1.1 is never spoken.
  init(needsMQTT5: Bool = false) { self.needsMQTT5 = needsMQTT5 }

  /// Tells how the attempt with `next` ended; `next` then holds the following one's version.
  mutating func ended(_ ending: Ending) -> Pause {
    let spoken = next
    next = .mqtt5
    guard spoken == .mqtt5, !needsMQTT5 else {
      closedInARow = 0
      return .backoff
    }
    switch ending {
    case .versionRefused, .unanswered:
      closedInARow = 0
      next = .mqtt311
      return .none
    case .closedBeforeConnack:
      closedInARow += 1
      if closedInARow == 2 {
        closedInARow = 0
        next = .mqtt311
      }
    case .otherwise:
      closedInARow = 0
    }
    return .backoff
  }
}
