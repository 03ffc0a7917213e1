// What the broker keeps of a machine is cleared in MQTT's own way: an empty retained message takes the one before it away [MQTT-3.3.1-6].

import DroverConfiguration
import DroverCore
import DroverMQTT
import DroverServices
import Foundation
import Synchronization

enum RetainedMessages {
  struct Cleared {
    var topics: Set<String> = []
    /// What could not be cleared, and why.
    var failures: [String] = []
  }

  /// - Parameter known: streams of the machine, whose descriptions are cleared also where the broker does not show them.
  static func clear(
    _ machine: MachineID, known: [String], _ configuration: CloudConfiguration
  ) async throws -> Cleared {
    var options = MQTTOptions(configuration.connection)
    options.clientID = "drover-forget-\(MQTTOptions.passing)"
    options.sessionExpiry = .zero
    options.drainTimeout = .seconds(1)
    options.subscriptions = [Subscription(filter: "\(Topic.prefix)\(machine)/#")]
    let remarks = Remarks()
    let session = MosquittoSession(options: options, logger: remarks.logger)
    let work = Work()
    let schemas = known.compactMap { try? StreamName($0) }.map { Topic.schema(machine, $0).text }
    await session.run(
      handler: Clearer(
        machine, likely: [Topic.status(machine).text, Topic.confirm(machine).text] + schemas, user: options.username,
        session: session, work: work))
    guard let cleared = work.outcome else {
      throw ReplayFailure(
        description:
          "\(remarks.last ?? "\(configuration.connection.broker) does not answer"); nothing was forgotten")
    }
    return cleared
  }

  private final class Work: Sendable {
    private let state = Mutex<Cleared?>(nil)
    var outcome: Cleared? { state.withLock { $0 } }
    func begin() { state.withLock { $0 = $0 ?? Cleared() } }
    func note(_ change: (inout Cleared) -> Void) { state.withLock { if $0 != nil { change(&$0!) } } }
  }

  private final class Clearer: SessionHandler {
    /// How long nothing may come before all is taken to be there.
    private static let quiet = Duration.milliseconds(500)
    private static let patience = Duration.seconds(25)

    private let machine: MachineID
    private let user: String?
    private let session: MosquittoSession
    private let work: Work
    private var publisher: (any Publisher)?
    private var topics: Set<String>
    private var shown: Set<String> = []
    private var inFlight: [PublishToken: String] = [:]
    private var isPublished = false
    private var quietAt: ContinuousClock.Instant?
    private var deadline = ContinuousClock.now.advanced(by: patience)

    init(_ machine: MachineID, likely: [String], user: String?, session: MosquittoSession, work: Work) {
      self.machine = machine
      topics = Set(likely)
      self.user = user
      self.session = session
      self.work = work
    }

    func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
      self.publisher = publisher
      work.begin()
      quietAt = .now.advanced(by: Self.quiet)
      deadline = .now.advanced(by: Self.patience)
    }

    func received(_ messages: [InboundMessage]) {
      for message in messages where message.isRetained && !isPublished {
        topics.insert(message.topic)
        shown.insert(message.topic)
        quietAt = .now.advanced(by: Self.quiet)
      }
    }

    func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
      guard let topic = inFlight.removeValue(forKey: token) else { return }
      deadline = .now.advanced(by: Self.patience)
      switch reason {
      case .success, .noMatchingSubscribers: if shown.contains(topic) { work.note { $0.topics.insert(topic) } }
      case .notAuthorised:
        let name = user.map { "user \($0)" } ?? "a client without a user name"
        work.note { $0.failures.append("\(name) is not authorised on \(topic); the broker's ACL must allow it") }
      default: work.note { $0.failures.append("\(topic): the broker answered \(reason)") }
      }
    }

    func sessionClosed(reason: String) {
      publisher = nil
      for topic in inFlight.values { work.note { $0.failures.append("\(topic): \(reason)") } }
      inFlight = [:]
      session.stop()
    }

    func turn(now: ContinuousClock.Instant) -> Duration {
      guard let publisher, let quietAt else {
        if deadline <= now { session.stop() }
        return .milliseconds(100)
      }
      if !isPublished, quietAt <= now {
        isPublished = true
        for topic in topics.sorted() {
          do throws(PublishError) {
            inFlight[try publisher.publish(OutboundMessage(topic: topic, payload: [], isRetained: true))] = topic
          } catch {
            work.note { $0.failures.append("\(topic): \(error)") }
          }
        }
      }
      if isPublished, inFlight.isEmpty || deadline <= now {
        for topic in inFlight.values { work.note { $0.failures.append("\(topic): the broker does not answer") } }
        inFlight = [:]
        session.stop()
      }
      return .milliseconds(50)
    }

    func isDrained() -> Bool { inFlight.isEmpty }
    func sessionWillClose(publisher: any Publisher) {}
  }
}
