// How a person resolves conflicts, whatever they use: the command in the cloud or at a machine, HTTP or the page. A resolution is compared with the row as
// the person saw it, so that no edit is overwritten that they do not know of.

/// Whose value the row gets.
package enum ConflictTake: String, CaseIterable, Sendable {
  case cloud
  case machine
  case both
}

/// How many conflicts wait for a person, and how many were resolved.
package struct ConflictFigures: Equatable, Sendable {
  package var present: Int
  package var resolved: Int
  /// Of the values of those that wait, as the store keeps them.
  package var bytes: Int

  package init(present: Int = 0, resolved: Int = 0, bytes: Int = 0) {
    self.present = present
    self.resolved = resolved
    self.bytes = bytes
  }
}

/// What conflicts take in the store.
package struct ConflictUse: Equatable, Sendable {
  package var count: Int
  /// Of their values, as the store keeps them.
  package var bytes: Int

  package init(count: Int, bytes: Int) {
    self.count = count
    self.bytes = bytes
  }
}

/// How many conflicts are kept until a person resolves them. Nothing is dropped at the limit: the stream waits at its machine.
package struct ConflictBounds: Equatable, Sendable {
  package var maxCount: Int
  /// The conflict that reaches it is still kept, so that a large one finds its place.
  package var maxBytes: Int

  package init(maxCount: Int = 10_000, maxBytes: Int = 256 << 20) {
    self.maxCount = maxCount
    self.maxBytes = maxBytes
  }

  /// One machine's conflicts take half of the space at most, so that the others keep theirs.
  package var maxOfMachine: Int { max(1, maxCount / 2) }

  package var maxBytesOfMachine: Int { max(1, maxBytes / 2) }

  /// A sentence where four fifths of the space are taken, of what all or of what one machine may have; nil otherwise.
  package func scarcity(all: ConflictUse, of machines: [(name: String, use: ConflictUse)]) -> String? {
    func sentence(_ whose: String, _ use: ConflictUse, _ count: Int, _ bytes: Int) -> String? {
      guard use.count >= max(1, count / 5 * 4) || use.bytes >= max(1, bytes / 5 * 4) else { return nil }
      return
        "space for conflicts\(whose) becomes scarce: \(use.count) of \(count), \(byteText(Int64(use.bytes))) of \(byteText(Int64(bytes))); resolve some"
    }
    if let sentence = sentence("", all, maxCount, maxBytes) { return sentence }
    return machines.lazy.compactMap { sentence(" of \($0.name)", $0.use, maxOfMachine, maxBytesOfMachine) }.first
  }

  /// Why no further conflict of a machine is kept; nil while there is space.
  /// - Parameters:
  ///   - own: those of the machine.
  ///   - all: those of all machines.
  package func refusal(of machine: MachineID, stream: StreamName, own: ConflictUse, all: ConflictUse) -> SinkBlocked? {
    let own = (text: "\(own.count) conflicts of \(machine) wait for a person", use: own)
    let all = (text: "\(all.count) conflicts wait for a person", use: all)
    let text: String? =
      if own.use.count >= maxOfMachine {
        "\(own.text), and one machine has half of conflicts.max_count (\(maxCount))"
      } else if own.use.bytes >= maxBytes / 2 {
        "\(own.text) with \(byteText(Int64(own.use.bytes))), and one machine has half of conflicts.max_bytes (\(byteText(Int64(maxBytes))))"
      } else if all.use.count >= maxCount {
        "\(all.text), and conflicts.max_count is \(maxCount)"
      } else if all.use.bytes >= maxBytes {
        "\(all.text) with \(byteText(Int64(all.use.bytes))), and conflicts.max_bytes is \(byteText(Int64(maxBytes)))"
      } else {
        nil
      }
    return text.map {
      SinkBlocked(
        table: stream.text, reach: .machine, cause: .space, text: $0,
        advice: "resolve conflicts: `drover conflicts list` shows them; the stream goes on by itself then")
    }
  }
}

extension Conflict {
  /// Names what the row is now. A resolution gives this name back, and nothing is done if the row has changed by then.
  package var seen: String {
    guard problem == nil else { return "unreadable" }
    guard let present else { return "gone" }
    let digits = String(Digest.of(present), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// The positions of the columns in which both values differ; all of them if one is a delete.
  package var differing: [Int] {
    guard let present, let lost = lost.value else {
      return present == nil && lost.value == nil ? [] : Array(columns.indices)
    }
    return columns.indices.filter { present[$0] != lost[$0] }
  }

  func choice(for take: ConflictTake) -> ConflictChoice {
    switch take {
    case .both: .both
    case .cloud: lost.loser == .cloud ? .takeLost : .keep
    case .machine: lost.loser == .machine ? .takeLost : .keep
    }
  }
}

/// With what a resolution is compared.
package enum ConflictSeen: Equatable, Sendable {
  /// The row as `Conflict.seen` named it.
  case named(String)
  /// The row as it was when the conflict was decided. A row that has changed since is refused.
  case asDecided
  /// Whatever the row is now.
  case anything
}

extension ConflictStore {
  package func conflictCount(machine: MachineID? = nil, stream: StreamName? = nil) throws -> Int {
    try conflictCount(machine: machine, stream: stream, since: .min)
  }

  /// - Parameter machine: whose conflict it has to be; nil for a conflict of any machine.
  package func resolve(
    _ id: Int64, take: ConflictTake, seen: ConflictSeen, of machine: MachineID? = nil
  ) throws -> ResolveOutcome {
    guard let conflict = try conflict(id), machine == nil || conflict.machine == machine else { return .unknown }
    switch seen {
    case .named(let name): guard name == conflict.seen else { return .changed }
    case .asDecided: guard !conflict.hasChangedSince || conflict.problem != nil else { return .changed }
    case .anything: break
    }
    return try resolve(id, conflict.choice(for: take), seen: conflict.present)
  }
}
