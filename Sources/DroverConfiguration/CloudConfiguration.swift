// The cloud consumer's configuration file, read from top to bottom as docs/configuration.md lists it.

package import DroverCore

/// What a consumer in the cloud needs to know.
package struct CloudConfiguration: Equatable, Sendable {
  /// Where the replica is kept.
  package enum Store: Equatable, Sendable {
    /// An SQLite database at a resolved path.
    case sqlite(path: String)
    case postgresql(DatabaseServer)
  }

  /// The most that one transaction takes.
  package struct Batch: Equatable, Sendable {
    package let messages: Int
    package let bytes: Int

    package init(messages: Int, bytes: Int) {
      self.messages = messages
      self.bytes = bytes
    }
  }

  /// What a machine may ask for.
  package struct Limits: Equatable, Sendable {
    /// The largest MQTT message that is applied.
    package let messageBytes: Int
    package let streamsPerMachine: Int
    package let columnsPerTable: Int
    /// How many columns it may add to a table that other machines use too.
    package let columnsPerMachine: Int
    /// What one machine may use of the consumer and leave in the store.
    package private(set) var machine: MachineLimits

    package init(
      messageBytes: Int, streamsPerMachine: Int, columnsPerTable: Int, columnsPerMachine: Int = 100,
      machine: MachineLimits = MachineLimits()
    ) {
      self.columnsPerMachine = columnsPerMachine
      self.machine = machine
      self.machine.streams = streamsPerMachine
      self.messageBytes = messageBytes
      self.streamsPerMachine = streamsPerMachine
      self.columnsPerTable = columnsPerTable
    }
  }

  /// How the replica is regularly compared with its sources.
  package struct Check: Equatable, Sendable {
    package let every: Duration
    /// Whether rows that differ are sent again.
    package let repairs: Bool

    package init(every: Duration, repairs: Bool) {
      self.every = every
      self.repairs = repairs
    }
  }

  package let connection: BrokerConnection
  package let store: Store
  /// The name of the consumers that share the work; nil: there is one alone.
  package let group: String?
  package let logLevel: LogLevel
  package let batch: Batch
  package let limits: Limits
  /// nil: only on request.
  package let check: Check?
  package let deadLetters: DeadLetterBounds
  package let conflicts: ConflictBounds
  package let backup: BackupPlan
  /// nil: no server.
  package let http: HTTPConfiguration?
  /// Whether the store keeps a change feed.
  package let changes: Bool
  /// Whether edits in SQL of rows that only go up are refused.
  package let protects: Bool
  /// nil: no alerts.
  package let alerts: AlertsConfiguration?
  /// What holds for all machines.
  package let streams: [StreamPin]
  /// The queues of orders.
  package let worklists: [WorklistConfiguration]

  package init(
    connection: BrokerConnection, store: Store, group: String? = nil, logLevel: LogLevel = .info,
    batch: Batch = Batch(messages: 1000, bytes: 4 << 20),
    limits: Limits = Limits(messageBytes: 4 << 20, streamsPerMachine: 200, columnsPerTable: 1000),
    deadLetters: DeadLetterBounds = DeadLetterBounds(maxCount: 100_000, maxBytes: 1 << 30), check: Check? = nil,
    conflicts: ConflictBounds = ConflictBounds(), backup: BackupPlan, http: HTTPConfiguration? = nil,
    changes: Bool = false, protects: Bool = false, alerts: AlertsConfiguration? = nil,
    streams: [StreamPin] = [], worklists: [WorklistConfiguration] = []
  ) {
    self.worklists = worklists
    self.streams = streams
    self.conflicts = conflicts
    self.alerts = alerts
    self.http = http
    self.changes = changes
    self.protects = protects
    self.deadLetters = deadLetters
    self.connection = connection
    self.store = store
    self.group = group
    self.logLevel = logLevel
    self.batch = batch
    self.limits = limits
    self.check = check
    self.backup = backup
  }

  /// Reads the file at `path`; relative paths in it are relative to its folder.
  package static func load(
    path: String, environment: [String: String]
  ) throws(ConfigurationErrors) -> CloudConfiguration {
    let file = try ConfigurationFile(path: path)
    return try parse(yaml: file.text, file: path, folder: file.folder, environment: environment)
  }

  /// Reads text as if it came from `file` in `folder`. The files that it names are read from there.
  package static func parse(
    yaml: String, file: String, folder: String, environment: [String: String]
  ) throws(ConfigurationErrors) -> CloudConfiguration {
    let reader = ConfigurationReader(file: file, folder: folder, environment: environment)
    let document = try reader.document(yaml)
    if !document.isGiven("store"), AnyConfiguration.side(of: document) == .edge {
      throw reader.failure(
        "this is a machine's file, which has `machine`, `database` and `streams`: `drover edge` and the machine's commands take it. A cloud's has `store`"
      )
    }
    return try reader.finish(CloudConfiguration(reading: document))
  }
}

