// Where the rooms are joined: configuration to options, adapters to services. Nothing else knows all of them.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverMQTT
import DroverPostgreSQL
import DroverSQLite
import Foundation
import Logging
import ServiceLifecycle
import Synchronization
import UnixSignals

enum Exit {
  /// The configuration is wrong; nothing was begun. (EX_CONFIG of sysexits.h)
  static let configuration = ExitCode(78)
}

/// Prints what went wrong, and ends the command.
func fail(_ message: String, _ code: ExitCode = .failure) -> ExitCode {
  FileHandle.standardError.write(Data("drover: \(message)\n".utf8))
  return code
}

extension ConfigurationOption {
  func edge() throws -> EdgeConfiguration {
    try loading(loadEdge)
  }

  func loadEdge() throws(ConfigurationErrors) -> EdgeConfiguration {
    try EdgeConfiguration.load(
      path: config, environment: ProcessInfo.processInfo.environment, query: machineNameQuery)
  }

  func cloud() throws -> CloudConfiguration {
    try loading { () throws(ConfigurationErrors) in
      try CloudConfiguration.load(path: config, environment: ProcessInfo.processInfo.environment)
    }
  }

  func any() throws -> AnyConfiguration {
    try loading { () throws(ConfigurationErrors) in
      try AnyConfiguration.load(
        path: config, environment: ProcessInfo.processInfo.environment, query: machineNameQuery)
    }
  }

  private func loading<Loaded>(_ load: () throws(ConfigurationErrors) -> Loaded) throws -> Loaded {
    do throws(ConfigurationErrors) {
      return try load()
    } catch {
      throw refuse(error)
    }
  }

  /// Prints what is wrong with the file, and ends the command.
  func refuse(_ errors: ConfigurationErrors) -> ExitCode {
    FileHandle.standardError.write(Data("\(errors)\n".utf8))
    return Exit.configuration
  }
}

extension CloudConfiguration {
  /// Where the SQLite store is; ends a command that is for no other.
  /// - Parameter advice: what to do with a PostgreSQL store.
  func sqlitePath(for command: String, orElse advice: String) throws -> String {
    guard case .sqlite(let path) = store else {
      throw fail("\(command): this is for SQLite stores; \(advice)", Exit.configuration)
    }
    return path
  }

  /// What the consumer hears. No member of a group may have all events to itself, and each has to hear what machines say of themselves.
  var subscriptions: [Subscription] { subscriptions(machine: "+") }

  /// What a visitor asks for who only wants to know whether it would be given: of a group's share nothing, for no machine has that name.
  var trialSubscriptions: [Subscription] { subscriptions(machine: MQTTOptions.passing) }

  private func subscriptions(machine: String) -> [Subscription] {
    guard let group else { return [Subscription(filter: Topic.everything, noLocal: true)] }
    return (Topic.documentFilters + Topic.sharedFilters(of: group, machine: machine)).map { Subscription(filter: $0) }
  }

  /// Looks into the store.
  var reader: any CloudReader {
    switch store {
    case .sqlite(let path): SQLiteCloudReader(path: path)
    case .postgresql(let server): PostgreSQLCloudReader(PostgreSQLAddress(server))
    }
  }

  /// - Parameter forChange: a conflict is going to be resolved.
  func openConflicts(forChange: Bool = false) throws -> any ConflictStore {
    switch store {
    case .sqlite(let path): try SQLiteConflicts(path: path, readOnly: !forChange)
    case .postgresql(let server): try PostgreSQLConflicts(PostgreSQLAddress(server))
    }
  }

  /// Looks at single rows, and edits those that go down.
  var rowEditor: any RowEditor {
    switch store {
    case .sqlite(let path): SQLiteRowEditor(path: path)
    case .postgresql(let server): PostgreSQLRowEditor(PostgreSQLAddress(server))
    }
  }

  /// Looks into the changes of the store.
  var changeReader: any ChangeReader {
    switch store {
    case .sqlite(let path): SQLiteChangeReader(path: path)
    case .postgresql(let server): PostgreSQLChangeReader(PostgreSQLAddress(server))
    }
  }

  /// Where the consumer keeps what it sent.
  var alertMemory: any AlertMemory { memory("alerts") }

  /// Where it keeps how the endpoints of worklists do.
  var endpointMemory: any AlertMemory { memory("endpoints") }

  private func memory(_ name: String) -> any AlertMemory {
    switch store {
    case .sqlite(let path): SQLiteAlertMemory(path: path, name: name)
    case .postgresql(let server): PostgreSQLAlertMemory(PostgreSQLAddress(server), name: name)
    }
  }

  /// The store beside the consumer. It is made where there is none.
  func openStore() throws -> any CloudStore {
    switch store {
    case .sqlite(let path): try SQLiteCloudStore(path: path, limits: storeLimits)
    case .postgresql(let server): try PostgreSQLCloudStore(PostgreSQLAddress(server), limits: storeLimits)
    }
  }

