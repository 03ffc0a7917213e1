// The edge's configuration file, read from top to bottom as docs/configuration.md lists it.

package import DroverCore

/// What an edge agent needs to know.
package struct EdgeConfiguration: Equatable, Sendable {
  /// How much that is confirmed stays in the outbox, for a cloud that loses it.
  package struct Retention: Equatable, Sendable {
    package let age: Duration
    /// Of each stream.
    package let bytes: Int

    package init(age: Duration, bytes: Int) {
      self.age = age
      self.bytes = bytes
    }
  }

  /// What the outbox may take.
  package struct Outbox: Equatable, Sendable {
    package let quota: OutboxQuota
    package let retention: Retention

    package init(quota: OutboxQuota, retention: Retention) {
      self.quota = quota
      self.retention = retention
    }

    package static let standard = Outbox(
      quota: OutboxQuota(maxBytes: 1 << 30, minFreeBytes: 64 << 20, minFreeInodes: 1000),
      retention: Retention(age: .seconds(86_400), bytes: 64 << 20))
  }

  package let machine: MachineID
  /// Where the name comes from; nil where the file has it.
  package let naming: MachineNaming?
  /// The resolved path of the machine's SQLite database.
  package let database: String
  package let connection: BrokerConnection
  package let logLevel: LogLevel
  /// The most that may be sent and not confirmed yet.
  package let window: EventLimit
  /// What one MQTT message may carry.
  package let frame: EventLimit
  package let compression: Compression
  /// How often the outbox is reported to the cloud while it changes.
  package let statusEvery: Duration
  package let outbox: Outbox
  package let deadLetters: DeadLetterBounds
  package let backup: BackupPlan
  /// nil: no server.
  package let http: HTTPConfiguration?
  /// At least one.
  package let streams: [StreamDeclaration]

  package init(
    machine: MachineID, naming: MachineNaming? = nil, database: String, connection: BrokerConnection,
    logLevel: LogLevel = .info,
    window: EventLimit = RelayLimits().window, frame: EventLimit = RelayLimits().frame,
    compression: Compression = RelayLimits().compression,
    statusEvery: Duration = RelayLimits().reporting.reportInterval,
    outbox: Outbox = .standard,
    deadLetters: DeadLetterBounds = DeadLetterBounds(maxCount: 10_000, maxBytes: 256 << 20),
    backup: BackupPlan, http: HTTPConfiguration? = nil, streams: [StreamDeclaration]
  ) {
    self.http = http
    self.machine = machine
    self.naming = naming
    self.database = database
    self.connection = connection
    self.logLevel = logLevel
    self.window = window
    self.frame = frame
    self.compression = compression
    self.statusEvery = statusEvery
    self.outbox = outbox
    self.deadLetters = deadLetters
    self.backup = backup
    self.streams = streams
  }

  /// Reads the file at `path`; relative paths in it are relative to its folder.
  /// - Parameter query: for a machine whose name is in its database.
  package static func load(
    path: String, environment: [String: String], query: MachineNaming.Query? = nil
  ) throws(ConfigurationErrors) -> EdgeConfiguration {
    let file = try ConfigurationFile(path: path)
    return try parse(yaml: file.text, file: path, folder: file.folder, environment: environment, query: query)
  }

  /// Reads text as if it came from `file` in `folder`. The files that it names are read from there.
  package static func parse(
    yaml: String, file: String, folder: String, environment: [String: String], query: MachineNaming.Query? = nil
  ) throws(ConfigurationErrors) -> EdgeConfiguration {
    let reader = ConfigurationReader(file: file, folder: folder, environment: environment)
    let document = try reader.document(yaml)
    if AnyConfiguration.side(of: document) == .cloud {
      throw reader.failure(
        "this is a cloud's file, which has `store`: `drover cloud` and the cloud's commands take it. A machine's has `machine`, `database` and `streams`"
      )
    }
    return try reader.finish(EdgeConfiguration(reading: document, query: query))
  }
}

