// What people see of a cloud store, whichever database it is in: read by another connection than the consumer's, and often by another process.

package struct CloudReport: Sendable {
  package struct Stream: Sendable {
    package var name: String
    /// nil if they were not counted.
    package var rows: Int?
    package var applied: Int
    package var superseded: Int
    package var refused: Int
    /// How long the newest event took from the edge's commit to the cloud's, in microseconds; nil for a row that was not edited since its two-way stream
    /// began, whose version is 0.
    package var lag: Int64?
    /// How far its version is ahead of the cloud's clock, in microseconds, where that is beyond the tolerance.
    package var ahead: Int64?
    /// When the newest event was committed here, microseconds since 1970.
    package var appliedAt: Int64
    /// The last comparison with the source.
    package var check: Check?
    /// The tables whose rows travel with the stream's, and how many there are.
    package var lines: [Lines]

    /// - Parameters:
    ///   - version: of the newest event.
    ///   - appliedAt: when it was committed here, microseconds since 1970.
    package init(
      name: String, rows: Int?, applied: Int, superseded: Int, refused: Int, version: Int64, appliedAt: Int64,
      check: Check?, lines: [Lines]
    ) {
      self.name = name
      self.rows = rows
      self.applied = Int(Int64(applied).clamped(to: Bounds.count))
      self.superseded = Int(Int64(superseded).clamped(to: Bounds.count))
      self.refused = Int(Int64(refused).clamped(to: Bounds.count))
      let (version, appliedAt) = (version.clamped(to: Bounds.version), appliedAt.clamped(to: Bounds.time))
      lag = version == 0 ? nil : max(0, appliedAt - version)
      ahead = version - appliedAt > HybridClock.tolerance ? version - appliedAt : nil
      self.appliedAt = appliedAt
      self.check = check
      self.lines = lines
    }
  }

  package struct Check: Sendable {
    /// Microseconds since 1970.
    package var at: Int64
    /// Rows that differed at its end.
    package var drift: Int
    /// Rows that were on their way while it was made, so that it says nothing about them.
    package var inFlight: Int
    /// Why it could not be made.
    package var failure: String?

    package init(at: Int64, drift: Int, inFlight: Int, failure: String?) {
      self.at = at.clamped(to: Bounds.time)
      self.drift = Int(Int64(drift).clamped(to: Bounds.count))
      self.inFlight = Int(Int64(inFlight).clamped(to: Bounds.count))
      self.failure = failure
    }

    /// What it found, in the words of `drover check`.
    package var text: String {
      failure.map { "not compared: \($0)" } ?? DriftFinding.summary(drift: drift, inFlight: inFlight)
    }
  }

  package struct Lines: Sendable {
    package var table: String
    /// nil if they were not counted.
    package var rows: Int?

    package init(table: String, rows: Int?) {
      self.table = table
      self.rows = rows
    }
  }

  package struct Machine: Sendable {
    package var name: String
    package var isOnline: Bool?
    package var lastHeard: Int64
    /// The machine's clock less the cloud's as the machine last measured it, microseconds.
    package var clockOffset: Int64?
    /// Its outbox as it reported last; nil if it never did.
    package var outbox: Told?
    package var streams: [Stream]
    package var deadLetters: Int
    /// Values that lost a conflict and wait for a person.
    package var conflicts: Int
    /// What these take, in bytes.
    package var conflictBytes: Int
    /// How many rows that came down it refuses, as it reported last.
    package var refusedRows: Int
    /// What was set aside because a budget was used up, by the budget's name.
    package var overruns: [Overrun]
    /// What is wrong with who is connected under its name, or was.
    package var troubles: [Trouble]
    /// Streams that wait there while the others go on, as it reported last.
    package var waits: [StreamWait]

    package init(
      name: String, isOnline: Bool?, lastHeard: Int64, clockOffset: Int64?, outbox: Told? = nil, streams: [Stream],
      deadLetters: Int, conflicts: Int = 0, conflictBytes: Int = 0, refusedRows: Int = 0, overruns: [Overrun] = [],
      troubles: [Trouble] = [],
      waits: [StreamWait] = []
    ) {
      self.refusedRows = refusedRows
      self.conflictBytes = conflictBytes
      self.waits = waits
      self.conflicts = conflicts
      self.overruns = overruns
      self.troubles = troubles
      self.outbox = outbox
      self.name = name
      self.isOnline = isOnline
      self.lastHeard = lastHeard.clamped(to: Bounds.time)
      self.clockOffset = clockOffset?.clamped(to: Bounds.clockOffset)
      self.streams = streams
      self.deadLetters = Int(Int64(deadLetters).clamped(to: Bounds.count))
    }

    /// A client that publishes bare events says nothing of itself.
    package var hasAgent: Bool { isOnline != nil }

    /// How long the oldest event has waited for its confirmation, microseconds; nil when none waits, as far as the machine reported. Of one that is
    /// online it is what it reported last; while it is offline nothing is confirmed.
    /// - Parameter now: microseconds since 1970.
    package func oldestUnconfirmed(now: Int64) -> Int64? {
      guard let outbox, let oldest = outbox.figures.oldest else { return nil }
      return max(0, (isOnline == false ? now : outbox.at) - oldest)
    }
  }

  /// What a machine reported about its outbox.
  package struct Told: Sendable {
    package var figures: OutboxFigures
    /// When it was heard, microseconds since 1970.
    package var at: Int64

    package init(figures: OutboxFigures, at: Int64) {
      self.figures = figures
      self.at = at.clamped(to: Bounds.time)
    }
  }

  /// What was dropped because the limit was reached; without a machine if too many were named.
  package struct Dropped: Sendable {
    package var machine: String
    package var stream: String
    package var reason: String
    package var letters: Int
    package var bytes: Int
    /// Microseconds since 1970.
    package var lastAt: Int64

    package init(machine: String, stream: String, reason: String, letters: Int, bytes: Int, lastAt: Int64) {
      self.machine = machine
      self.stream = stream
      self.reason = reason
      self.letters = letters
      self.bytes = bytes
      self.lastAt = lastAt.clamped(to: Bounds.time)
    }
  }

  package var machines: [Machine]
  /// The most first.
  package var dropped: [Dropped]
  /// What the dead letters take, in bytes, and how many rows they are.
  package var letterBytes: Int
  package var letterRows: Int
  /// All dead letters, those that belong to no machine too.
  package var deadLetters: DeadLetterFigures
  package var conflicts: ConflictFigures
  /// What became of every message, by `MessageOutcome`'s names.
  package var messages: [(outcome: String, count: Int)]
  /// What is wrong with who is connected as the consumer, or was.
  package var troubles: [Trouble]

  package init(
    machines: [Machine], dropped: [Dropped], letterBytes: Int, letterRows: Int, deadLetters: DeadLetterFigures,
    conflicts: ConflictFigures = ConflictFigures(), messages: [(outcome: String, count: Int)], troubles: [Trouble] = []
  ) {
    self.conflicts = conflicts
    self.troubles = troubles
    self.machines = machines
    self.dropped = dropped
    self.letterBytes = letterBytes
    self.letterRows = letterRows
    self.deadLetters = deadLetters
    self.messages = messages
  }
}

