// The streams of a machine. A stream with a table is captured from it; a stream without one is fed by hand. Names and
// tables are compared as SQLite compares them, without the case of ASCII letters, because in the cloud each stream
// becomes a table.

internal import DroverCore

extension StreamDeclaration {
  /// Reads `streams`. Nil after a problem.
  /// - Parameters:
  ///   - window: what holds at least one frame of each.
  ///   - frame: what the frames carry of streams that say nothing of it.
  static func list(reading file: Section, window: EventLimit, frame: EventLimit) -> [StreamDeclaration]? {
    let hashKey = HashKey(reading: file)
    // A key that could not be read has been reported already.
    let hasHashKey = file.isGiven("hash_key_file") || file.isGiven("hash_key_env")
    let sections = file.sections("streams", example: "[{table: local_stock_snapshots, kind: snapshot}]")
    let streams = sections.map { stream in
      var declaration = StreamDeclaration(reading: stream, hasHashKey: hasHashKey, window: window, frame: frame)
      declaration?.selection.hashKey = hashKey
      return declaration
    }
    reportTwins(Array(zip(sections, streams)))
    let complete = streams.compactMap(\.self)
    return sections.isEmpty || complete.count < streams.count ? nil : complete
  }

  private init?(reading stream: Section, hasHashKey: Bool, window: EventLimit, frame: EventLimit) {
    // Read every key, also after a problem: a key that is not read is reported as unknown.
    let column = Form<String>.text("a column's name", maximumBytes: 128)
    let table = stream.optional("table", .table)
    let kind = stream.required("kind", Form<Kind>.oneOf, example: "snapshot")
    let syncedColumn = stream.optional("synced_column", column)
    let completeWhen = stream.optional("complete_when", .condition)
    let with = LinesDeclaration.list(reading: stream)
    let selection = Selection(reading: stream, hasHashKey: hasHashKey)
    let naturalKey = NaturalKey(reading: stream, kind: kind, hasTable: stream.isGiven("table"))
    let key = stream.list("key", column, takesOne: true)
    let timeColumn = stream.optional("time_column", column)
    let firesAppTriggers = stream.optional("app_triggers", Form<Switch>.oneOf, default: .off) == .on
    let name = stream.optional("name", .streamName)
    let flow = Flow(
      reading: stream, name?.text ?? table, kind: kind, key: stream.isGiven("key") ? key : nil,
      syncedColumn: syncedColumn)
    let worklist = WorklistDeclaration(
      reading: stream, kind: kind, direction: flow.direction, key: stream.isGiven("key") ? key : nil,
      syncedColumn: syncedColumn)
    let ownFrame = EdgeConfiguration.frame(reading: stream, otherwise: frame, in: window)
    Self.reportMisplaced(stream, kind)
    guard let kind, let with, let name = name ?? Self.name(of: table, stream) else { return nil }

    self.init(name: name, kind: kind, table: table)
    self.syncedColumn = syncedColumn
    self.completeWhen = completeWhen
    self.with = with
    self.selection = selection
    self.naturalKey = naturalKey
    if stream.isGiven("key") { self.key = key }
    self.timeColumn = timeColumn
    self.flow = flow
    self.firesAppTriggers = firesAppTriggers
    self.worklist = worklist
    if stream.isGiven("frame") { self.frame = ownFrame }
  }

  /// Reports the keys that say nothing of a stream of this kind.
  private static func reportMisplaced(_ stream: Section, _ kind: Kind?) {
    if stream.isGiven("synced_column"), !stream.isGiven("table") {
      stream.report("a stream without a `table` has no column to set", at: "synced_column")
    }
    if stream.isGiven("time_column"), !stream.isGiven("table") {
      stream.report("a stream without a `table` has no column with a row's time", at: "time_column")
    }
    if stream.isGiven("key"), !stream.isGiven("table") {
      stream.report("a stream without a `table` has no columns to know its events by; they have IDs", at: "key")
    }
    let isBatch = stream.isGiven("table") && (kind == nil || kind == .batch)
    if stream.isGiven("complete_when"), !isBatch {
      stream.report("only a stream of kind batch with a `table` can be complete", at: "complete_when")
    }
    if stream.isGiven("with"), !isBatch {
      stream.report("only a stream of kind batch with a `table` has lines", at: "with")
    }
    if !stream.isGiven("name"), !stream.isGiven("table") {
      stream.report("a stream has a `table` to be captured or a `name` to be fed by; add for example `table: sales`")
    }
  }

  /// The stream's name where only the table's is given.
  private static func name(of table: String?, _ stream: Section) -> StreamName? {
    guard let table, !stream.isGiven("name") else { return nil }
    do {
      return try StreamName(table)
    } catch {
      stream.report("\(error.message); so this table's stream needs a `name` of its own", at: "table")
      return nil
    }
  }

  /// Reports each stream that has the table or the name of one before it.
  private static func reportTwins(_ streams: [(keys: Section, stream: StreamDeclaration?)]) {
    var tables: [SQLName: String] = [:]
    var names: [SQLName: String] = [:]
    for case (let keys, let stream?) in streams {
      let table = stream.table.map(SQLName.init)
      let name = SQLName(stream.name.text)
      if let table, let owner = tables[table] {
        keys.report("\(owner) has this table already, as SQLite compares names", at: "table")
      } else if let owner = names[name] {
        keys.report(
          "\(owner) has the name \(quoted(stream.name.text)) already, as SQLite compares names; "
            + "give one of them another `name`",
          at: keys.isGiven("name") ? "name" : "table")
      }
      if let table { tables[table] = tables[table] ?? keys.path }
      names[name] = names[name] ?? keys.path
    }
    reportSharedLines(streams, tables, names)
  }

  /// Reports each table of lines that is a stream's, or other lines', or bears the name of one in the cloud.
  private static func reportSharedLines(
    _ streams: [(keys: Section, stream: StreamDeclaration?)], _ tables: [SQLName: String], _ names: [SQLName: String]
  ) {
    var lines: [SQLName: String] = [:]
    for case (let keys, let stream?) in streams {
      for table in stream.with.map(\.table.text) {
        if let owner = tables[SQLName(table)] ?? names[SQLName(table)] {
          keys.report("\(quoted(table)) travels as \(owner) already, and cannot be its lines too", at: "with")
        } else if let owner = lines[SQLName(table)] {
          keys.report("\(quoted(table)) travels with \(owner) already", at: "with")
        }
        lines[SQLName(table)] = lines[SQLName(table)] ?? keys.path
      }
    }
  }
}

extension Form where Value == String {
  /// A table that is the app's: neither SQLite's own nor Drover's.
  static var table: Form {
    Form("a table's name of 1 to 128 bytes without control characters") { text throws(Refusal) in
      guard isPlain(text), text.utf8.count <= 128 else { return nil }
      let lower = text.lowercased()
      if let prefix = ["drover_", "sqlite_"].first(where: lower.hasPrefix) {
        throw Refusal(
          "tables that begin with `\(prefix)` are not the app's and are not captured; found \(quoted(text))")
      }
      return text
    }
  }
}
