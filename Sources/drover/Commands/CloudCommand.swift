import ArgumentParser
import DroverCloud
import DroverConfiguration
import DroverCore
import DroverMQTT
import DroverSQLite
import Logging
import ServiceLifecycle

struct CloudCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cloud",
    abstract: "Runs the cloud consumer: applies what the machines send, and confirms it.",
    discussion: """
      Example:
        drover cloud --config /etc/drover/cloud.yaml

      A message is acknowledged and confirmed only after its transaction is committed. What cannot be applied is
      a dead letter with its reason (`drover dead list`). SIGTERM drains and ends it; SIGKILL is safe.
      """)

  @OptionGroup var options: ConfigurationOption

  func run() async throws {
    let configuration = try options.cloud()
    let logger = makeLogger("drover cloud", level: configuration.logLevel)
    guard case .sqlite(let path) = configuration.store else { throw Exit.configuration }
    let lock: AgentLock
    let consumer: Consumer
    do {
      lock = try AgentLock(database: path)
      let store = try SQLiteCloudStore(
        path: path,
        limits: .init(
          streamsPerMachine: configuration.limits.streamsPerMachine,
          columnsPerTable: configuration.limits.columnsPerTable, deadLetters: configuration.deadLetters))
      consumer = Consumer(
        store: store, limits: .init(messageBytes: configuration.limits.messageBytes),
        user: configuration.connection.credentials?.username, logger: logger,
        wallClock: wallClock)
    } catch {
      throw fail("\(error)")
    }
    logger.info("cloud consumer: \(configuration.connection.broker) to \(path)")

    var options = MQTTOptions(configuration.connection)
    options.subscriptions = [Subscription(filter: Topic.everything, noLocal: true)]
    options.batchMessages = configuration.batch.messages
    options.batchBytes = configuration.batch.bytes
    let session = MosquittoSession(options: options, logger: logger)
    let fatal = FatalEnd()
    consumer.onFatal = { fatal.end(session, $0) }
    consumer.beat = { lock.beat("consumer") }
    let checks = configuration.check.map {
      RegularCheck(configuration: configuration, check: $0, path: path, logger: logger)
    }
    let backups = RegularBackup(
      database: path, plan: configuration.backup, beat: { lock.beat("backup") }, logger: logger)
    let others: [(any Service)?] = [checks, backups]
    try await serve(session, handler: consumer, others: others.compactMap(\.self), logger: logger)
    if let reason = fatal.reason { throw fail(reason) }
    withExtendedLifetime(lock) { logger.info("cloud consumer: stopped") }
  }
}
