// Whether the broker takes us and what we send: connects as Drover would, under a client ID of its own so that a running agent keeps its session,
// and publishes where the consumer pays no heed.

import DroverConfiguration
import DroverCore
import DroverMQTT
import DroverSQLite
import Foundation
import Synchronization

enum BrokerCheck {
  /// What an agent notes of its connection while it stands.
  static let isConnected = "connected"
  /// A broker that does not answer MQTT 5 is asked in 3.1.1 after 15 seconds.
  private static let patience = Duration.seconds(25)

  /// A broker that binds client IDs to users (`use_username_as_clientid`) gives the session of an agent to any program that connects as its user. So
  /// where the agent runs, it is asked.
  static func ask(_ connection: BrokerConnection, agentOf database: String) -> [Finding]? {
    guard connection.credentials != nil || connection.tls?.identity != nil,
      let standing = AgentLock.connection(database: database)
    else { return nil }
    guard standing != isConnected else { return [.good("broker", "the agent is connected to \(connection.broker)")] }
    return [
      .bad(
        "broker", "the agent is not connected: \(standing)",
        "check that the broker runs and can be reached from here, then the credentials and the broker's ACL; the agent's log says more"
      )
    ]
  }

  /// A frame is tried again at least once in so long, microseconds; what has not happened since is over.
  private static let recent: Int64 = 90_000_000

  /// What the agent that runs has met lately.
  static func failures(ofAgentOf database: String, now: Int64) -> [Finding] {
    AgentLock.failures(database: database).filter { now - $0.last < recent }.compactMap { failure in
      let text = "\(failure.kind.text), last \(ageText(now - failure.last)) ago"
      return switch failure.kind {
      case .nobodySubscribes: .doubtful("consumer", text, "start the consumer; nothing is lost meanwhile")
      case .notAuthorised:
        .bad("broker", text, "check the broker's ACL, and whether the credentials are this machine's")
      case .quotaExceeded, .refused: .bad("broker", text, "the broker's log says why")
      case .tooLarge: .doubtful("broker", text, "raise the broker's limit for packets, or lower `frame.bytes`")
      case .connectionLost, .unconfirmed, .store: nil
      }
    }
  }

  /// - Parameters:
  ///   - probe: where something is published that no program uses, and how much; nil: nothing is published.
  ///   - neededBytes: the largest packet that is sent in ordinary work.
  static func run(
    _ connection: BrokerConnection, subscriptions: [Subscription], probe: (topic: Topic, bytes: Int)? = nil,
    neededBytes: Int
  ) async -> [Finding] {
    var options = MQTTOptions(connection)
    options.clientID = "drover-doctor-\(MQTTOptions.passing)"
    options.sessionExpiry = .zero
    options.subscriptions = subscriptions
    options.drainTimeout = .seconds(1)
    let remarks = Remarks()
    let outcome = Outcome()
    let session = MosquittoSession(options: options, logger: remarks.logger)
    let timeout = Task {
      try await Task.sleep(for: patience)
      session.stop()
    }
    let visitor = CheckHandler(outcome: outcome, session: session, probe: probe)
    await session.run(handler: visitor)
    timeout.cancel()
    guard let info = outcome.info else {
      return [
        .bad(
          "broker",
          remarks.last ?? "\(connection.broker) does not answer within \(patience.components.seconds) s",
          "check that the broker runs and can be reached from here, then the credentials and the broker's ACL")
      ]
    }
    return [greeting(info, connection)] + limits(info, connection, neededBytes)
      + (probe.map { answer(outcome.answer, to: $0, info, connection, user: options.username) } ?? [])
  }

  private static func greeting(_ info: SessionInfo, _ connection: BrokerConnection) -> Finding {
    info.protocolLevel == 5
      ? .good("broker", "\(connection.broker) accepts the connection and the subscriptions, with MQTT 5")
      : .doubtful(
        "broker", "\(connection.broker) speaks MQTT 3.1.1",
        "use a broker with MQTT 5: it says why it refuses a message; with 3.1.1 only the cloud's confirmation shows it")
  }