extension EdgeConfiguration {
  /// Reads all keys. Nil after a problem with one that has no default.
  init?(reading file: Section, query: MachineNaming.Query? = nil) {
    let given = file.isSection("machine") ? nil : file.required("machine", .machine, example: "MAH001")
    let database = file.required("database", .path(in: file.folder), example: "./app.db")
    let (found, naming) = Self.machine(reading: file, database: database, query: query)
    let machine = given ?? found
    let connection = BrokerConnection(reading: file, defaultClientID: "drover-edge-\(machine?.text ?? "")")
    let logLevel = LogLevel(reading: file)
    let (window, frame) = Self.limits(reading: file)
    let compression = file.optional("compression", .oneOf, default: RelayLimits().compression)
    let statusEvery = file.optional(
      "status_every", .seconds(.seconds(1) ... .seconds(86_400)), default: RelayLimits().reporting.reportInterval)
    let outbox = Self.outbox(reading: file)
    let deadLetters = DeadLetterBounds(reading: file.section("dead_letters"), count: 10_000, bytes: 256 << 20)
    let backup = BackupPlan(reading: file.section("backup"))
    let http = HTTPConfiguration(reading: file)
    let streams = StreamDeclaration.list(reading: file, window: window, frame: frame)

    guard let machine, let database, let connection, let streams else { return nil }
    self.init(
      machine: machine, naming: naming, database: database, connection: connection, logLevel: logLevel, window: window,
      frame: frame,
      compression: compression, statusEvery: statusEvery, outbox: outbox, deadLetters: deadLetters, backup: backup,
      http: http, streams: streams)
  }

  /// `machine` as keys, which say where the name is; nothing where it is a name itself.
  private static func machine(
    reading file: Section, database: String?, query: MachineNaming.Query?
  ) -> (MachineID?, MachineNaming?) {
    guard file.isSection("machine") else { return (nil, nil) }
    let keys = file.section("machine")
    guard let naming = MachineNaming(reading: keys), let database else { return (nil, nil) }
    let (name, why) = naming.resolve(database: database, environment: file.environment, query: query)
    if name == nil {
      keys.reportNoName("the machine has no name yet: \(why.joined(separator: "; ")); the agent waits for one")
    }
    return (name, naming)
  }

  private static func outbox(reading file: Section) -> Outbox {
    let keys = file.section("outbox")
    let quota = OutboxQuota(
      maxBytes: Int64(keys.optional("max_bytes", .size(1 << 20...1 << 44), default: 1 << 30)),
      minFreeBytes: Int64(keys.optional("min_free_bytes", .size(0...1 << 44), default: 64 << 20)),
      minFreeInodes: Int64(keys.optional("min_free_inodes", .integer(0...1_000_000_000), default: 1000)))
    let retained = keys.section("retention")
    return Outbox(
      quota: quota,
      retention: Retention(
        age: retained.optional("age", .seconds(.zero ... .seconds(3650 * 86_400)), default: .seconds(86_400)),
        bytes: retained.optional("bytes", .size(0...1 << 40), default: 64 << 20)))
  }

  /// `window` and `frame`.
  private static func limits(reading file: Section) -> (window: EventLimit, frame: EventLimit) {
    let keys = file.section("window")
    let window = EventLimit(
      events: keys.optional("events", .integer(1...10_000_000), default: RelayLimits().window.events),
      bytes: keys.optional("bytes", .size(1 << 10...1 << 30), default: RelayLimits().window.bytes))
    return (window, frame(reading: file, otherwise: RelayLimits().frame, in: window, windowKeys: keys))
  }

  /// `frame`, of the file or of one stream. A window that does not hold one frame could never send it.
  /// - Parameter windowKeys: where the window stands, if it is to be named as the mistake where it is given.
  static func frame(
    reading section: Section, otherwise standard: EventLimit, in window: EventLimit, windowKeys: Section? = nil
  ) -> EventLimit {
    let keys = section.section("frame")
    let frame = EventLimit(
      events: keys.optional("events", .integer(1...10_000), default: standard.events),
      bytes: keys.optional("bytes", .size(1 << 10...64 << 20), default: standard.bytes))
    func report(_ key: String, _ most: String, _ needed: String) {
      let message =
        "expected a window that holds at least one frame: window.\(key) is \(most), \(keys.path).\(key) is \(needed)"
      // What a stream has from the file's `frame` is reported there.
      if let windowKeys {
        (windowKeys.isGiven(key) ? windowKeys : keys).report(message, at: key)
      } else if keys.isGiven(key) {
        keys.report(message, at: key)
      }
    }
    if window.events < frame.events { report("events", "\(window.events)", "\(frame.events)") }
    if window.bytes < frame.bytes { report("bytes", sizeText(window.bytes), sizeText(frame.bytes)) }
    return frame
  }
}
