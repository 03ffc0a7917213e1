// Who wins, for rows that both sides can edit. It compares what each side has seen, and no clocks. The tables are in
// docs/decisions/0050-two-way-rows.md.

package enum TwoWayRule {
  /// What a machine says of a row.
  package struct Arrival: Equatable, Sendable {
    package var change: MergeRule.Change
    /// The event's version, or the stored one of a row that is sent again; `since` or below where no edit of it is known.
    package var version: Int64
    /// The newest cloud version that the row had seen at the edge; 0 for none.
    package var base: Int64
    /// The row was not edited. It is sent again.
    package var isAgain: Bool

    package init(_ change: MergeRule.Change, version: Int64, base: Int64, isAgain: Bool = false) {
      self.change = change
      self.version = version
      self.base = base
      self.isAgain = isAgain
    }
  }

  /// What the cloud knows of the row.
  package struct Known: Equatable, Sendable {
    /// The machine's newest own edit that was merged; nil for none.
    package var edge: RowVersion?
    /// The newest decision of the cloud about the row; 0 for none.
    package var cloud: Int64
    /// The newest own edit of the machine that this decision has seen.
    package var decided: RowVersion?
    /// The content is the cloud's own: a person edited it, or the machine's edit lost.
    package var isCloudContent: Bool
    /// The row is there. If it is not, and one of the versions is, it was deleted.
    package var isThere: Bool
    /// Its condition holds, so that it never changes again.
    package var isComplete: Bool

    package init(
      edge: RowVersion? = nil, cloud: Int64 = 0, decided: RowVersion? = nil, isCloudContent: Bool = false,
      isThere: Bool = false, isComplete: Bool = false
    ) {
      self.edge = edge
      self.cloud = cloud
      self.decided = decided
      self.isCloudContent = isCloudContent
      self.isThere = isThere
      self.isComplete = isComplete
    }
  }

  package enum Decision: Equatable, Sendable {
    /// The cloud has this or more. Nothing changes.
    case ignore
    /// The event becomes the stored state.
    case take
    /// The machine lacks what the cloud has: the stored state goes down.
    case answer
    /// Neither has seen the other. Compare the contents: if they are the same, the versions are merged, otherwise it is a conflict.
    case conflict
    /// Two new rows under a key that means nothing. The machine's row keeps it.
    case collision
    /// The stored row is complete. Compare the contents: if they are the same, nothing changes, otherwise the event is a dead letter.
    case frozen
  }

  /// - Parameters:
  ///   - history: of the epoch in which the event came.
  ///   - since: the version at which the machine's bookkeeping of the stream began.
  ///   - lost: decisions of a future that the store has lost.
  package static func decide(
    _ event: Arrival, known: Known, history: EpochHistory, since: Int64, lost: LostDecisions = LostDecisions(),
    isKeyNatural: Bool
  ) -> Decision {
    var decision =
      event.isAgain
      ? decideAgain(event, known, history, since, isKeyNatural: isKeyNatural)
      : decideEdit(event, known, history, isKeyNatural: isKeyNatural)
    // The machine has an edit of the cloud's that the store lost, and the row was edited anew since.
    let isSame = decision == .ignore && relation(of: event, to: known, history) == .same
    if decision == .answer || isSame, lost.contains(event.base) { decision = .conflict }
    // The machine has an edit that the store lost, and a person has edited the row anew in the cloud since.
    if decision == .take, known.isCloudContent, lost.isUnseen(known.cloud, by: event.base) { decision = .conflict }
    guard known.isComplete, known.isThere, decision != .ignore, decision != .answer else { return decision }
    // The edge has cleared a record that is complete: the record stays.
    return event.change == .put ? .frozen : .ignore
  }

  private static func decideEdit(
    _ event: Arrival, _ known: Known, _ history: EpochHistory, isKeyNatural: Bool
  ) -> Decision {
    switch relation(of: event, to: known, history) {
    // The row holds a decision that the store has lost; it was applied over the edit.
    case .same where event.base > known.cloud: return .take
    case .known, .same: return .ignore
    case .newer where !lacks(event, known): return .take
    case .newer, .concurrent: break
    }
    return bothMadeIt(event, known, isKeyNatural: isKeyNatural)
  }

  /// Decides about two edits, neither of which has seen the other. Both sides may have made a new row under one key.
  private static func bothMadeIt(_ event: Arrival, _ known: Known, isKeyNatural: Bool) -> Decision {
    let isNew = known.edge == nil && event.base == 0 && known.isThere && event.change == .put
    return isNew && !isKeyNatural ? .collision : .conflict
  }

  private static func decideAgain(
    _ event: Arrival, _ known: Known, _ history: EpochHistory, _ since: Int64, isKeyNatural: Bool
  ) -> Decision {
    // Nothing is known of the row here: it is new to the cloud, or the cloud has lost it.
    guard known.isThere || known.edge != nil || known.cloud > 0 else { return .take }
    // The machine has edited the row after all: the message is from before, and has been overtaken.
    let isOvertaken = known.edge.map { $0.version > since && history.hasSeen($0) } ?? false
    if event.version <= since, !isOvertaken {
      guard let edge = known.edge else {
        // The machine had the row before its stream began, and the cloud made one of its own.
        if event.base == 0, event.change == .put, lacks(event, known) {
          return bothMadeIt(event, known, isKeyNatural: isKeyNatural)
        }
        return event.base >= known.cloud ? .take : .answer
      }
      if history.hasSeen(edge) || hasSeenDecision(event, known) { return event.base >= known.cloud ? .take : .answer }
      guard history.limit(of: edge.epoch) != nil else { return .conflict }
      return event.base > known.cloud ? .conflict : .answer
    }
    switch relation(of: event, to: known, history) {
    // With the same numbers the contents should be the same too. If they drifted apart, the machine's is right.
    case .same: return event.base < known.cloud ? .answer : .take
    case .known: return event.base > known.cloud ? .conflict : .answer
    case .newer: return lacks(event, known) ? .conflict : .take
    case .concurrent: return .conflict
    }
  }

  /// Whether the machine has not seen an edit of the cloud that the row still holds.
  private static func lacks(_ event: Arrival, _ known: Known) -> Bool {
    known.isCloudContent && event.base < known.cloud
  }

  /// Whether the machine has the newest decision, and with it every own edit that it had seen.
  private static func hasSeenDecision(_ event: Arrival, _ known: Known) -> Bool {
    known.cloud > 0 && event.base >= known.cloud && known.edge == known.decided
  }

  private static func relation(
    of event: Arrival, to known: Known, _ history: EpochHistory
  ) -> EpochHistory.Relation {
    if let edge = known.edge, edge.epoch != history.epoch, hasSeenDecision(event, known) { return .newer }
    return history.relation(of: event.version, to: known.edge)
  }

  // MARK: Conflicts

  package enum Side: String, CaseIterable, Sendable {
    case cloud
    case machine

    package var other: Side { self == .cloud ? .machine : .cloud }
  }

  /// One side's state in a conflict.
  package struct Contender: Equatable, Sendable {
    /// False for a delete.
    package var isThere: Bool
    /// The value of the column that `newer` names; nil where none is declared.
    package var newer: Value?
    package var version: Int64

    package init(isThere: Bool, newer: Value? = nil, version: Int64) {
      self.isThere = isThere
      self.newer = newer
      self.version = version
    }
  }

  /// Who wins. A put wins over a delete, so that no value is lost; then the column decides, then the version, then the cloud.
  package static func winner(machine: Contender, cloud: Contender) -> Side {
    guard machine.isThere == cloud.isThere else { return machine.isThere ? .machine : .cloud }
    if let ours = machine.newer, let theirs = cloud.newer, let order = ValueOrder.compare(ours, theirs), order != 0 {
      return order > 0 ? .machine : .cloud
    }
    return machine.version > cloud.version ? .machine : .cloud
  }

  /// The version of a new decision of the cloud: above everything that is known of the row.
  /// - Parameter now: microseconds since 1970.
  package static func decisionVersion(now: Int64, known: Known, event: Int64 = 0) -> Int64 {
    var clock = HybridClock(last: max(known.cloud, known.edge?.version ?? 0, event))
    return clock.next(now: now)
  }
}

