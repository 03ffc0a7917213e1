import ArgumentParser
import DroverCloud
import DroverConfiguration
import DroverCore
import DroverEvents
import DroverHTTP
import DroverMQTT
import DroverPostgreSQL
import DroverSQLite
import DroverServices
import Glibc
import Logging
import ServiceLifecycle
import Synchronization

struct CloudCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cloud",
    abstract: "Runs the cloud consumer: applies the events of the machines and confirms them.",
    discussion: """
      Example:
        drover cloud --config /etc/drover/cloud.yaml

      The consumer acknowledges and confirms a message only after its transaction is committed. An event that cannot
      be applied becomes a dead letter with its reason (`drover dead list`). SIGTERM ends the consumer after the work in
      hand. SIGKILL is safe, too.
      """)

  @OptionGroup var options: ConfigurationOption

  func run() async throws {
    let configuration = try options.cloud()
    let logger = makeLogger("drover cloud", level: configuration.logLevel)
    let hangups = await HangupWatch(logger: logger) { [options] in try options.cloud() }
    var waiting = StoreWaiting(configuration, logger)
    var opened: StorePlace?
    while opened == nil {
      do {
        let place = try StorePlace(configuration, logger)
        try place.keepFeed(configuration.changes, logger)
        opened = place
      } catch let error as PostgreSQLError where error.isAway {
        try await waiting.failed("\(error)", logger)
      } catch let error as CloudStoreError where error.isLocked {
        waiting.judgeLock()
        try await waiting.failed("\(error)", logger)
      } catch {
        throw fail("\(error)")
      }
    }
    let place = opened!
    await waiting.succeeded(place.name, logger)
    let consumer = Consumer(
      store: place.store,
      limits: .init(messageBytes: configuration.limits.messageBytes, machine: configuration.limits.machine),
      user: configuration.connection.credentials?.username, logger: logger, wallClock: wallClock)
    let member = configuration.group.map { ", number \(place.number) of the group \($0)" } ?? ""
    logger.info("cloud consumer: \(configuration.connection.broker) to \(place.name)\(member)")

    var options = MQTTOptions(configuration.connection)
    options.subscriptions = configuration.subscriptions
    if let group = configuration.group { options.clientID += "-\(group)-\(place.number)" }
    options.batchMessages = configuration.batch.messages
    options.batchBytes = configuration.batch.bytes
    let session = MosquittoSession(options: options, logger: logger)
    let fatal = FatalEnd()
    consumer.onFatal = { fatal.end(session, $0) }
    consumer.isNewcomer = place.isNewcomer
    if configuration.group != nil { consumer.noteName += "_\(place.number)" }
    consumer.isLeader = place.isLeader
    consumer.beat = place.beat
    let endpoints = WorklistEndpoints(configuration, isOurs: place.isLeader, logger: logger)
    consumer.answers = CloudAnswers(
      conflicts: ConflictAnswers(
        open: { [configuration] in try configuration.openConflicts(forChange: true) }, wake: { session.wake() }),
      comparisons: ComparisonAnswers(
        open: { [configuration] in try configuration.comparison($0) },
        channel: { [configuration] in MachineChannel(configuration.connection, name: "compare") },
        now: { wallClock() }, wake: { session.wake() }),
      orders: configuration.orderAnswers(fetch: endpoints.fetch) { session.wake() })
    consumer.worklists = configuration.worklists.isEmpty ? nil : configuration.worklists.map(\.plan.stream)
    let watch = EditWatch()
    let hint = consumer.editHint
    let changes = place.changes
    consumer.onDownStreams = { watch.keep(changes(hint, session)) }
    defer { withExtendedLifetime(watch) {} }
    let commits = CommitTries()
    consumer.onCommit = { commits.note($0) }
    let services = place.services(configuration, commits, endpoints, waiting.desk, logger)
    let (lock, others) = (place.lock, services + [hangups])
    do {
      try await serve(session, handler: consumer, others: others, logger: logger)
    } catch let error as HTTPServerError {
      throw fail("\(error)")
    }
    if let reason = fatal.reason { throw fail(reason) }
    withExtendedLifetime(lock) { logger.info("cloud consumer: stopped") }
  }
}

/// A consumer that is started while the store's server is away, or its file locked, waits for it, as one at work does.
private struct StoreWaiting {
  private static let backoff = Backoff(base: .milliseconds(500), cap: .seconds(10))
  private var attempts = 0
  /// A file's lock is told of while the consumer waits. The same desk goes on with what it has told when the store is there.
  let desk: AlertService?
  private let path: String?
  private var posting: Task<Void, Never>?
  private var lockedSince: Int64?

  init(_ configuration: CloudConfiguration, _ logger: Logger) {
    if case .sqlite(let path) = configuration.store {
      self.path = path
      desk = configuration.alertDesk(isLeader: { true }, logger: logger)
    } else {
      path = nil
      desk = nil
    }
  }

  mutating func judgeLock() {
    guard let desk, let path else { return }
    lockedSince = lockedSince ?? wallClock()
    var fleet = FleetSnapshot(
      at: wallClock(), report: nil, waiting: [],
      lock: StoreLock(holder: LockHolders.text(of: path) ?? "another program", since: lockedSince!),
      worker: Worker(process: getpid()), history: FleetHistory())
    fleet.isRead = false
    _ = try? desk.judge(fleet)
    posting = posting ?? Task { try? await desk.run() }
  }

  mutating func failed(_ cause: String, _ logger: Logger) async throws {
    attempts += 1
    // The 1st, 2nd, 4th, 8th … of them: a server that is away for a night must not fill the log.
    if attempts & (attempts - 1) == 0 {
      logger.warning(
        "wait for the store: \(cause); the consumer tries again until it answers; events wait at the machines")
    }
    try await Task.sleep(for: Self.backoff.delay(attempt: attempts, seed: .random(in: .min ... .max)))
  }

