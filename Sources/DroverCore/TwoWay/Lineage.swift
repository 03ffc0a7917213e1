// From which history an epoch continues. A machine that is restored loses a part of its own edits; the cloud has to know which of them the machine
// still knows, because an edit overrides only what it has seen. docs/decisions/0050-two-way-rows.md has the reasons.

/// What an agent says about its epoch in the frames of two-way streams.
package struct Lineage: Equatable, Sendable {
  /// Where an epoch branches off another one.
  package struct Fork: Equatable, Sendable {
    package var parent: Epoch
    /// The highest version of the parent that is a part of this epoch's history too.
    package var version: Int64

    package init(parent: Epoch, version: Int64) {
      self.parent = parent
      self.version = version
    }
  }

  /// Rows of the stream without bookkeeping have no own edit above this version.
  package var since: Int64
  /// nil for an outbox that continues no other.
  package var fork: Fork?

  package init(since: Int64, fork: Fork? = nil) {
    self.since = since
    self.fork = fork
  }
}

/// Which edits of a machine an epoch has seen, by the numbers that the store gives epochs.
package struct EpochHistory: Equatable, Sendable {
  /// The number of the epoch itself.
  package let epoch: Int64
  /// For each epoch on the path of parents, the highest version that this epoch has seen.
  private let limits: [Int64: Int64]

  /// - Parameters:
  ///   - epoch: the epoch's number.
  ///   - forks: of each epoch with a parent, the parent's number and the version at the fork.
  package init(epoch: Int64, forks: [Int64: (parent: Int64, version: Int64)]) {
    self.epoch = epoch
    var limits: [Int64: Int64] = [epoch: .max]
    var (current, limit) = (epoch, Int64.max)
    // What a message says may go in a circle.
    while let fork = forks[current], limits[fork.parent] == nil {
      limit = min(limit, fork.version)
      limits[fork.parent] = limit
      current = fork.parent
    }
    self.limits = limits
  }

  /// The highest version of another epoch that this one has seen; nil where it has seen none.
  package func limit(of epoch: Int64) -> Int64? { limits[epoch] }

  package func hasSeen(_ edit: RowVersion) -> Bool { limits[edit.epoch].map { edit.version <= $0 } ?? false }

  /// How an own edit of this epoch relates to the newest one that is known.
  package enum Relation: Equatable, Sendable {
    /// It is older, and a part of the same history.
    case known
    case same
    case newer
    /// Neither has seen the other: the known one is of a future that the machine has lost.
    case concurrent
  }

  /// - Parameters:
  ///   - version: of the edit, which came in a frame of this epoch.
  ///   - newest: the newest own edit that the cloud knows; nil where it knows none.
  package func relation(of version: Int64, to newest: RowVersion?) -> Relation {
    guard let newest else { return .newer }
    guard let limit = limits[newest.epoch] else { return .concurrent }
    // In the shared history versions rise with every edit; above the fork there are two histories.
    guard version <= limit || newest.version <= limit else { return .concurrent }
    if version == newest.version { return .same }
    return version < newest.version ? .known : .newer
  }
}
