// What a session's thread does: connect, read, hand over, acknowledge, send, and connect again when that ends. Every
// call to the handler and to an open connection comes from here, so neither needs a lock.
//
// A turn is: handler.turn – write – sleep – read a batch – handler.received – write. Nothing that was read is
// acknowledged before `received` has returned, because nothing is written in between.

import DroverCore
import Logging

final class SessionLoop {
  /// CONNACK and SUBACK must come in this time. Long enough for a broker that thousands of machines come back to.
  private static let openingLimit = Duration.seconds(30)
  /// A broker that has said nothing to a CONNECT of MQTT 5 for so long is asked in 3.1.1.
  private static let connackLimit = Duration.seconds(15)
  /// A connection that stood this long was a good one, even if nothing was said on it. As long as the backoff's cap.
  private static let stableAfter = Duration.seconds(30)
  /// libmosquitto's clock for the keepalive has whole seconds: let it look once in each.
  private static let longestSleep = Duration.seconds(1)
  /// Kept for the last word when the draining time is used up.
  private static let farewellReserve = Duration.milliseconds(500)

  private let options: MQTTOptions
  private let logger: Logger
  private let wakeup: Wakeup
  private let handler: any SessionHandler
  private let isStopping: () -> Bool
  private let clock = ContinuousClock()
  private let backoff = Backoff()

  private var choice: ProtocolChoice
  private var retries = RetryLog()
  private var pace: BatchPace
  /// The end that came before was logged, so the next beginning is too.
  private var isOpeningWorthALine = true
  /// When draining ends; nil until the loop has seen that it has to stop.
  private var drainsUntil: ContinuousClock.Instant?

  init(
    options: MQTTOptions, logger: Logger, wakeup: Wakeup, handler: any SessionHandler, isStopping: @escaping () -> Bool
  ) {
    self.options = options
    self.logger = logger
    self.wakeup = wakeup
    self.handler = handler
    self.isStopping = isStopping
    choice = ProtocolChoice(needsMQTT5: options.needsMQTT5)
    pace = BatchPace(largest: options.batchMessages, keepAlive: options.keepAlive)
  }

  func run() {
    while true {
      let end = liveThroughOneConnection()
      if end == .stopped { break }
      let delay = nextDelay(after: end)
      do { try sleep(for: delay) } catch { break }
    }
    logger.info("session with \(options.host):\(options.port) stopped")
  }

  // MARK: - Between connections

  private func nextDelay(after end: SessionEnd) -> Duration {
    let text = end.text(options)
    let isWorthALine = retries.failed(text)
    isOpeningWorthALine = isWorthALine
    switch choice.ended(end.bearingOnVersion) {
    case .none:
      if isWorthALine { logger.info("\(text); trying MQTT 3.1.1 now") }
      return .zero
    case .backoff:
      let delay = backoff.delay(attempt: retries.attempt, seed: .random(in: .min ... .max))
      if isWorthALine {
        let count = retries.attempt > 1 ? " (attempt \(retries.attempt))" : ""
        logger.warning("\(text); trying again in \(delay.inSeconds) s\(count)")
      }
      return delay
    }
  }

  /// The handler's turn. Returns how long to sleep after it; throws `.stopped` when the session may end.
  private func turn() throws(SessionEnd) -> Duration {
    let now = clock.now
    let wish = handler.turn(now: now)
    if isStopping() {
      let end = drainsUntil ?? now + options.drainTimeout
      drainsUntil = end
      if now >= end || handler.isDrained() { throw .stopped }
      return min(wish, Self.longestSleep, end - now)
    }
    return min(wish, Self.longestSleep)
  }

  private func sleep(for delay: Duration) throws(SessionEnd) {
    let end = clock.now + delay
    while clock.now < end {
      let pause = try turn()
      _ = wakeup.wait(for: nil, atMost: min(pause, end - clock.now))
    }
  }

