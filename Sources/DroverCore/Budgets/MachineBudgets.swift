// What is left of each machine's budgets that are rates. A decision costs one look into a dictionary, so that a flood of messages beyond a
// budget costs little more than their way here.

package struct MachineBudgets: Sendable {
  /// More machines than a consumer serves; beyond it all begin with full budgets again.
  private static let mostMachines = 100_000

  /// A stream whose description changes again and again makes the tables of all machines change; a migration changes it once.
  private static let costAgain = 5.0

  private struct Rates {
    var messages: TokenBucket
    var bytes: TokenBucket
    var deadLetters: TokenBucket
    var deadLetterBytes: TokenBucket
    var longIDs: TokenBucket
    var epochs: TokenBucket
    var schemaChanges: TokenBucket
    var looks: TokenBucket

    /// Some of it may come at once: what waited while the consumer was away, a migration of all tables.
    init(_ limits: MachineLimits, now: Int64) {
      func bucket(_ count: Int, each seconds: Double, capacity: Int) -> TokenBucket {
        TokenBucket(perSecond: Double(count) / seconds, capacity: Double(capacity), now: now)
      }
      messages = bucket(limits.messagesPerSecond, each: 1, capacity: 5 * limits.messagesPerSecond)
      bytes = bucket(limits.bytesPerSecond, each: 1, capacity: 2 * limits.bytesPerSecond)
      deadLetters = bucket(limits.deadLettersPerMinute, each: 60, capacity: max(1, limits.deadLettersPerMinute / 30))
      deadLetterBytes = bucket(
        limits.deadLetterBytesPerMinute, each: 60, capacity: max(1, limits.deadLetterBytesPerMinute / 30))
      longIDs = bucket(limits.longIDsPerMinute, each: 60, capacity: max(1, limits.longIDsPerMinute / 60))
      epochs = bucket(limits.epochsPerHour, each: 3600, capacity: limits.epochsPerHour)
      schemaChanges = bucket(
        limits.schemaChangesPerMinute, each: 60, capacity: max(limits.schemaChangesPerMinute, limits.streams))
      looks = bucket(100, each: 1, capacity: 200)
    }
  }

  package let limits: MachineLimits
  private var machines: [MachineID: Rates] = [:]

  package init(_ limits: MachineLimits) { self.limits = limits }

  /// A message has come.
  /// - Parameter now: microseconds since 1970, like every `now` here.
  /// - Returns: the budget that has no room for it.
  package mutating func message(of machine: MachineID, bytes: Int, now: Int64) -> Budget? {
    with(machine, now) { rates in
      guard rates.messages.take(now: now) else { return .messages }
      return rates.bytes.take(Double(bytes), now: now) ? nil : .bytes
    }
  }

  /// A message was larger than it seemed, because it was packed.
  package mutating func unpacked(_ bytes: Int, of machine: MachineID, now: Int64) {
    with(machine, now) { $0.bytes.charge(Double(bytes), now: now) }
  }

  /// One more dead letter is to be kept.
  /// - Returns: the budget that has no room for it.
  package mutating func letter(of machine: MachineID, bytes: Int, now: Int64) -> Budget? {
    with(machine, now) { rates in
      guard rates.deadLetters.take(now: now) else { return .deadLetters }
      return rates.deadLetterBytes.take(Double(bytes), now: now) ? nil : .deadLetterBytes
    }
  }

  /// Whether events with so many long IDs may be taken.
  package mutating func longIDs(_ count: Int, of machine: MachineID, now: Int64) -> Bool {
    count == 0 || with(machine, now) { $0.longIDs.take(Double(count), now: now) }
  }

  /// Whether the machine may begin one more epoch.
  package mutating func newEpoch(of machine: MachineID, now: Int64) -> Bool {
    with(machine, now) { $0.epochs.take(now: now) }
  }

  /// Whether the machine may describe a stream otherwise than before.
  /// - Parameter isAgain: whether the same stream has changed within the last minute.
  package mutating func schemaChange(
    of machine: MachineID, to schema: StreamSchema, isAgain: Bool = false, now: Int64
  ) -> Bool {
    with(machine, now) { $0.schemaChanges.take(Self.cost(schema, isAgain), now: now) }
  }

  /// Whether `schemaChange` would say yes; takes nothing.
  package mutating func mayChangeSchema(
    of machine: MachineID, to schema: StreamSchema, isAgain: Bool, now: Int64
  ) -> Bool {
    with(machine, now) { $0.schemaChanges.holds(Self.cost(schema, isAgain), now: now) }
  }

  /// Whether the machine has anything left for a description, whatever it says.
  package mutating func mayChangeSchema(_ machine: MachineID, now: Int64) -> Bool {
    with(machine, now) { $0.schemaChanges.holds(1, now: now) }
  }

  private static func cost(_ schema: StreamSchema, _ isAgain: Bool) -> Double {
    schema.cost * (isAgain ? costAgain : 1)
  }

  /// Whether the store may be asked something about the machine that is not known here.
  package mutating func look(at machine: MachineID, now: Int64) -> Bool {
    with(machine, now) { $0.looks.take(now: now) }
  }

  private mutating func with<Result>(
    _ machine: MachineID, _ now: Int64, _ use: (inout Rates) -> Result
  ) -> Result {
    if machines.count >= Self.mostMachines, machines[machine] == nil { machines = [:] }
    return use(&machines[machine, default: Rates(limits, now: now)])
  }
}

extension StreamSchema {
  /// A description counts as one more for each 50 columns, and a table of lines for ten columns besides its own: to make and to change tables
  /// takes so long.
  fileprivate var cost: Double {
    Double(max(1, (columns.count + lines.reduce(0) { $0 + $1.rows.columns.count + 10 }) / 50))
  }
}
