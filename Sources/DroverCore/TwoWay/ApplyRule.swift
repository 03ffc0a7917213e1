// What the edge does with a row that comes down. docs/decisions/0050-two-way-rows.md ("Down") has the reasons.

/// A row as the cloud sends it down.
package struct DownEvent: Equatable, Sendable {
  /// The row's number among what goes down.
  package var seq: Int64
  package var localID: String
  package var key: [Value]
  /// `.none`: a delete.
  package var content: Content
  /// The cloud's decision about the row.
  package var version: Int64
  /// The machine's newest own edit that the decision has seen; nil for none.
  package var edge: Mark?

  /// An own edit of the machine.
  package struct Mark: Equatable, Sendable {
    package var epoch: Epoch
    package var version: Int64

    package init(epoch: Epoch, version: Int64) {
      self.epoch = epoch
      self.version = version
    }
  }

  package init(seq: Int64, localID: String, key: [Value], content: Content, version: Int64, edge: Mark?) {
    self.seq = seq
    self.localID = localID
    self.key = key
    self.content = content
    self.version = version
    self.edge = edge
  }
}

package enum ApplyRule {
  /// What the edge knows of the row.
  package struct Known: Equatable, Sendable {
    /// The newest cloud version that was applied; 0 for none.
    package var held: Int64
    /// The newest own edit that was confirmed; 0 for none.
    package var mine: Int64
    /// The own edit that waits in the outbox; nil where none does. A row that is only sent again is no edit.
    package var waiting: Int64?
    /// The table has the row. Only asked where the cloud knows of no own edit and one was confirmed.
    package var isThere = true

    package init(held: Int64 = 0, mine: Int64 = 0, waiting: Int64? = nil) {
      self.held = held
      self.mine = mine
      self.waiting = waiting
    }
  }

  package enum Decision: Equatable, Sendable {
    case apply
    /// The row is this new or newer here.
    case old
    /// An own edit is on its way that the cloud had not seen; the cloud answers it.
    case edited
  }

  /// - Parameters:
  ///   - epoch: the outbox's.
  ///   - seen: of earlier epochs on the path of parents, the highest version that is a part of this one's history.
  package static func decide(_ event: DownEvent, known: Known, epoch: Epoch, seen: [Epoch: Int64]) -> Decision {
    guard event.version > known.held else { return .old }
    let newest = max(known.mine, known.waiting ?? 0)
    guard newest > 0 else { return .apply }
    // If the newest own edit was a delete, and the cloud has confirmed it and knows of none, it has forgotten the delete.
    guard let edge = event.edge else { return known.waiting == nil && !known.isThere ? .apply : .edited }
    let isShared = edge.epoch == epoch || seen[edge.epoch].map { newest <= $0 } ?? false
    let isCovered = isShared && newest <= edge.version
    return isCovered ? .apply : .edited
  }
}