extension CloudReport {
  /// How many rows that came down the machines refuse.
  package var refusedRows: Int { machines.reduce(0) { $0 + $1.refusedRows } }

  /// What is wrong now with who is connected: whose name it is, nil for the consumer's, and what.
  /// - Parameter now: microseconds since 1970.
  package func troubles(now: Int64) -> [(machine: String?, trouble: Trouble)] {
    let all =
      troubles.map { (nil as String?, $0) }
      + machines.flatMap { machine in machine.troubles.map { (machine.name, $0) } }
    return all.filter { $0.1.isPresent(now: now) }
  }
}

/// Which machines a report is to hold, and how much work it may be.
package struct ReportScope: Sendable {
  /// Only this machine.
  package var only: String?
  /// Only machines whose names come behind this one.
  package var after: String?
  /// Most machines.
  package var limit: Int
  /// To count rows, every sink table is read.
  package var countsRows: Bool

  package init(only: String? = nil, after: String? = nil, limit: Int = .max, countsRows: Bool = true) {
    self.only = only
    self.after = after
    self.limit = limit
    self.countsRows = countsRows
  }

  package static let everything = ReportScope()
}

/// A machine's schema that the sink table cannot follow: the stream waits at the machine until a person decides.
package struct WaitingSchema: Equatable, Sendable {
  package var machine: MachineID
  package var stream: StreamName
  /// Why the sink table cannot follow it.
  package var reason: String
  /// When it was described first, microseconds since 1970.
  package var since: Int64
  /// Its columns that the sink table lacks, and the sink table's that it lacks.
  package var added: [String]
  package var missing: [String]

  package init(
    machine: MachineID, stream: StreamName, reason: String, since: Int64, added: [String], missing: [String]
  ) {
    self.machine = machine
    self.stream = stream
    self.reason = reason
    self.since = since
    self.added = added
    self.missing = missing
  }
}