  func succeeded(_ name: String, _ logger: Logger) async {
    posting?.cancel()
    await posting?.value
    if attempts > 0 { logger.info("the store \(name) answers, after \(attempts) attempts") }
  }
}

/// Keeps what watches the store for edits, from the first stream that goes down.
private final class EditWatch: Sendable {
  private let watcher = Mutex<(any Sendable)?>(nil)

  func keep(_ watcher: (any Sendable)?) { self.watcher.withLock { $0 = watcher } }
}

/// The store that the configuration names, and what belongs to it.
private struct StorePlace {
  let store: any CloudStore
  /// The same.
  private let feed: any FeedStore
  /// As a person knows it.
  let name: String
  /// Of a group's consumer.
  let number: Int64
  let isNewcomer: Bool
  /// Writes the heartbeat for others; to be called on the thread that has the store.
  let beat: () -> Void
  /// Whether this consumer does what is done once for all machines.
  let isLeader: @Sendable () -> Bool
  /// Whether the consumer of this process moves.
  private let worker: @Sendable () -> Worker
  /// Keeps a second consumer away from an SQLite file; PostgreSQL's store has a lock in the database.
  let lock: AgentLock?
  private let path: String?
  /// Tells the consumer when another program may have edited rows, as long as the result is kept.
  let changes: @Sendable (NewsHint, MosquittoSession) -> (any Sendable)?

  init(_ configuration: CloudConfiguration, _ logger: Logger) throws {
    let limits = configuration.storeLimits
    switch configuration.store {
    case .sqlite(let path):
      let lock = try AgentLock(database: path)
      let store = try SQLiteCloudStore(path: path, limits: limits)
      store.onLock {
        lock.note(storeLock: $0)
        if let found = $0 {
          logger.warning("\(printable(found.text)); \(StoreLock.advice)")
        } else {
          logger.notice("the store is no longer locked, and all streams go on")
        }
      }
      (self.store, feed) = (store, store)
      name = path
      (number, isNewcomer) = (0, false)
      beat = { lock.beat("consumer") }
      isLeader = { true }
      worker = { AgentLock.worker(database: path) }
      self.lock = lock
      self.path = path
      changes = { hint, session in
        DatabaseWatcher(path: path) {
          hint.set()
          session.wake()
        }
      }
    case .postgresql(let server):
      let store = try PostgreSQLCloudStore(
        PostgreSQLAddress(server), limits: limits, work: configuration.group == nil ? .alone : .shared)
      changes = { hint, session in
        EditWatcher(PostgreSQLAddress(server)) {
          hint.set()
          session.wake()
        }
      }
      let pulse = Heartbeat()
      (self.store, feed) = (store, store)
      name = store.subject
      (number, isNewcomer) = (store.number, store.isNewcomer)
      beat = {
        store.beat()
        pulse.beat(isFirst: store.isFirst)
      }
      isLeader = { pulse.isFirst }
      worker = { pulse.worker }
      lock = nil
      path = nil
    }
  }

  func keepFeed(_ isWanted: Bool, _ logger: Logger) throws {
    switch try feed.keepFeed(isWanted) {
    case .none: break
    case .began(let rows): logger.info("change feed: begins; \(quantity(rows, "row")) numbered")
    case .newEra:
      logger.warning(
        "change feed: the store went back, or the file \(name)-drover.feed belongs to another store; programs that follow the feed must begin again"
      )
    case .ended: logger.info("change feed: ends, because the configuration has no `changes: true`")
    }
  }

  /// What runs beside the consumer.
  /// - Parameter desk: reports alerts; nil before the first one.
  func services(
    _ configuration: CloudConfiguration, _ commits: CommitTries, _ endpoints: WorklistEndpoints,
    _ desk: AlertService?, _ logger: Logger
  ) -> [any Service] {
    let checks = configuration.check.map {
      RegularCheck(
        every: $0.every, repairs: $0.repairs, openReplica: configuration.openReplica,
        channel: { MachineChannel(configuration.connection, name: "check") }, isOurs: isLeader, logger: logger)
    }
    let gaps = GapCheck(
      openReplica: configuration.openReplica,
      channel: { MachineChannel(configuration.connection, name: "gap") }, isOurs: isLeader, logger: logger)
    let all: [(any Service)?] = [
      checks, gaps, backups(configuration, logger), configuration.orderSettling(isOurs: isLeader, logger: logger),
    ]
    return all.compactMap(\.self) + endpoints.services
      + configuration.onlookers(
        worker: worker, desk: desk ?? configuration.alertDesk(isLeader: isLeader, logger: logger), commits: commits,
        board: endpoints.board, logger: logger)
  }

  /// Of an SQLite file.
  private func backups(_ configuration: CloudConfiguration, _ logger: Logger) -> RegularBackup? {
    guard let path, let lock else { return nil }
    return RegularBackup(path, configuration.backup, beat: { lock.beat("backup") }, logger: logger)
  }
}

/// The heartbeat of this process' own consumer, where no file beside the store has it.
private final class Heartbeat: Sendable {
  private let last = Mutex((at: ContinuousClock.now, isFirst: false))

  func beat(isFirst: Bool) { last.withLock { $0 = (.now, isFirst) } }

  var isFirst: Bool { last.withLock(\.isFirst) }

  var worker: Worker {
    let silence = last.withLock(\.at).duration(to: .now)
    return Worker(
      process: getpid(), stuck: silence > AgentLock.patience ? [.init(name: "consumer", silence: silence)] : [])
  }
}