  /// What the broker says of itself with MQTT 5.
  private static func limits(_ info: SessionInfo, _ connection: BrokerConnection, _ neededBytes: Int) -> [Finding] {
    var findings: [Finding] = []
    if !info.keepsRetained {
      findings.append(
        .bad(
          "broker", "\(connection.broker) keeps no retained messages",
          "switch them on (mosquitto: retain_available true): Drover retains statuses, schemas and confirmations"
        ))
    }
    if info.maximumQoS < 1 {
      findings.append(
        .bad(
          "broker", "\(connection.broker) takes messages at QoS 0 only, so it acknowledges none",
          "allow QoS 1 (mosquitto: max_qos 1): without it no event leaves the machine"))
    }
    if let size = info.maximumPacketSize {
      let text = "\(connection.broker) takes packets of at most \(byteText(Int64(size)))"
      findings.append(
        size < neededBytes
          ? .doubtful(
            "broker", text,
            "raise it (mosquitto: max_packet_size): frames become smaller, and an event that is larger alone is a dead letter"
          )
          : .good("broker", text))
    }
    return findings
  }

  private static func answer(
    _ answer: Answer?, to probe: (topic: Topic, bytes: Int), _ info: SessionInfo, _ connection: BrokerConnection,
    user: String?
  ) -> [Finding] {
    let name = user.map { "user \($0)" } ?? "a client without a user name"
    let subject = "publish \(byteText(Int64(probe.bytes))) on \(probe.topic.text)"
    switch answer {
    case .acknowledged(.success):
      return [
        .good(
          "publish",
          info.protocolLevel == 5
            ? "\(name) may publish, and a consumer subscribes"
            : "the broker acknowledges what \(name) publishes; with MQTT 3.1.1 it does so even if it drops the message"
        )
      ]
    case .acknowledged(.noMatchingSubscribers):
      return [
        .good("publish", "\(name) may publish"),
        .doubtful(
          "consumer", "no client subscribes to what this machine publishes",
          "start the consumer; until then events wait here (doctor does not see the consumers of a `group`)"),
      ]
    case .acknowledged(.notAuthorised):
      return [
        .bad(
          "publish", "\(subject): \(name) is not authorised",
          "check the broker's ACL for \(name), and whether these credentials are another machine's")
      ]
    case .acknowledged(.packetTooLarge), .failed(.tooLarge):
      return [
        .doubtful(
          "publish", "\(subject): it is larger than the broker takes",
          "raise its limit (mosquitto: message_size_limit, max_packet_size), or lower `frame.bytes`")
      ]
    case .acknowledged(let reason):
      return [.bad("publish", "\(subject): the broker answered \(reason)", "the broker's log says why")]
    case .failed(let error): return [.bad("publish", "\(subject): \(error)", "look at the findings above")]
    case .lost(let reason):
      return [
        .bad(
          "publish", "\(subject): \(reason)",
          "the likely cause is the broker's limit for packets (mosquitto: max_packet_size): raise it, or lower `frame.bytes`"
        )
      ]
    case nil:
      return [
        .bad(
          "publish", "\(subject): the broker does not acknowledge it", "look at the broker's log, its load and its disk"
        )
      ]
    }
  }

  fileprivate enum Answer {
    case acknowledged(AcknowledgementReason)
    case failed(PublishError)
    case lost(String)
  }

  private final class Outcome: Sendable {
    private let state = Mutex<(info: SessionInfo?, answer: Answer?)>((nil, nil))
    var info: SessionInfo? { state.withLock(\.info) }
    var answer: Answer? { state.withLock(\.answer) }
    func set(_ info: SessionInfo) { state.withLock { $0.info = info } }
    func set(_ answer: Answer) { state.withLock { $0.answer = $0.answer ?? answer } }
  }

  /// Comes in, says a word, hears what becomes of it, and goes.
  private final class CheckHandler: SessionHandler {
    private let outcome: Outcome
    private let session: MosquittoSession
    private let probe: (topic: Topic, bytes: Int)?

    init(outcome: Outcome, session: MosquittoSession, probe: (topic: Topic, bytes: Int)?) {
      self.outcome = outcome
      self.session = session
      self.probe = probe
    }

    func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
      outcome.set(info)
      guard let probe else { return session.stop() }
      do throws(PublishError) {
        let word = Array("drover doctor was here. ".utf8)
        let payload = (0..<probe.bytes).map { word[$0 % word.count] }
        _ = try publisher.publish(OutboundMessage(topic: probe.topic.text, payload: payload))
      } catch {
        outcome.set(.failed(error))
        session.stop()
      }
    }

    func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
      outcome.set(.acknowledged(reason))
      session.stop()
    }

    func sessionClosed(reason: String) {
      if probe != nil { outcome.set(.lost(reason)) }
      session.stop()
    }

    func received(_ messages: [InboundMessage]) {}
    func turn(now: ContinuousClock.Instant) -> Duration { .seconds(1) }
    func isDrained() -> Bool { true }
    func sessionWillClose(publisher: any Publisher) {}
  }
}
