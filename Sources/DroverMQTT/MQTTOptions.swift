// What a session needs to know: where the broker is, who we are, what we want to hear, and the limits of every queue
// between the two. Values only; nothing here uses the network.

package import DroverCore

/// Everything that one session with a broker is configured by.
package struct MQTTOptions: Sendable {
  /// A name or an address. With TLS the broker's certificate must be valid for it.
  package var host: String
  package var port: Int
  /// Names the session at the broker. Two clients with one ID throw each other out.
  package var clientID: String
  package var username: String?
  package var password: Secret?
  /// nil: plain TCP.
  package var tls: TLSOptions?
  /// An idle connection is proved alive this often. libmosquitto takes 5 to 65,535 s; other values are moved there.
  package var keepAlive: Duration
  /// How long the broker keeps subscriptions and queued messages while we are away. [MQTT 5, 3.1.2.11.2]
  /// With MQTT 3.1.1 that is the broker's own decision.
  package var sessionExpiry: Duration
  /// What the broker says for us if we vanish without DISCONNECT; at QoS 1. At most 65,535 bytes.
  package var will: OutboundMessage?
  package var subscriptions: [Subscription]
  /// QoS 1 messages that the broker may send ahead of our PUBACKs. It also bounds what comes again after a refusal.
  package var receiveMaximum: Int
  /// QoS 1 messages that the library sends ahead of the broker's PUBACKs, if the broker names no number of its own.
  package var sendMaximum: Int
  /// `SessionHandler.received` gets about this many messages at once …
  package var batchMessages: Int
  /// … or about this many bytes of topics and payloads, whichever is reached first.
  package var batchBytes: Int
  /// How long `stop` waits for the handler to be drained.
  package var drainTimeout: Duration

  package init(
    host: String,
    port: Int = 1883,
    clientID: String,
    username: String? = nil,
    password: Secret? = nil,
    tls: TLSOptions? = nil,
    keepAlive: Duration = .seconds(30),
    sessionExpiry: Duration = .seconds(7 * 24 * 3600),
    will: OutboundMessage? = nil,
    subscriptions: [Subscription] = [],
    receiveMaximum: Int = 1000,
    sendMaximum: Int = 1000,
    batchMessages: Int = 1000,
    batchBytes: Int = 4 << 20,
    drainTimeout: Duration = .seconds(4)
  ) {
    precondition((1...65_535).contains(port), "a TCP port lies in 1...65535")
    precondition(!clientID.isEmpty, "a persistent session needs a client ID [MQTT-3.1.3-7]")
    precondition((1...65_535).contains(receiveMaximum), "the receive maximum is a 16-bit number above 0")
    precondition((1...65_535).contains(sendMaximum), "the send maximum is a 16-bit number above 0")
    precondition(batchMessages >= 1 && batchBytes >= 1, "a batch holds at least one message")
    self.host = host
    self.port = port
    self.clientID = clientID
    self.username = username
    self.password = password
    self.tls = tls
    self.keepAlive = keepAlive
    self.sessionExpiry = sessionExpiry
    self.will = will
    self.subscriptions = subscriptions
    self.receiveMaximum = receiveMaximum
    self.sendMaximum = sendMaximum
    self.batchMessages = batchMessages
    self.batchBytes = batchBytes
    self.drainTimeout = drainTimeout
  }
}

extension MQTTOptions {
  /// MQTT 3.1.1 knows no shared subscriptions: many a broker takes their filters for ordinary ones, which nothing matches.
  var needsMQTT5: Bool { subscriptions.contains(where: \.isShared) }
}

/// A topic filter that the session subscribes to, at QoS 1.
package struct Subscription: Equatable, Sendable {
  package var filter: String
  /// The broker does not send our own messages back. MQTT 3.1.1 has no such option: there they do come back.
  package var noLocal: Bool

  package init(filter: String, noLocal: Bool = false) {
    self.filter = filter
    self.noLocal = noLocal
    precondition(!noLocal || !isShared, "no-local on a shared subscription is an error [MQTT-3.8.3-4]")
  }

  /// Each message goes to one of its subscribers. [MQTT 5, 4.8.2]
  var isShared: Bool { filter.hasPrefix("$share/") }
}

/// The files of a TLS connection, in PEM. A broker whose certificate does not hold is always refused.
package struct TLSOptions: Equatable, Sendable {
  /// The CA that signed the broker's certificate; nil: the operating system's CAs.
  package var caFile: String?
  /// Our own certificate and its key, for brokers that want one; both or neither.
  package var certificateFile: String?
  package var keyFile: String?

  package init(caFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil) {
    precondition((certificateFile == nil) == (keyFile == nil), "a client certificate and its key come together")
    self.caFile = caFile
    self.certificateFile = certificateFile
    self.keyFile = keyFile
  }
}

/// A string that does not show in logs, errors, string interpolation or `dump`.
package struct Secret: Equatable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  private let value: String

  package init(_ value: String) { self.value = value }

  /// The string itself, for the one who has to hand it on.
  package func reveal() -> String { value }

  package var description: String { "(secret)" }
  package var debugDescription: String { description }
  package var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}
