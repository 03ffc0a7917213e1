// Whether the broker takes us: connects as Drover would, under a client ID of its own so that a running agent keeps its session.

import DroverConfiguration
import DroverCore
import DroverMQTT
import DroverSQLite
import Foundation
import Synchronization

enum BrokerCheck {
  /// What an agent notes of its connection while it stands.
  static let isConnected = "connected"

  /// A broker that binds client IDs to users (`use_username_as_clientid`) gives the session of an agent to whoever connects as its user. So
  /// where the agent runs, it is asked.
  static func ask(_ connection: BrokerConnection, agentOf database: String) -> Finding? {
    guard connection.credentials != nil || connection.tls?.identity != nil,
      let standing = AgentLock.connection(database: database)
    else { return nil }
    guard standing != isConnected else { return .good("broker", "the agent is connected to \(connection.broker)") }
    return .bad(
      "broker", "the agent is not connected: \(standing)",
      "check that the broker runs and can be reached from here, then the credentials and its ACL; the agent's log says more"
    )
  }

  static func run(_ connection: BrokerConnection, subscriptions: [Subscription]) async -> Finding {
    var options = MQTTOptions(connection)
    options.clientID = "drover-doctor-\(MQTTOptions.passing)"
    options.sessionExpiry = .zero
    options.subscriptions = subscriptions
    options.drainTimeout = .seconds(1)
    let remarks = Remarks()
    let outcome = Outcome()
    let session = MosquittoSession(options: options, logger: remarks.logger)
    let timeout = Task {
      try await Task.sleep(for: .seconds(5))
      session.stop()
    }
    let visitor = Visitor(outcome: outcome, session: session)
    await session.run(handler: visitor)
    timeout.cancel()
    guard let info = outcome.info else {
      return .bad(
        "broker", remarks.last ?? "\(connection.broker) does not answer within 5 s",
        "check that the broker runs and can be reached from here, then the credentials and its ACL")
    }
    let version = info.protocolLevel == 5 ? "MQTT 5" : "MQTT 3.1.1"
    guard info.protocolLevel == 5 else {
      return .doubtful(
        "broker", "\(connection.broker) speaks \(version)",
        "a broker with MQTT 5 says why it refuses a message; with 3.1.1 only the cloud's confirmation tells")
    }
    return .good("broker", "\(connection.broker) takes us and our subscriptions, \(version)")
  }

  private final class Outcome: Sendable {
    private let state = Mutex<SessionInfo?>(nil)
    var info: SessionInfo? { state.withLock { $0 } }
    func set(_ info: SessionInfo) { state.withLock { $0 = info } }
  }

  /// Comes in, looks round and goes.
  private final class Visitor: SessionHandler {
    private let outcome: Outcome
    private let session: MosquittoSession

    init(outcome: Outcome, session: MosquittoSession) {
      self.outcome = outcome
      self.session = session
    }

    func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
      outcome.set(info)
      session.stop()
    }
    func received(_ messages: [InboundMessage]) {}
    func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {}
    func sessionClosed(reason: String) {}
    func turn(now: ContinuousClock.Instant) -> Duration { .seconds(1) }
    func isDrained() -> Bool { true }
    func sessionWillClose(publisher: any Publisher) {}
  }
}
