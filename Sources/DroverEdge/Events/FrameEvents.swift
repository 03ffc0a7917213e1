// Events about sending: frames, announcements, and what the broker or the consumer rejects.

import DroverCore
import DroverEvents
import Logging

struct TrafficCounted: AgentEvent {
  let line: String
  var level: Logger.Level { .info }
  var text: String? { line }
}

struct FrameSent: AgentEvent {
  let stream: StreamName
  let interval: Interval
  let events: Int
  let bytes: Int
  var level: Logger.Level { .debug }
  var text: String? { "sent \(stream) \(interval): \(quantity(events, "event")) in \(bytes) bytes" }
}

struct FrameRefused: AgentEvent {
  let stream: Int
  let topic: String
  let events: Int
  let isEmpty: Bool
  let reason: AcknowledgementReason
  let user: String?
  var level: Logger.Level { .warning }
  /// A frame that is too large comes in parts, and `FrameDivided` or `EventTooLarge` says so.
  private var isDivided: Bool { reason == .packetTooLarge && !isEmpty }
  var subject: String? { isDivided ? nil : "refused \(stream) \(reason)" }
  var text: String? {
    if isDivided { return nil }
    return
      "publish \(quantity(events, "event")) on \(topic): \(reason.advice(topic: topic, user: user)); they stay in the outbox, and the agent tries again"
  }
  var metric: DeliveryFailure.Kind? { DeliveryFailure.Kind(reason) }
}

struct FrameNotPublished: AgentEvent {
  let stream: StreamName
  let bytes: Int
  let error: PublishError
  var level: Logger.Level { .error }
  var subject: String? { "publish \(stream) \(error)" }
  var text: String? {
    "publish \(stream): a frame of \(bytes) bytes: \(error); it stays in the outbox, and the agent tries again"
  }
}

// MARK: What is too large

struct FrameDivided: AgentEvent {
  let stream: Int
  let topic: String
  let events: Int
  let bytes: Int
  let taker: String
  var level: Logger.Level { .info }
  var subject: String? { "too large \(stream)" }
  var text: String? {
    "publish \(quantity(events, "event")) on \(topic): the frame of \(bytes) bytes is larger than \(taker); they are sent in smaller frames"
  }
}

struct EventTooLarge: AgentEvent {
  let stream: Int
  let topic: String
  let seq: Int64
  let bytes: Int
  let taker: String
  var level: Logger.Level { .error }
  var subject: String? { "unsendable \(stream)" }
  var text: String? {
    "publish event \(seq) on \(topic): alone it makes a frame of \(bytes) bytes, and that is larger than \(taker); it is a dead letter now, see `drover dead list`"
  }
}

/// A frame does not arrive, probably because it is too large; neither broker nor consumer reported a reason.
struct SizeBlamed: AgentEvent {
  enum Sign {
    case connectionsEnd
    case acknowledgedAndLost

    fileprivate var text: String {
      switch self {
      case .connectionsEnd: "the connection to the broker ends whenever it is sent"
      case .acknowledgedAndLost: "the broker acknowledges it, and the consumer, which answers, does not get it"
      }
    }

    /// mosquitto's name of the limit that does so.
    fileprivate var setting: String {
      switch self {
      case .connectionsEnd: "max_packet_size"
      case .acknowledgedAndLost: "message_size_limit"
      }
    }
  }

  let suspect: SizeSuspicion.Suspect
  let topic: String
  let sign: Sign
  var level: Logger.Level { .warning }
  var subject: String? { "blame \(suspect.stream) \(sign.setting) \(suspect.events > 1)" }
  var text: String? {
    "publish \(quantity(suspect.events, "event")) on \(topic): the frame has \(suspect.bytes) bytes, and \(sign.text): the likely cause is the broker's size limit (mosquitto: \(sign.setting)), which MQTT 3.1.1 does not report. Raise it, lower frame.bytes, or use MQTT 5; \(suspect.events > 1 ? "frames are made smaller meanwhile" : "this event alone is that large, and waits"), and nothing is lost"
  }
}

// MARK: Announcements

struct AnnouncementRefused: AgentEvent {
  let topic: String
  let reason: AcknowledgementReason
  let user: String?
  var level: Logger.Level { .warning }
  var text: String? { "announce on \(topic): \(reason.advice(topic: topic, user: user))" }
  var metric: DeliveryFailure.Kind? { DeliveryFailure.Kind(reason) }
}

struct AnnouncementTooLarge: AgentEvent {
  let topic: String
  let bytes: Int
  var level: Logger.Level { .error }
  var text: String? {
    "announce on \(topic): \(bytes) bytes are more than the broker takes; raise its limit for packets"
  }
}

extension AcknowledgementReason {
  /// What the operator can do about a refusal.
  fileprivate func advice(topic: String, user: String?) -> String {
    switch self {
    case .noMatchingSubscribers: "there is no subscriber; is the consumer running?"
    case .notAuthorised:
      "\(user.map { "user \($0)" } ?? "a client without a user name") is not authorised on \(topic); check the broker's ACL for it"
    case .packetTooLarge: "it is larger than the broker takes"
    case .quotaExceeded: "the broker's quota is used up"
    case .success, .other: "the broker answered \(self)"
    }
  }
}

// MARK: What comes down

struct DownApplied: AgentEvent {
  let stream: Int
  let interval: Interval
  let outcome: DownOutcome
  var level: Logger.Level { outcome.refused > 0 ? .warning : .debug }
  var subject: String? { outcome.refused > 0 ? "down \(stream)" : nil }
  var text: String? {
    let refused =
      outcome.refused > 0
      ? "; \(outcome.refused) refused by the app's tables, now dead letters: see `drover dead list`" : ""
    return
      "applied rows from the cloud \(interval): \(outcome.applied) written, \(outcome.old) known, \(outcome.edited) edited here since, \(outcome.waiting) wait for another row\(refused)"
  }
}

struct DownRepeated: AgentEvent {
  let stream: Int
  let interval: Interval
  var level: Logger.Level { .notice }
  var subject: String? { "down \(stream)" }
  var text: String? {
    "dropped rows from the cloud \(interval): other rows came under such numbers before; either the frame was overtaken, or the cloud's store was restored, which the consumer finds out now"
  }
}

struct DownUnknown: AgentEvent {
  let stream: StreamName
  var level: Logger.Level { .warning }
  var subject: String? { "down \(stream)" }
  var text: String? {
    "rows came down for \(stream), and no stream of that name has `direction: down` or `both` here; they stay in the cloud"
  }
}

struct DownUnreadable: AgentEvent {
  let topic: String
  let error: String
  var level: Logger.Level { .warning }
  var subject: String? { "unreadable \(topic)" }
  var text: String? { "read rows on \(topic): \(error); nothing of the message was applied" }
}