  // MARK: - One connection

  private func liveThroughOneConnection() -> SessionEnd {
    let connection: MosquittoConnection
    do throws(SessionEnd) {
      connection = try connect()
    } catch {
      return error
    }
    let began = clock.now
    var visit = ServedConnection(connection: connection, pace: pace)
    let end = live(&visit, since: began)
    pace = visit.pace
    connection.close()
    handler.sessionEnding(isTaken: end.isTakeover)
    guard visit.isOpen else { return end }
    if clock.now - began >= Self.stableAfter {
      retries.succeeded()
    } else if visit.wasOfUse {
      retries.carriedSomething()
    }
    handler.sessionClosed(reason: end.text(options))
    return end
  }

  private func connect() throws(SessionEnd) -> MosquittoConnection {
    let attempt = ConnectionAttempt(options: options, level: choice.next, wakeup: wakeup)
    while true {
      if let connection = try attempt.take() { return connection }
      let pause = try turn()
      _ = wakeup.wait(for: nil, atMost: pause)
    }
  }

  private func live(_ visit: inout ServedConnection, since began: ContinuousClock.Instant) -> SessionEnd {
    do throws(SessionEnd) {
      while true {
        let pause = try turn()
        try step(&visit, pause: pause)
        // One that has answered once may be slow now, and does speak MQTT 5.
        if choice.mayFallBack, visit.connection.inbox.connack == nil, clock.now - began >= Self.connackLimit {
          throw .unanswered(within: Self.connackLimit)
        }
        if visit.isOpen { choice.opened() }
        if !visit.isOpen, clock.now - began >= Self.openingLimit { throw .noAnswer(within: Self.openingLimit) }
      }
    } catch {
      if error == .stopped, visit.isOpen { sayFarewell(&visit) }
      return error
    }
  }

  /// Sends what is queued, sleeps until there is something to do, reads and hands over one batch, and acknowledges it.
  private func step(_ visit: inout ServedConnection, pause: Duration) throws(SessionEnd) {
    let connection = visit.connection
    try connection.write()
    let isReady = wakeup.wait(
      for: connection.socket, wantsWrite: connection.wantsWrite, atMost: visit.mayHaveMore ? .zero : pause)
    if isReady || visit.mayHaveMore { try visit.serve(handler, opened: logOpening) }
    try connection.keepAlive()
  }

  private func logOpening(_ info: SessionInfo) {
    guard isOpeningWorthALine else { return }
    let session = info.sessionPresent ? "its session goes on" : "a new session"
    let level = info.protocolLevel == ProtocolLevel.mqtt5.rawValue ? "MQTT 5" : "MQTT 3.1.1"
    logger.info("connected to \(options.host):\(options.port) as \(options.clientID) with \(level), \(session)")
  }

  /// The handler's last word, its PUBACK, and DISCONNECT; all in the draining time that is left.
  private func sayFarewell(_ visit: inout ServedConnection) {
    let end = max(drainsUntil ?? clock.now, clock.now + Self.farewellReserve)
    handler.sessionWillClose(publisher: visit.connection)
    do throws(SessionEnd) {
      while visit.connection.unacknowledged > 0, clock.now < end {
        try step(&visit, pause: min(end - clock.now, Self.longestSleep))
      }
      visit.connection.disconnect()
      while let socket = visit.connection.socket, clock.now < end {
        try visit.connection.write()
        guard visit.connection.wantsWrite else { break }
        _ = wakeup.wait(for: socket, wantsWrite: true, atMost: end - clock.now)
      }
    } catch {
      logger.warning("\(error.text(options)), while disconnecting")
    }
  }
}

extension Duration {
  /// One digit after the point is enough for a person who waits.
  fileprivate var inSeconds: String {
    let tenths = (components.seconds * 10) + components.attoseconds / 100_000_000_000_000_000
    return "\(tenths / 10).\(tenths % 10)"
  }
}
