// The agent of one machine in this process: `drover edge` runs it until it is stopped, and `drover sync` for one exchange where none runs.

import DroverConfiguration
import DroverCore
import DroverEdge
import DroverEvents
import DroverMQTT
import DroverSQLite
import DroverServices
import Logging
import ServiceLifecycle

enum EdgeAgent {
  /// Why the agent had to end by itself.
  struct Ended: Error, CustomStringConvertible {
    let description: String
  }

  /// Runs until a signal ends it, or its errand is done.
  /// - Parameters:
  ///   - beside: what else runs and ends with it; gets what tells the agent that another process may have committed.
  ///   - errand: what it runs for, if it ends with that.
  static func run(
    _ configuration: EdgeConfiguration, beside: (@escaping @Sendable () -> Void) -> [any Service] = { _ in [] },
    errand: (any Service)? = nil, logger: Logger
  ) async throws {
    let lock = try AgentLock(database: configuration.database, machine: configuration.machine)
    let retention = configuration.outbox.retention
    let store = try await waitingForLock(on: configuration.database, logger) {
      try EdgeDatabase(
        path: configuration.database, declarations: configuration.streams,
        retention: Retention(bytes: retention.bytes, age: retention.age), quota: configuration.outbox.quota,
        letters: configuration.deadLetters, warn: { logger.warning("\($0)") }, willOpen: { try lock.move(to: $0) },
        patience: .seconds(3))
    }
    if let former = try store.note(machine: configuration.machine) {
      logger.warning(
        "the machine's name is \(configuration.machine), and was \(former) when an agent last worked on \(configuration.database): \(configuration.machine) is a new machine in the cloud and gets all rows; those of \(former) stay there until `drover forget` removes them"
      )
    }
    var limits = RelayLimits()
    limits.window = configuration.window
    limits.frame = configuration.frame
    limits.compression = configuration.compression
    limits.reporting.reportInterval = configuration.statusEvery
    let handler = try EdgeRelay(
      machine: configuration.machine, store: store, limits: limits, software: Drover.version,
      user: configuration.connection.credentials?.username, logger: logger, wallClock: wallClock)
    let count = configuration.streams.count
    logger.info(
      "edge agent \(configuration.machine): \(count) stream\(count == 1 ? "" : "s") of \(configuration.database) to \(configuration.connection.broker)"
    )

    var options = MQTTOptions(configuration.connection)
    options.will = EdgeRelay.lastWill(machine: configuration.machine)
    options.subscriptions = [
      Subscription(filter: Topic.confirmFilter(for: configuration.machine)),
      Subscription(filter: Topic.commandFilter(for: configuration.machine)),
      Subscription(filter: Topic.downFilter(for: configuration.machine)),
    ]
    let session = MosquittoSession(options: options, logger: logger)
    let fatal = FatalEnd()
    handler.onFatal = { fatal.end(session, $0) }
    handler.beat = { lock.beat("relay") }
    handler.onFailure = { lock.count($0, wall: wallClock()) }
    handler.onConnection = { lock.note(connection: $0 ?? BrokerCheck.isConnected) }
    handler.onConflicts = { lock.note(conflicts: $0) }
    let hint = handler.hint
    let watcher = DatabaseWatcher(path: configuration.database, beat: { lock.beat("watcher") }) {
      hint.set()
      session.wake()
    }
    if watcher == nil {
      logger.warning(
        "watch \(configuration.database): the kernel gives no inotify watch, so the agent notices commits within a second"
      )
    }
    let backups = RegularBackup(
      configuration.database, configuration.backup, beat: { lock.beat("backup") }, logger: logger)
    let questions = QuestionService(
      mailbox: AgentMailbox(database: configuration.database), questions: handler.questions, wake: { session.wake() },
      logger: logger)
    let others = beside {
      hint.set()
      session.wake()
    }
    let own: [(any Service)?] = [backups, questions]
    try await serve(
      session, handler: handler, others: own.compactMap(\.self) + others, errand: errand, logger: logger)
    if let reason = fatal.reason { throw Ended(description: reason) }
    withExtendedLifetime((watcher, lock)) { logger.info("edge agent \(configuration.machine): stopped") }
  }

  /// Attaches as soon as no other program has the database locked. An agent that ended instead would be started again and again, and a
  /// supervisor may give up on it.
  private static func waitingForLock(
    on path: String, _ logger: Logger, _ attach: () throws -> EdgeDatabase
  ) async throws -> EdgeDatabase {
    var watch = LockWatch()
    var isReported = false
    while true {
      do {
        let store = try attach()
        if isReported { logger.info("attach \(path): the database is unlocked again") }
        return store
      } catch EdgeStoreError.busy {
        if watch.met(now: ContinuousClock().now) != nil || !isReported {
          logger.warning(
            "attach \(path): the database is locked by \(LockHolders.text(of: path) ?? "another program"), and the agent waits for it; \(LockHolders.advice)"
          )
        }
        isReported = true
        try await Task.sleep(for: .milliseconds(200))
      }
    }
  }
}
