// What the store knows of machines that are talking now, so that a frame costs no query; what changed is written once a transaction.

import DroverCore

/// One stream in one epoch, with the intervals that are covered.
struct StreamOrigin: Hashable {
  var outbox: OutboxOrigin
  var stream: StreamName
}

/// One epoch of a machine, with the known runs of its agent.
struct OutboxOrigin: Hashable {
  var machine: MachineID
  var epoch: Epoch
}

struct ReceivedCache<Origin: Hashable, Known> {
  /// Enough for a fleet's active streams; beyond it the cache starts anew.
  private var limit: Int { 100_000 }

  private var known: [Origin: Known] = [:]
  private(set) var changed: [Origin: Known] = [:]

  mutating func of(_ origin: Origin, load: () throws -> Known) rethrows -> Known {
    if let known = known[origin] { return known }
    let loaded = try load()
    if known.count >= limit { known = changed }
    known[origin] = loaded
    return loaded
  }

  mutating func update(_ origin: Origin, _ new: Known) {
    known[origin] = new
    changed[origin] = new
  }

  /// What changed stands in the store's transaction now.
  mutating func saved() { changed = [:] }
}
