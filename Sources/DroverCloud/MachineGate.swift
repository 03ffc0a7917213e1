// What this consumer knows of each machine in order to decide without asking the store whether a message is within the machine's budgets.
// All of it can be forgotten at any time: it is asked of the store again, at a rate that has a budget too.

import DroverCore

struct MachineGate {
  private static let mostKept = 100_000
  /// How long the consumer waits before it repeats the order to hold a stream.
  private static let holdPause: Int64 = 5_000_000
  /// How long a description that comes again unchanged is taken for what the store holds.
  private static let descriptionPause: Int64 = 10_000_000

  private(set) var budgets: MachineBudgets
  private var epochs: [MachineID: Set<Epoch>] = [:]
  private var streams: [MachineID: Set<StreamName>] = [:]
  private var intervals: [MachineID: OpenIntervals] = [:]
  private var schemas: [MachineStream: Set<SchemaID>] = [:]
  private var described: [MachineStream: (id: SchemaID, at: Int64)] = [:]
  private var heldAt: [MachineStream: Int64] = [:]

  private struct OpenIntervals {
    var epoch: Epoch
    var counts: [StreamName: Int]

    var sum: Int { counts.values.reduce(0, +) }
  }

  init(_ limits: MachineLimits) { budgets = MachineBudgets(limits) }

  /// A message has come; nothing of it has been looked at but its topic.
  mutating func message(of machine: MachineID, bytes: Int, now: Int64) -> Budget? {
    budgets.message(of: machine, bytes: bytes, now: now)
  }

  mutating func unpacked(_ bytes: Int, of machine: MachineID, now: Int64) {
    budgets.unpacked(bytes, of: machine, now: now)
  }

  mutating func letter(of machine: MachineID, bytes: Int, now: Int64) -> Budget? {
    budgets.letter(of: machine, bytes: bytes, now: now)
  }

  mutating func admits(_ events: [Event], of machine: MachineID, now: Int64) -> Bool {
    let count = events.count { $0.localID.utf8.count > MachineLimits.longID }
    return budgets.longIDs(count, of: machine, now: now)
  }

  /// Whether an epoch is one that the machine has, or may have from now on.
  mutating func admits(
    _ epoch: Epoch, of machine: MachineID, now: Int64, _ transaction: any EpochOrder
  ) throws -> Bool {
    if epochs[machine]?.contains(epoch) ?? false { return true }
    guard budgets.look(at: machine, now: now) else { return false }
    guard try transaction.knows(epoch, machine: machine) || budgets.newEpoch(of: machine, now: now) else {
      return false
    }
    if epochs[machine]?.count ?? 0 >= budgets.limits.epochsKept { epochs[machine] = [] }
    Self.put(epoch, into: &epochs, machine)
    return true
  }

  /// Whether a stream is one that the machine has, or may have from now on. One too many passes, so that the store says why it is refused.
  mutating func admits(
    _ stream: StreamName, of machine: MachineID, _ transaction: any SchemaStore
  ) throws -> Bool {
    if streams[machine] == nil {
      if streams.count >= Self.mostKept { streams = [:] }
      streams[machine] = try transaction.streams(of: machine)
    }
    if streams[machine]!.contains(stream) { return true }
    guard streams[machine]!.count <= budgets.limits.streams else { return false }
    streams[machine]!.insert(stream)
    return true
  }

  /// Whether a stream's received ranges may have one more interval. A frame that closes a gap or continues an interval always passes,
  /// so an agent that sends what is missing makes progress.
  mutating func admits(
    _ interval: Interval, beside known: IntervalSet, of stream: StreamName, _ outbox: OutboxOrigin, now: Int64,
    _ transaction: any ReceivedRanges
  ) throws -> Bool {
    guard interval.after > 0, !known.touches(interval) else { return true }
    func count() throws {
      let sets = try transaction.receivedStreams(machine: outbox.machine, epoch: outbox.epoch)
      if intervals.count >= Self.mostKept { intervals = [:] }
      intervals[outbox.machine] = OpenIntervals(epoch: outbox.epoch, counts: sets.mapValues(\.intervals.count))
    }
    if intervals[outbox.machine]?.epoch != outbox.epoch { try count() }
    intervals[outbox.machine]!.counts[stream] = known.intervals.count
    let most = budgets.limits.openIntervals
    if intervals[outbox.machine]!.sum >= most, budgets.look(at: outbox.machine, now: now) {
      try count()
      intervals[outbox.machine]!.counts[stream] = known.intervals.count
    }
    return intervals[outbox.machine]!.sum < most
  }