  /// What machines may do in the store.
  var storeLimits: CloudStoreLimits {
    CloudStoreLimits(
      streamsPerMachine: limits.streamsPerMachine, columnsPerTable: limits.columnsPerTable,
      columnsPerMachine: limits.columnsPerMachine, deadLetters: deadLetters, machine: limits.machine,
      pins: StreamPins(streams, protectsAll: protects), conflicts: conflicts)
  }

  /// What the store's user may not do and the consumer needs.
  func storeRights() throws -> [StoreRights.Lack] {
    switch store {
    case .sqlite: []
    case .postgresql(let server): try StoreRights.lacking(at: PostgreSQLAddress(server))
    }
  }

  /// The replica for a comparison, beside the consumer and on a connection of its own.
  func openReplica() throws -> any Replica {
    switch store {
    case .sqlite(let path): try SQLiteReplica(path: path)
    case .postgresql(let server): try PostgreSQLReplica(PostgreSQLAddress(server))
    }
  }

  /// The dead letters, beside the consumer and on a connection of their own.
  /// - Parameter readOnly: they are only looked at.
  func openDeadLetters(readOnly: Bool = false) throws -> any CloudDeadLetterStore {
    switch store {
    case .sqlite(let path): try CloudDeadLetters(path: path, readOnly: readOnly)
    case .postgresql(let server): try PostgreSQLDeadLetters(PostgreSQLAddress(server))
    }
  }
}

extension PostgreSQLAddress {
  init(_ server: DatabaseServer) { self.init(uri: server.uri, password: server.password) }
}

extension MQTTOptions {
  init(_ connection: BrokerConnection) {
    self.init(
      host: connection.broker.host, port: connection.broker.port, clientID: connection.clientID,
      username: connection.credentials?.username, password: connection.credentials?.password.map(Secret.init),
      tls: connection.tls.map {
        TLSOptions(caFile: $0.ca, certificateFile: $0.identity?.certificate, keyFile: $0.identity?.key)
      },
      keepAlive: connection.keepAlive, sessionExpiry: connection.sessionExpiry)
  }

  /// What tells the client ID of a short-lived command from every other client's, on whatever host.
  static var passing: String { Epoch(random: .random(in: .min ... .max)).text }
}

/// Wall clock, microseconds since 1970.
func wallClock() -> Int64 { SQLiteCloudStore.wallClock() }

/// The libraries that log for themselves write lines as Drover does. A process may say so once.
private let loggingIsSetUp: Void = LoggingSystem.bootstrap { label in LineLogHandler(label: label) }

func makeLogger(_ label: String, level: LogLevel) -> Logger {
  loggingIsSetUp
  var logger = Logger(label: label)
  logger.logLevel = Logger.Level(rawValue: level.rawValue)!
  return logger
}

/// Why a service had to end by itself; set on its thread, read when it has ended.
final class FatalEnd: Sendable {
  private let text = Mutex<String?>(nil)
  var reason: String? { text.withLock { $0 } }

  /// Ends the session for a reason. The first one counts.
  func end(_ session: MosquittoSession, _ reason: String) {
    text.withLock { $0 = $0 ?? reason }
    session.stop()
  }
}

/// Runs a session until SIGTERM or SIGINT, which drain it; a second signal ends the process at once.
/// - Parameters:
///   - others: what runs beside it, and ends with it.
///   - errand: what it runs for, if it ends with that.
func serve(
  _ session: MosquittoSession, handler: sending any SessionHandler, others: [any Service] = [],
  errand: (any Service)? = nil, logger: Logger
) async throws {
  let service = SessionService(session: session, handler: handler)
  let group = ServiceGroup(
    configuration: .init(
      services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)]
        + [errand].compactMap(\.self).map { .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup) }
        + others.map { .init(service: $0) },
      gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet(logger)))
  try await group.run()
}

/// The library's own lines say how services start and stop, which is its business.
private func quiet(_ logger: Logger) -> Logger {
  var logger = logger
  logger.logLevel = .error
  return logger
}

/// A session as a service of the group.
private struct SessionService: Service {
  let session: MosquittoSession
  private let handler: Handler

  init(session: MosquittoSession, handler: sending any SessionHandler) {
    self.session = session
    self.handler = Handler(handler)
  }

  func run() async throws {
    await withGracefulShutdownHandler {
      await session.run(handler: handler.take())
    } onGracefulShutdown: {
      session.stop()
    }
  }

  /// Hands the handler on once; from then on it belongs to the session's thread.
  private final class Handler: @unchecked Sendable {
    private var handler: (any SessionHandler)?
    init(_ handler: sending any SessionHandler) { self.handler = handler }
    func take() -> sending any SessionHandler {
      defer { handler = nil }
      nonisolated(unsafe) let taken = handler!
      return taken
    }
  }
}