extension CloudConfiguration {
  /// Reads all keys. Nil after a problem with one that has no default.
  init?(reading file: Section) {
    let group = file.optional("group", .group)
    let connection = BrokerConnection(
      reading: file, defaultClientID: "drover-cloud",
      defaultSessionExpiry: group == nil ? BrokerConnection.usualSessionExpiry : Self.sessionExpiryInGroup)
    let store = Store(reading: file)
    let logLevel = LogLevel(reading: file)
    let (batch, limits) = Self.bounds(reading: file)
    let (checkKeys, backupKeys) = (file.section("check"), file.section("backup"))
    let check = Self.check(reading: checkKeys)
    let backup = BackupPlan(reading: backupKeys)
    let http = HTTPConfiguration(reading: file)
    let changes = file.optional("changes", .yesOrNo, default: false)
    let protects = file.optional("protect", .yesOrNo, default: false)
    let alerts = AlertsConfiguration(reading: file)
    let streams = StreamPin.list(reading: file)
    let worklists = WorklistConfiguration.list(reading: file)
    let conflictKeys = file.section("conflicts")
    let conflicts = ConflictBounds(
      maxCount: conflictKeys.optional("max_count", .integer(2...100_000), default: ConflictBounds().maxCount),
      maxBytes: conflictKeys.optional("max_bytes", .size(1 << 20...1 << 44), default: ConflictBounds().maxBytes))
    let letterKeys = file.section("dead_letters")
    let deadLetters = DeadLetterBounds(reading: letterKeys, count: 100_000, bytes: 1 << 30)
    // A machine's letters take half of the room, and the largest message has to find a place there.
    let least = 2 * limits.messageBytes + 1 << 20
    if deadLetters.maxBytes < least {
      letterKeys.report(
        "expected at least \(sizeText(least)), so that half of it holds a message: limits.message_bytes is \(sizeText(limits.messageBytes))",
        at: "max_bytes")
    }

    guard let connection, let store, let streams, let worklists else { return nil }
    if case .postgresql = store, backup.every != nil {
      backupKeys.report("is for SQLite stores; pg_dump makes a PostgreSQL database's", at: "every")
    }
    if case .sqlite = store, group != nil {
      file.report("needs a PostgreSQL store: an SQLite file has one consumer", at: "group")
    }
    self.init(
      connection: connection, store: store, group: group, logLevel: logLevel, batch: batch, limits: limits,
      deadLetters: deadLetters, check: check, conflicts: conflicts, backup: backup, http: http, changes: changes,
      protects: protects,
      alerts: alerts,
      streams: streams, worklists: worklists)
  }

  /// What the broker holds for a consumer that does not come back is sent again by the machines; this is how long more goes there meanwhile.
  private static let sessionExpiryInGroup = Duration.seconds(30)

  private static func check(reading keys: Section) -> Check? {
    let every = keys.optional("every", .seconds(.seconds(5) ... .seconds(31_536_000)))
    let repairs = keys.optional("repair", .yesOrNo, default: false)
    if every == nil, keys.isGiven("repair") { keys.report("needs check.every beside it", at: "repair") }
    return every.map { Check(every: $0, repairs: repairs) }
  }

  /// `batch` and `limits`. A transaction that does not hold the largest message could never apply it.
  private static func bounds(reading file: Section) -> (Batch, Limits) {
    let (batchKeys, limitKeys) = (file.section("batch"), file.section("limits"))
    let batch = Batch(
      messages: batchKeys.optional("messages", .integer(1...100_000), default: 1000),
      bytes: batchKeys.optional("bytes", .size(1 << 10...1 << 30), default: 4 << 20))
    let limits = Limits(
      messageBytes: limitKeys.optional("message_bytes", .size(1 << 10...64 << 20), default: 4 << 20),
      streamsPerMachine: limitKeys.optional("streams_per_machine", .integer(1...10_000), default: 200),
      // SQLite takes 2,000 columns unless it is built otherwise, and some are Drover's.
      columnsPerTable: limitKeys.optional("columns_per_table", .integer(1...1900), default: 1000),
      columnsPerMachine: limitKeys.optional("columns_per_machine", .integer(0...1900), default: 100),
      machine: MachineLimits(reading: limitKeys))
    if batch.bytes < limits.messageBytes {
      let message =
        "expected a batch that holds at least one message: batch.bytes is \(sizeText(batch.bytes)), "
        + "limits.message_bytes is \(sizeText(limits.messageBytes))"
      if batchKeys.isGiven("bytes") {
        batchKeys.report(message, at: "bytes")
      } else {
        limitKeys.report(message, at: "message_bytes")
      }
    }
    return (batch, limits)
  }
}

extension Form where Value == String {
  /// A part of a topic filter and of a client ID.
  fileprivate static var group: Form {
    Form("a name of 1 to 64 letters, digits, '.', '_' and '-' that begins with a letter or a digit") { text in
      (try? MachineID(text))?.text
    }
  }
}
