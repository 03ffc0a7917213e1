// A client for the tests: a real session whose handler writes down everything it is told, and does what it is asked to.

import DroverCore
import DroverMQTT
import DroverProcesses
import DroverTesting
import Logging
import Synchronization

/// Everything that a handler was told, in the test's words.
struct Record: Sendable {
  enum Event: Equatable, Sendable {
    case opened
    case received([String])
    case closed
  }

  var events: [Event] = []
  var openings: [SessionInfo] = []
  var closings: [String] = []
  var batches: [[InboundMessage]] = []
  var refusals: [[InboundMessage]] = []
  var answers: [PublishToken: AcknowledgementReason] = [:]
  var published: [(message: OutboundMessage, result: Result<PublishToken, PublishError>)] = []
  var turns = 0
  var isRunning = false

  var messages: [InboundMessage] { batches.flatMap(\.self) }
  /// The answers, in the order of publishing, as far as they have come; of a client with one connection.
  var reasons: [AcknowledgementReason] {
    published.compactMap { if case .success(let token) = $0.result { answers[token] } else { nil } }
  }
}

struct Refusal: Error {}

/// What a test does to a client's handler before and while it runs.
struct Manner: Sendable {
  /// Called on the session's thread with each batch and the number of batches before it; may throw.
  var onReceived: @Sendable ([InboundMessage], Int) throws -> Void = { _, _ in }
  /// Said on `sessionOpened`.
  var birth: OutboundMessage?
  /// Said on `sessionWillClose`.
  var farewell: OutboundMessage?
  /// Tried on `sessionClosed`, when it is too late.
  var afterword: OutboundMessage?
  var isNeverDrained = false
}

/// A session on its own thread, to be used inside `Client.with`.
final class Client: Sendable {
  let session: MosquittoSession
  let record = Observed(Record())
  let log = LogLines()
  fileprivate let manner: Manner
  fileprivate let waiting = Mutex<[OutboundMessage]>([])

  private init(_ options: MQTTOptions, _ manner: Manner) {
    var logger = Logger(label: "test") { [log] _ in log }
    logger.logLevel = .trace
    session = MosquittoSession(options: options, logger: logger)
    self.manner = manner
  }

  /// Runs a session while `body` runs, and stops it then.
  @discardableResult
  static func with<Value: Sendable>(
    _ options: MQTTOptions, manner: Manner = Manner(), _ body: (Client) async throws -> Value
  ) async throws -> Value {
    let client = Client(options, manner)
    let running = Task {
      client.record.update { $0.isRunning = true }
      await client.session.run(handler: Handler(client))
      client.record.update { $0.isRunning = false }
    }
    defer { client.session.stop() }
    do {
      let value = try await body(client)
      client.session.stop()
      await running.value
      return value
    } catch {
      client.session.stop()
      await running.value
      throw error
    }
  }

  func publish(_ messages: [OutboundMessage]) {
    waiting.withLock { $0 += messages }
    session.wake()
  }

  func publish(_ topic: String, _ payload: String, isRetained: Bool = false) {
    publish([OutboundMessage(topic: topic, payload: Array(payload.utf8), isRetained: isRetained)])
  }

  @discardableResult
  func opened(times: Int = 1) async throws -> Record {
    try await record.wait(for: "\(times) openings") { $0.openings.count >= times }
  }
}

/// Lives on the session's thread.
private final class Handler: SessionHandler {
  private let client: Client
  private var publisher: (any Publisher)?
  /// Publications of this connection that wait for their PUBACK.
  private var unanswered = 0

  init(_ client: Client) { self.client = client }

  func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    self.publisher = publisher
    if let birth = client.manner.birth { say(birth) }
    client.record.update {
      $0.openings.append(info)
      $0.events.append(.opened)
    }
  }

  func received(_ messages: [InboundMessage]) throws {
    let number = client.record.now.batches.count + client.record.now.refusals.count
    do {
      try client.manner.onReceived(messages, number)
    } catch {
      client.record.update { $0.refusals.append(messages) }
      throw error
    }
    client.record.update {
      $0.batches.append(messages)
      $0.events.append(.received(messages.map(\.topic)))
    }
  }

  func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
    unanswered -= 1
    client.record.update { $0.answers[token] = reason }
  }

  func sessionClosed(reason: String) {
    if let afterword = client.manner.afterword { say(afterword) }
    publisher = nil
    unanswered = 0
    client.record.update {
      $0.closings.append(reason)
      $0.events.append(.closed)
    }
  }

  func turn(now: ContinuousClock.Instant) -> Duration {
    client.record.update { $0.turns += 1 }
    if publisher != nil {
      let messages = client.waiting.withLock { waiting in
        defer { waiting = [] }
        return waiting
      }
      for message in messages { say(message) }
    }
    return .seconds(3600)
  }

  func isDrained() -> Bool {
    !client.manner.isNeverDrained && unanswered == 0
  }

  func sessionWillClose(publisher: any Publisher) {
    if let farewell = client.manner.farewell { say(farewell) }
  }

  private func say(_ message: OutboundMessage) {
    let result = Result { () throws(PublishError) in
      guard let publisher else { throw PublishError.notConnected }
      return try publisher.publish(message)
    }
    if case .success = result { unanswered += 1 }
    client.record.update { $0.published.append((message, result)) }
  }
}

/// Keeps what a session logs.
struct LogLines: LogHandler {
  let lines = Observed<[String]>([])
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.trace

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    lines.update { $0.append("\(event.level): \(event.message)") }
  }
}

extension MosquittoBroker {
  /// Options for a client of this broker.
  func options(
    _ clientID: String, subscriptions: [Subscription] = [], tls: Bool = false,
    _ change: (inout MQTTOptions) -> Void = { _ in }
  ) -> MQTTOptions {
    var options = MQTTOptions(
      host: "127.0.0.1", port: tls ? tlsPort! : port, clientID: clientID,
      tls: tls ? TLSOptions(caFile: certificates!.caFile) : nil, subscriptions: subscriptions)
    change(&options)
    return options
  }
}

/// Messages that can be told apart, with payloads of about `size` bytes.
func numbered(_ count: Int, topic: String = "t/numbered", size: Int = 100) -> [OutboundMessage] {
  (0..<count).map {
    OutboundMessage(topic: topic, payload: Array("\($0) ".utf8) + [UInt8](repeating: 120, count: size))
  }
}

extension InboundMessage {
  /// The number of a message made by `numbered`.
  var number: Int { Int(String(decoding: payload.prefix { $0 != 32 }, as: UTF8.self)) ?? -1 }
  var text: String { String(decoding: payload, as: UTF8.self) }
}