  /// The schema that a frame names. One that is not known here is looked for while there is a budget for it; later the agent is asked to describe
  /// it, as if it were not known at all.
  mutating func schema(
    _ id: SchemaID, of machine: MachineID, _ stream: StreamName, now: Int64, _ transaction: any SchemaStore
  ) throws -> StreamSchema? {
    let origin = MachineStream(machine: machine, stream: stream)
    let isKnown = schemas[origin]?.contains(id) ?? false
    guard isKnown || budgets.look(at: machine, now: now) else { return nil }
    guard let schema = try transaction.schema(id, machine: machine, stream: stream) else { return nil }
    if !isKnown {
      if schemas.count >= Self.mostKept { schemas = [:] }
      schemas[origin, default: []].insert(id)
    }
    return schema
  }

  mutating func mayLook(at machine: MachineID, now: Int64) -> Bool { budgets.look(at: machine, now: now) }

  /// What is to be done with a description.
  enum Description {
    /// It is what the store holds, and was looked at a moment ago.
    case known
    case adopt
    case overBudget
  }

  mutating func take(
    _ schema: StreamSchema, of machine: MachineID, _ stream: StreamName, now: Int64,
    _ transaction: any SchemaStore
  ) throws -> Description {
    let origin = MachineStream(machine: machine, stream: stream)
    let isAgain = described[origin].map { (0..<60_000_000).contains(now &- $0.at) } ?? false
    // Without budget only the description that was heard last is worth a look into the store.
    guard
      described[origin]?.id == schema.id
        || budgets.mayChangeSchema(of: machine, to: schema, isAgain: isAgain, now: now)
    else { return .overBudget }
    let isKept = try transaction.schema(schema.id, machine: machine, stream: stream) != nil
    if isKept, let last = described[origin], last.id == schema.id,
      (0..<Self.descriptionPause).contains(now &- last.at)
    {
      return .known
    }
    let latest = isKept ? try transaction.latestSchema(machine: machine, stream: stream) : nil
    guard
      latest?.id == schema.id || budgets.schemaChange(of: machine, to: schema, isAgain: isAgain, now: now)
    else { return .overBudget }
    if described.count >= Self.mostKept { described = [:] }
    described[origin] = (schema.id, now)
    return .adopt
  }

  /// Whether it is worth to read a description of a machine's at all.
  mutating func mayDescribe(_ machine: MachineID, now: Int64) -> Bool { budgets.mayChangeSchema(machine, now: now) }

  /// Whether to order the agent now to hold a stream.
  mutating func shouldHold(_ stream: StreamName, of machine: MachineID, now: Int64) -> Bool {
    let origin = MachineStream(machine: machine, stream: stream)
    if let last = heldAt[origin], (0..<Self.holdPause).contains(now &- last) { return false }
    if heldAt.count >= Self.mostKept { heldAt = [:] }
    heldAt[origin] = now
    return true
  }

  /// A transaction was rolled back: its changes are not in the store.
  mutating func forgetKnown() {
    epochs = [:]
    streams = [:]
    intervals = [:]
    schemas = [:]
    described = [:]
  }

  private static func put<Member>(
    _ member: Member, into sets: inout [MachineID: Set<Member>], _ machine: MachineID
  ) {
    if sets.count >= mostKept, sets[machine] == nil { sets = [:] }
    sets[machine, default: []].insert(member)
  }
}
