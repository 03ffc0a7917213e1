// The covered intervals of streams that are talking now, so that a frame costs no query; what changed is written once a transaction.

import DroverCore

struct ReceivedCache {
  struct Origin: Hashable {
    var machine: MachineID
    var epoch: Epoch
    var stream: StreamName
  }

  /// Enough for a fleet's active streams; beyond it the cache starts anew.
  private static let limit = 100_000

  private var sets: [Origin: IntervalSet] = [:]
  private(set) var changed: [Origin: IntervalSet] = [:]

  mutating func set(_ origin: Origin, load: () throws -> IntervalSet) rethrows -> IntervalSet {
    if let set = sets[origin] { return set }
    let set = try load()
    if sets.count >= Self.limit { sets = changed }
    sets[origin] = set
    return set
  }

  mutating func update(_ origin: Origin, _ set: IntervalSet) {
    sets[origin] = set
    changed[origin] = set
  }

  /// What changed stands in the store's transaction now.
  mutating func saved() { changed = [:] }
}
