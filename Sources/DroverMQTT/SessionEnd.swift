// Why a connection, or an attempt at one, came to its end, in words that tell a person what to do about it. The words
// name the host, the user and the files; they never hold a password or a payload.

import CMosquitto
import DroverCore
import Glibc

enum SessionEnd: Error, Equatable {
  /// `stop` was called, and everything that could be said has been said.
  case stopped
  /// The library does not take the options: a file that cannot be read, a topic that is none.
  case unusable(String)
  /// The host's name has no address.
  case unresolved(String)
  /// connect(2) failed, with this errno.
  case unreachable(Int32)
  /// The handshake failed, or the TLS layer gave up later.
  case tls(String)
  /// CONNACK with a code that is not 0; the codes of MQTT 3.1.1 and 5 differ.
  case refused(code: UInt8, ProtocolLevel)
  /// SUBACK with a failure code.
  case subscriptionRefused(filter: String, code: UInt8)
  /// The broker says so in CONNACK, or with the reason 0x9E in SUBACK or DISCONNECT.
  case noSharedSubscriptions
  case closedBeforeConnack
  /// The peer took the connection and did not say CONNACK or SUBACK in this time.
  case noAnswer(within: Duration)
  /// Not even CONNACK came in this time, to a CONNECT of MQTT 5.
  case unanswered(within: Duration)
  /// The broker sent DISCONNECT with this reason. [MQTT-3.14]
  case disconnected(UInt8)
  /// The broker answered no PINGREQ.
  case silent
  case lost(String)
  /// Not MQTT, or not as agreed.
  case protocolError(String)
  /// `SessionHandler.received` threw.
  case handlerRefused(String)

  /// Whether another client has the session now; nil where the broker closed the connection and did not say why: with MQTT 3.1.1, and
  /// mosquitto 2.0.11 with MQTT 5 too.
  var isTakeover: Bool? {
    switch self {
    case .disconnected(0x8E): true
    case .lost: nil
    default: false
    }
  }

  /// What `ProtocolChoice` makes of it.
  var bearingOnVersion: ProtocolChoice.Ending {
    switch self {
    case .refused(code: 1, .mqtt311), .refused(code: 1, .mqtt5), .refused(code: 0x84, .mqtt5): .versionRefused
    case .closedBeforeConnack: .closedBeforeConnack
    case .unanswered: .unanswered
    default: .otherwise
    }
  }

  /// One sentence without its full stop: what happened, to whom, and what to look at.
  func text(_ options: MQTTOptions) -> String {
    let broker = "\(options.host):\(options.port)"
    switch self {
    case .stopped: return "stopped"
    case .unusable(let what): return "connect to \(broker) impossible: \(what)"
    case .unresolved(let why):
      return "connect to \(broker) failed: no address for \(options.host) (\(why)); check the name and the DNS"
    case .unreachable(ECONNREFUSED): return "connect to \(broker) refused"
    case .unreachable(let code): return "connect to \(broker) failed: \(String(cString: strerror(code)))"
    case .tls(let why) where why.contains("wrong version number"):
      return "TLS with \(broker) failed: \(why); does this port speak TLS?"
    case .tls(let why): return "TLS with \(broker) failed: \(why); \(tlsAdvice(options))"
    case .refused where options.needsMQTT5 && bearingOnVersion == .versionRefused:
      return "\(broker) does not speak MQTT 5; \(sharingAdvice)"
    case .refused(let code, let level): return "\(broker) refused the connection: \(refusal(code, level, options))"
    case .subscriptionRefused(let filter, let code):
      return
        "\(broker) refused the subscription to \(filter): \(reasonText(code)); check the broker's ACL for \(user(options))"
    case .noSharedSubscriptions: return "\(broker) has no shared subscriptions; \(sharingAdvice)"
    case .closedBeforeConnack where options.needsMQTT5:
      return
        "\(broker) closed the connection before CONNACK; does this port expect another protocol, TLS or none, or an MQTT older than 5? \(sharingAdvice)"
    case .closedBeforeConnack:
      let advice =
        options.tls == nil
        ? "does this port expect TLS, or another protocol?"
        : "does this port speak TLS, and does it want a client certificate?"
      return "\(broker) closed the connection before CONNACK; \(advice)"
    case .noAnswer(let limit), .unanswered(let limit):
      return "\(broker) accepted the connection but did not answer within \(limit.components.seconds) s"
    case .disconnected(0x8E):
      return "\(broker) gave the session to another client with the ID \(options.clientID); client IDs must be unique"
    case .disconnected(let code): return "\(broker) disconnected: \(reasonText(code))"
    case .silent: return "\(broker) did not answer a PINGREQ, so the connection counts as dead"
    case .lost(let why): return "connection to \(broker) lost: \(why)"
    case .protocolError(let what): return "connection to \(broker) dropped: \(what)"
    case .handlerRefused(let why): return "connection to \(broker) dropped without acknowledging: \(why)"
    }
  }
}

private func refusal(_ code: UInt8, _ level: ProtocolLevel, _ options: MQTTOptions) -> String {
  switch (level, code) {
  case (.mqtt311, 4), (.mqtt5, 0x86): "bad user name or password for \(user(options))"
  case (.mqtt311, 5), (.mqtt5, 0x87):
    "not authorised as \(user(options)); check user name, password and the broker's access rules"
  case (.mqtt311, 2), (.mqtt5, 0x85): "it does not take the client ID \(options.clientID)"
  case (.mqtt311, _): String(cString: mosquitto_connack_string(Int32(code)))
  case (.mqtt5, _): reasonText(code)
  }
}

private func reasonText(_ code: UInt8) -> String {
  let known = String(cString: mosquitto_reason_string(Int32(code)))
  return "\(known) (0x\(String(code, radix: 16, uppercase: true)))"
}

private let sharingAdvice =
  "consumers of a `group` share their work by shared subscriptions of MQTT 5: use a broker that has them, or one consumer without `group`"

private func user(_ options: MQTTOptions) -> String {
  options.username.map { "user \($0)" } ?? "a client without user name"
}

private func tlsAdvice(_ options: MQTTOptions) -> String {
  let authority = options.tls?.caFile.map { "the CA in \($0)" } ?? "one of the operating system's CAs"
  return "check that the broker's certificate is signed by \(authority), is not expired and names \(options.host)"
}
