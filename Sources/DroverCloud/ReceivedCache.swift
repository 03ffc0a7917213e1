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

  private var known: [Origin: Received] = [:]
  private(set) var changed: [Origin: Received] = [:]

  mutating func of(_ origin: Origin, load: () throws -> Received) rethrows -> Received {
    if let received = known[origin] { return received }
    let received = try load()
    if known.count >= Self.limit { known = changed }
    known[origin] = received
    return received
  }

  mutating func update(_ origin: Origin, _ received: Received) {
    known[origin] = received
    changed[origin] = received
  }

  /// What changed stands in the store's transaction now.
  mutating func saved() { changed = [:] }
}
