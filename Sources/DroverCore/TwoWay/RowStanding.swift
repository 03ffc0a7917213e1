// Where a row stands between the cloud and its machine, as people see it.

package struct RowStanding: Equatable, Sendable {
  package enum State: String, CaseIterable, Sendable {
    /// The stream only goes up.
    case up
    /// The machine's own value, and nothing of the row goes down.
    case machine
    /// Edited in the cloud a moment ago; the consumer gives it its version next.
    case edited
    /// It goes down, and the machine has not confirmed it.
    case waiting
    /// A machine has received it, and its own tables refuse it: it is a dead letter there.
    case refused
    /// The machine has confirmed it.
    case confirmed
  }

  /// Edits of the row that the consumer has not taken yet.
  package var hasUntakenEdits: Bool
  /// What the cloud has decided about the row; nil if it never had to.
  package var mark: RowMark?
  /// Its place among what goes down.
  package var number: Int64?
  /// How many machines get the row, and how many have confirmed it as it is.
  package var machines: Int
  package var confirmations: Int
  /// Values of this row that lost a conflict and wait for a person.
  package var conflicts: [Int64]
  /// Most machines that are named.
  package static let mostRefusals = 100
  /// The machines that refuse the row.
  package var refusals: [KeptRefusal]

  package init(
    hasUntakenEdits: Bool = false, mark: RowMark? = nil, number: Int64? = nil, machines: Int = 0,
    confirmations: Int = 0, conflicts: [Int64] = [], refusals: [KeptRefusal] = []
  ) {
    self.refusals = refusals
    self.hasUntakenEdits = hasUntakenEdits
    self.mark = mark
    self.number = number
    self.machines = machines
    self.confirmations = confirmations
    self.conflicts = conflicts
  }

  package var state: State {
    if hasUntakenEdits { return .edited }
    guard machines > 0 else { return .up }
    guard number != nil else { return .machine }
    guard confirmations >= machines else { return .waiting }
    return refusals.isEmpty ? .confirmed : .refused
  }

  /// Whether the value that is there was written in the cloud.
  package var isCloudContent: Bool { hasUntakenEdits || mark?.isCloudContent ?? false }

  /// The machine has edited the row after the newest decision of the cloud that it knew.
  package var hasMachineEditSince: Bool {
    guard let mark, !mark.isCloudContent, let edge = mark.edge else { return false }
    return edge != mark.decided
  }
}