/// Decisions of the cloud that it does not know any more, because its store was put back. Machines may still have what they decided.
package struct LostDecisions: Equatable, Sendable {
  /// Versions that the store may have given and lost.
  package var ranges: [ClosedRange<Int64>]

  package init(_ ranges: [ClosedRange<Int64>] = []) { self.ranges = ranges }

  /// The store is found to have gone back: what it gave above the highest version that it still knows is lost. Versions that follow a clock which is
  /// ahead are looked at apart.
  /// - Parameters:
  ///   - highest: the highest known decision up to now; 0 for none.
  ///   - farthest: the highest known decision at all.
  ///   - now: microseconds since 1970.
  package mutating func wentBack(highest: Int64, farthest: Int64, now: Int64) {
    if highest < now { ranges.append(highest + 1...now) }
    if farthest > now { ranges.append(farthest + 1...HybridClock.limit) }
  }

  package func contains(_ version: Int64) -> Bool { ranges.contains { $0.contains(version) } }

  /// Whether a decision of the store was made after it lost another one, which is higher: then neither has seen the other. A decision whose clock
  /// was ahead may have been lost each time that the store was put back.
  package func isUnseen(_ decision: Int64, by lost: Int64) -> Bool {
    guard lost > decision else { return false }
    let losses = ranges.filter { $0.upperBound < HybridClock.limit }
    let known = losses.filter { $0.contains(lost) }
    return (known.isEmpty ? losses : known).contains { $0.upperBound < decision }
  }
}

/// The order of values in SQLite: NULL, numbers, texts, BLOBs (https://www.sqlite.org/datatype3.html, section 4.1).
package enum ValueOrder {
  /// - Returns: below 0, 0 or above 0; nil where there is no order, because one of them is NULL.
  package static func compare(_ a: Value, _ b: Value) -> Int? {
    switch (a, b) {
    case (.null, _), (_, .null): nil
    case (.integer(let x), .integer(let y)): x < y ? -1 : x > y ? 1 : 0
    case (.real(let x), .real(let y)): x < y ? -1 : x > y ? 1 : 0
    case (.integer(let x), .real(let y)): -compare(y, x)
    case (.real(let x), .integer(let y)): compare(x, y)
    case (.text(let x), .text(let y)), (.blob(let x), .blob(let y)):
      x.elementsEqual(y) ? 0 : x.lexicographicallyPrecedes(y) ? -1 : 1
    default: rank(a) - rank(b)
    }
  }

  /// A double of 2^63 and more is above every integer; below that its whole part is an Int64, and the rest decides.
  private static func compare(_ x: Double, _ y: Int64) -> Int {
    if x >= 0x1p63 { return 1 }
    if x < -0x1p63 { return -1 }
    let whole = Int64(x.rounded(.down))
    if whole != y { return whole < y ? -1 : 1 }
    return x > x.rounded(.down) ? 1 : 0
  }

  private static func rank(_ value: Value) -> Int {
    switch value {
    case .null: 0
    case .integer, .real: 1
    case .text: 2
    case .blob: 3
    }
  }
}
