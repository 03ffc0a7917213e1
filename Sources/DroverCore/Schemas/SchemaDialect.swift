// How a store takes descriptions: the steps are the same in every database and stand here once, in the extension. The dialect reads and writes what
// the steps need. `SinkPlanner` and `SinkMatching` decide.

/// A stream that waits until an operator accepts its machine's new schema. Without a schema if the stream has no table.
package struct WaitingStream: Sendable {
  package var kind: Kind
  package var schema: StreamSchema?

  package init(kind: Kind, schema: StreamSchema?) {
    self.kind = kind
    self.schema = schema
  }

  /// Stands for the schema of a stream without a table.
  package static let bodies = SchemaID(text: "")

  package var id: SchemaID { schema?.id ?? Self.bodies }
}

/// The schema that a machine described last.
package struct DescribedStream: Sendable {
  package var machine: MachineID
  package var stream: StreamName
  package var schema: StreamSchema

  package init(machine: MachineID, stream: StreamName, schema: StreamSchema) {
    self.machine = machine
    self.stream = stream
    self.schema = schema
  }
}

package protocol SchemaDialect {
  var limits: CloudStoreLimits { get }
  /// The most that a table takes in this database.
  var capacity: TableShape.Bounds { get }
  /// Only one transaction at a time makes or changes the tables of a stream.
  func lockSink(_ stream: StreamName) throws
  /// Runs what may fail because of one sink table alone.
  func onSink<Result>(_ stream: StreamName, repairing: Bool, _ body: () throws -> Result) throws -> Result
  /// Runs a part of the transaction. Nothing of it remains where it returns an obstacle.
  func part(_ body: () throws -> Obstacle?) throws -> Obstacle?

  // MARK: Descriptions

  func schema(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> StreamSchema?
  /// How many descriptions of a machine's stream are kept.
  func schemaCount(machine: MachineID, stream: StreamName) throws -> Int
  /// Makes a schema the one that was described last.
  /// - Parameter isKnown: whether it is kept already.
  func keep(_ schema: StreamSchema, machine: MachineID, stream: StreamName, isKnown: Bool) throws
  /// Whether a machine's stream was described otherwise too, but for the lives of its keys.
  func hasOther(than schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> Bool
  /// The schemas that machines described last whose rows, or lines, stand in a table.
  func latestSchemas(using table: StreamName) throws -> [DescribedStream]
  /// The descriptions of a machine's stream are no dead letters any more.
  func withdrawDescriptions(machine: MachineID, stream: StreamName) throws

  func note(_ waiting: WaitingStream, machine: MachineID, stream: StreamName, reason: String) throws
  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool
  func waiting(machine: MachineID, stream: StreamName) throws -> WaitingStream?
  func forgetWaiting(machine: MachineID, stream: StreamName) throws

  // MARK: Tables

  /// Whether events were merged into the sink, so that its tables are known to fit.
  func isKnown(_ sink: Sink) -> Bool
  func form(of stream: StreamName) throws -> SinkForm?
  func present(_ stream: StreamName) throws -> PresentSink?
  func shared(_ stream: StreamName, for machine: MachineID) throws -> SharedTable
  /// Whether another machine has described the table, as its stream or as its lines.
  func isUsed(_ stream: StreamName, besides machine: MachineID) throws -> Bool
  /// How many streams a machine has.
  func streamCount(of machine: MachineID) throws -> Int
  /// What else stands under a stream's name, with its article; nil where the name is free.
  func occupant(of stream: StreamName) throws -> String?
  /// Uses a table for the sink again that was a sink table before and is no longer recorded. False if it was none.
  func takeOver(_ wish: SinkWish) throws -> Bool
  /// Makes the table, and notes it.
  func make(_ wish: SinkWish) throws
  /// Makes the changes of a plan, and notes which columns the machine has brought and shares.
  /// - Returns: why the database refuses that; then nothing has changed.
  func execute(_ changes: [TableChange], of wish: SinkWish, _ schema: StreamSchema) throws -> Obstacle?
  /// Makes the index by which the lines of a header are found.
  func makeIndex(of line: LineSchema) throws
  /// Takes a sink table out of the way, with everything that was known of its rows. No row is ever dropped.
  /// - Parameter isThere: false for a table that was dropped or renamed.
  /// - Returns: what it is called now.
  func putAside(_ stream: StreamName, isThere: Bool) throws -> String

  // MARK: Matching

  /// By what the rows of a stream are matched; nil where they are not.
  func matchingKey(of stream: StreamName) throws -> NaturalKey?
  func matching(of stream: StreamName, for machine: MachineID) throws -> SinkMatching
  /// The natural key that the operator has pinned, with the columns as the table has them; nil where it lacks one.
  func pinnedKey(of stream: StreamName) throws -> NaturalKey?
  /// Why a schema's natural key cannot be one in this database, or nil.
  func refusal(ofMatching schema: StreamSchema) -> Obstacle?
  func rematch(_ stream: StreamName, _ change: SinkMatching.Change, _ schema: StreamSchema, machine: MachineID) throws
}

extension SchemaDialect {
  package func refusal(ofMatching schema: StreamSchema) -> Obstacle? { nil }

  // MARK: Adopting

  package func adopt(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> String? {
    try onSink(stream, repairing: false) {
      let obstacle = try take(schema, machine: machine, stream: stream, isAccepted: false)
      if obstacle?.isKept ?? true {
        try withdrawDescriptions(machine: machine, stream: stream)
      } else {
        try forgetWaiting(machine: machine, stream: stream)
      }
      return obstacle?.reason
    }
  }

  /// - Parameter isAccepted: whether the operator has said that the tables of all machines shall follow.
  package func take(
    _ schema: StreamSchema, machine: MachineID, stream: StreamName, isAccepted: Bool
  ) throws -> Obstacle? {
    try lockSink(stream)
    let isKnown = try self.schema(schema.id, machine: machine, stream: stream) != nil
    if let obstacle = try obstacle(to: schema, machine, stream, isKnown: isKnown, isAccepted: isAccepted) {
      if obstacle.isKept {
        try note(
          WaitingStream(kind: schema.kind, schema: schema), machine: machine, stream: stream, reason: obstacle.reason)
      }
      return obstacle
    }
    try keep(schema, machine: machine, stream: stream, isKnown: isKnown)
    try forgetWaiting(machine: machine, stream: stream)
    try settle(schema, machine: machine, stream: stream, isAccepted: isAccepted)
    return nil
  }

  /// What stands in the way of a description. Without one, the tables fit it now.
  private func obstacle(
    to schema: StreamSchema, _ machine: MachineID, _ stream: StreamName, isKnown: Bool, isAccepted: Bool
  ) throws -> Obstacle? {
    if let reason = limits.pins.refusal(of: schema, stream, machine) { return Obstacle(reason, .pin) }
    if !isKnown, !isAccepted,
      let reason = try limits.refusal(ofSchemas: schemaCount(machine: machine, stream: stream))
    {
      return Obstacle(reason, .word)
    }
    if let obstacle = refusal(ofMatching: schema) { return obstacle }
    if schema.flow.direction.goesDown,
      let obstacle = try matching(of: stream, for: machine).obstacle(to: schema.flow, stream)
    {
      return obstacle
    }
    if let key = schema.naturalKey {
      if let other = try latestSchemas(using: stream).first(where: {
        $0.machine != machine && $0.schema.flow.direction.goesDown
      }) {
        return Obstacle(
          "its rows are matched by \(key.words), and those of \(other.machine) come down from the sink table \(stream) (`direction: \(other.schema.flow.direction.rawValue)`), so a matched row would have no one machine to go to; give one of the two another `name`",
          .table(stream))
      }
      let obstacle = try matching(of: stream, for: machine).obstacle(
        to: schema.naturalKey, stream, isPinned: limits.pins[stream]?.naturalKey != nil, isAccepted: isAccepted,
        isUsedByOthers: { try isUsed(stream, besides: machine) })
      if let obstacle { return obstacle }
    }
    return isKnown ? nil : try shapeSink(SinkWish(stream, schema.kind, schema, machine, isAccepted: isAccepted))
  }

  /// Matches the rows of a stream by natural key, if a machine or the operator says so.
  package func settle(
    _ schema: StreamSchema, machine: MachineID, stream: StreamName, isAccepted: Bool = false
  ) throws {
    let pinned = try limits.pins[stream]?.naturalKey == nil ? nil : pinnedKey(of: stream)
    guard try schema.naturalKey != nil || pinned != nil || matchingKey(of: stream) != nil else { return }
    let change = try matching(of: stream, for: machine).change(
      declared: schema.naturalKey, pinned: pinned, isAccepted: isAccepted)
    if let change { try rematch(stream, change, schema, machine: machine) }
  }

  // MARK: Streams without a table

  package func holdBodies(of sink: Sink) throws -> String? {
    guard !isKnown(sink) else { return nil }
    return try onSink(sink.stream, repairing: false) {
      let (machine, stream) = (sink.machine, sink.stream)
      let wanted = SinkForm(kind: sink.kind, isTable: false, header: nil)
      let reason =
        try limits.pins.refusal(ofBodies: sink.kind, stream, machine)
        ?? form(of: stream)?.refusal(of: wanted, stream)
      if let reason {
        if try !isWaiting(WaitingStream.bodies, machine: machine, stream: stream) {
          try note(WaitingStream(kind: sink.kind, schema: nil), machine: machine, stream: stream, reason: reason)
        }
      } else if try isWaiting(WaitingStream.bodies, machine: machine, stream: stream) {
        try forgetWaiting(machine: machine, stream: stream)
      }
      return reason
    }
  }

  // MARK: Accepting

  package func accept(machine: MachineID, stream: StreamName) throws -> Acceptance? {
    try lockSink(stream)
    guard let wanted = try waiting(machine: machine, stream: stream) else { return nil }
    var aside: [String] = []
    var others: [DescribedStream] = []
    while let obstacle = try obstacleAccepting(wanted, machine, stream) {
      guard case .table(let table) = obstacle.way, aside.count <= 1 + (wanted.schema?.lines.count ?? 0) else {
        throw AcceptanceRefused(description: obstacle.reason)
      }
      try lockSink(table)
      others += try latestSchemas(using: table)
      aside.append(try putAside(table, isThere: true))
    }
    try forgetWaiting(machine: machine, stream: stream)
    // The waiting one first, so that the tables are made for it. Of the others those that fit go on, and the rest waits.
    for other in others where other.machine != machine || other.stream != stream {
      _ = try take(other.schema, machine: other.machine, stream: other.stream, isAccepted: false)
    }
    try withdrawDescriptions(machine: machine, stream: stream)
    return Acceptance(aside: aside)
  }

  private func obstacleAccepting(
    _ wanted: WaitingStream, _ machine: MachineID, _ stream: StreamName
  ) throws -> Obstacle? {
    if let schema = wanted.schema { return try take(schema, machine: machine, stream: stream, isAccepted: true) }
    if let reason = limits.pins.refusal(ofBodies: wanted.kind, stream, machine) { return Obstacle(reason, .pin) }
    return try shapeSink(SinkWish(stream, wanted.kind, nil, machine, isAccepted: true))
  }

  // MARK: Tables

  /// Makes the sink table and those of its lines, or adds what they lack. Returns why that cannot be; then nothing has changed.
  package func shapeSink(_ wish: SinkWish) throws -> Obstacle? {
    guard let schema = wish.schema, !schema.lines.isEmpty else { return try shapeTable(wish) }
    if let reason = limits.refusal(ofLines: schema.lines.count) { return Obstacle(reason, .none) }
    return try part {
      if let obstacle = try shapeTable(wish) { return obstacle }
      for line in schema.lines {
        if let obstacle = try shapeTable(wish.lines(line)) {
          return Obstacle("its lines \(line.table): \(obstacle.reason)", obstacle.way)
        }
        try makeIndex(of: line)
      }
      return nil
    }
  }

  private func shapeTable(_ wish: SinkWish) throws -> Obstacle? {
    let (stream, machine) = (wish.stream, wish.machine)
    let plan = try SinkPlanner(limits: limits, capacity: capacity).plan(
      wish, for: present(stream), shared: { try shared(stream, for: machine) },
      isUsedByOthers: { try isUsed(stream, besides: machine) },
      hasOtherSchema: { try wish.schema.map { try hasOther(than: $0, machine: machine, stream: stream) } ?? false })
    switch plan {
    case .wait(let obstacle): return obstacle
    case .make: return try makeTable(wish)
    case .replace:
      _ = try putAside(stream, isThere: true)
      return try makeTable(wish)
    case .change(let changes):
      guard let schema = wish.schema else { return nil }
      return try execute(changes, of: wish, schema)
    }
  }

  private func makeTable(_ wish: SinkWish) throws -> Obstacle? {
    if let reason = limits.refusal(ofStreams: try streamCount(of: wish.machine)) { return Obstacle(reason, .none) }
    if let occupant = try occupant(of: wish.stream) {
      if try takeOver(wish) { return try shapeTable(wish) }
      return Obstacle("the store holds \(occupant) \(wish.stream) that is not Drover's", .none)
    }
    try make(wish)
    return nil
  }
}
