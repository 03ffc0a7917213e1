// How Drover connects to the broker: the same keys with the same meaning at the edge and in the cloud.

/// Everything that a connection to the broker needs.
package struct BrokerConnection: Equatable, Sendable {
  package let broker: BrokerEndpoint
  /// Nil to connect without a user.
  package let credentials: Credentials?
  /// Nil exactly where the broker's URL is `mqtt://`.
  package let tls: TLSFiles?
  package let clientID: String
  /// Whole seconds.
  package let keepAlive: Duration
  /// How long the broker keeps the session after the connection is gone; whole seconds.
  package let sessionExpiry: Duration

  package init(
    broker: BrokerEndpoint, credentials: Credentials? = nil, tls: TLSFiles? = nil, clientID: String,
    keepAlive: Duration = .seconds(30), sessionExpiry: Duration = .seconds(7 * 86_400)
  ) {
    self.broker = broker
    self.credentials = credentials
    self.tls = tls
    self.clientID = clientID
    self.keepAlive = keepAlive
    self.sessionExpiry = sessionExpiry
  }
}

extension BrokerConnection {
  static let usualSessionExpiry = Duration.days(7)

  /// Reads the keys that both sides share. Nil after a problem with the broker.
  init?(
    reading file: Section, defaultClientID: String, defaultSessionExpiry: Duration = BrokerConnection.usualSessionExpiry
  ) {
    let broker = file.required("broker", .broker, example: "mqtt://127.0.0.1:1883")
    let credentials = Credentials(reading: file.section("credentials"))
    let tls = TLSFiles(reading: file.section("tls"))
    let clientID = file.optional("client_id", .clientID, default: defaultClientID)
    // MQTT counts both in seconds: 16 bits for the one [MQTT-3.1.2.10], 32 bits for the other [MQTT-3.1.2.11.2].
    let keepAlive = file.optional("keep_alive", .seconds(.seconds(5) ... .hours(18)), default: .seconds(30))
    let sessionExpiry = file.optional(
      "session_expiry", .seconds(.seconds(10) ... .days(3650)), default: defaultSessionExpiry)

    guard let broker else { return nil }
    if !broker.usesTLS, file.isGiven("tls") {
      file.report("`tls` needs a broker with mqtts://, and this one is \(broker)", at: "tls")
    }
    self.init(
      broker: broker, credentials: credentials, tls: broker.usesTLS ? tls : nil, clientID: clientID,
      keepAlive: keepAlive, sessionExpiry: sessionExpiry)
  }
}

extension Form where Value == String {
  /// Without the characters of topics: brokers refuse such a client when an ACL names it in a topic.
  fileprivate static var clientID: Form {
    Form("a client ID of 1 to 128 bytes without '/', '+', '#' and control characters") { text in
      isPlain(text) && text.utf8.count <= 128 && !text.contains(where: { "/+#".contains($0) }) ? text : nil
    }
  }
}

extension Duration {
  fileprivate static func hours(_ hours: Int) -> Duration { .seconds(hours * 3600) }
  fileprivate static func days(_ days: Int) -> Duration { .seconds(days * 86_400) }
}
