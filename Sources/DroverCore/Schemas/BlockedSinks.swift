// Sink tables that cannot be written now, because of what a person or program has done to them in the store. Only the streams that need such a table wait, at
// their machines; the consumer tries again by itself. Here is decided whose streams wait, and when the next try is due.

/// What a store throws out of a transaction that goes on: a sink table cannot be written, and nothing of what was tried remains.
package struct SinkBlocked: Error, CustomStringConvertible {
  package enum Reach: String, Sendable {
    /// Nothing can be written to the table.
    case table
    /// What this machine has sent, such as rows that another session has locked; other machines' rows may pass.
    case machine
  }

  package enum Cause: String, Sendable {
    /// Another session holds a lock; the table is unchanged when that ends.
    case lock
    /// The table was changed: when it can be written again, its rows are compared with the machines'.
    case change
    /// What the store keeps for a person has reached its limit; the table itself can be written.
    case space
  }

  /// The table that blocks, which may be that of a stream's lines.
  package var table: String
  package var reach: Reach
  package var cause: Cause
  /// What is the matter, and who does it.
  package var text: String
  package var advice: String

  package init(table: String, reach: Reach, cause: Cause, text: String, advice: String) {
    self.table = table
    self.reach = reach
    self.cause = cause
    self.text = text
    self.advice = advice
  }

  package var description: String { "the sink table \(table) cannot be written: \(text); \(advice)" }
}

/// A stream that waits because of its sink table, as the store keeps it for those who look.
package struct BlockedSink: Equatable, Sendable {
  package var stream: StreamName
  /// nil: all machines' streams of this name wait.
  package var machine: MachineID?
  package var blocked: SinkBlocked
  /// When it was found and when it was tried last, microseconds since 1970.
  package var since: Int64
  package var last: Int64
  package var tries: Int

  package init(
    stream: StreamName, machine: MachineID?, blocked: SinkBlocked, since: Int64, last: Int64, tries: Int
  ) {
    self.stream = stream
    self.machine = machine
    self.blocked = blocked
    self.last = min(max(0, last), HybridClock.limit)
    self.since = min(max(0, since), self.last)
    self.tries = min(max(1, tries), 1_000_000_000)
  }

  package static func == (a: Self, b: Self) -> Bool {
    (a.stream, a.machine, a.since, a.last, a.tries) == (b.stream, b.machine, b.since, b.last, b.tries)
      && "\(a.blocked)" == "\(b.blocked)"
  }

  /// What is the matter, as a sentence.
  package var text: String {
    let whose = machine.map { "\(stream) of \($0)" } ?? "\(stream) of all machines"
    return "\(whose) waits: the sink table \(blocked.table) cannot be written: \(blocked.text)"
  }
}

/// What one consumer knows of blocked sinks.
package struct BlockedSinks: Sendable {
  /// Agents send what waits again after ten seconds, so that each of their tries finds the next one due.
  private static let longestPause: Int64 = 8_000_000
  private static let firstPause: Int64 = 1_000_000

  private struct Key: Hashable {
    var stream: SQLName
    var machine: MachineID?
  }
  private struct Entry {
    var sink: BlockedSink
    /// Microseconds since 1970.
    var due: Int64
  }

  private var entries: [Key: Entry] = [:]

  package init() {}

  package var isEmpty: Bool { entries.isEmpty }

  /// What blocks a machine's stream, and whether it is time to try again.
  package func find(_ stream: StreamName, of machine: MachineID, now: Int64) -> (sink: BlockedSink, isDue: Bool)? {
    guard !entries.isEmpty else { return nil }
    for key in keys(stream, machine) {
      guard let entry = entries[key] else { continue }
      // A clock that was set back must not make it wait for longer.
      return (entry.sink, !(1...Self.longestPause).contains(entry.due - now))
    }
    return nil
  }

  /// A try has failed.
  /// - Returns: what the store shall keep.
  package mutating func note(
    _ blocked: SinkBlocked, _ stream: StreamName, of machine: MachineID, now: Int64
  ) -> BlockedSink {
    let name = SQLName(stream.text)
    // What two machines meet, others are likely to meet too, and each of their tries would hold up everything.
    let isMet =
      blocked.cause != .space
      && entries.contains {
        $0.key.stream == name && $0.key.machine != machine && $0.value.sink.blocked.cause != .space
      }
    return note(
      blocked, stream, key: Key(stream: name, machine: blocked.reach == .table || isMet ? nil : machine), now: now)
  }

  private mutating func note(_ blocked: SinkBlocked, _ stream: StreamName, key: Key, now: Int64) -> BlockedSink {
    let known = entries[key]?.sink
    let tries = (known?.tries ?? 0) + 1
    let sink = BlockedSink(
      stream: stream, machine: key.machine, blocked: blocked, since: known?.since ?? now, last: now, tries: tries)
    var pause = Self.firstPause
    for _ in 1..<min(tries, 5) where pause < Self.longestPause { pause *= 2 }
    entries[key] = Entry(sink: sink, due: now + min(pause, Self.longestPause))
    return sink
  }

  /// The table was found to be such that nothing can be written into it.
  package mutating func note(_ blocked: SinkBlocked, _ stream: StreamName, now: Int64) -> BlockedSink {
    note(blocked, stream, key: Key(stream: SQLName(stream.text), machine: nil), now: now)
  }

  /// A machine's stream was written.
  /// - Returns: what blocks no longer.
  package mutating func passed(_ stream: StreamName, of machine: MachineID) -> [BlockedSink] {
    guard !entries.isEmpty else { return [] }
    // What is over for all machines is over for each.
    let name = SQLName(stream.text)
    let isWhole = entries[Key(stream: name, machine: nil)] != nil
    let over = isWhole ? entries.keys.filter { $0.stream == name } : keys(stream, machine)
    return over.compactMap { entries.removeValue(forKey: $0)?.sink }
  }

  /// Takes over what the store keeps: what another consumer has found is tried here when it comes, and what another has got over is forgotten.
  package mutating func take(_ kept: [BlockedSink]) {
    var new: [Key: Entry] = [:]
    for sink in kept {
      let key = Key(stream: SQLName(sink.stream.text), machine: sink.machine)
      new[key] = entries[key] ?? Entry(sink: sink, due: sink.last)
    }
    entries = new
  }

  private func keys(_ stream: StreamName, _ machine: MachineID) -> [Key] {
    let name = SQLName(stream.text)
    return [Key(stream: name, machine: nil), Key(stream: name, machine: machine)]
  }
}
