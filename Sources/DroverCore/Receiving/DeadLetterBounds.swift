// Room for one more dead letter in the cloud. What a machine has in its outbox no more, or will have no more when its frame is covered, is
// never pushed out: where there is no room for it, its frame is not covered and stays at the edge. Everything else, garbage and bare
// events, makes room, the oldest of the machine that has most of it first, and a record of it stays.

package struct DeadLetterUse: Equatable, Sendable {
  package var letters: Int
  package var bytes: Int

  package init(letters: Int = 0, bytes: Int = 0) {
    self.letters = letters
    self.bytes = bytes
  }

  package static func + (a: Self, b: Self) -> Self { Self(letters: a.letters + b.letters, bytes: a.bytes + b.bytes) }
}

/// What a store knows of its dead letters, by the machine that they are of: "" for none.
package protocol DeadLetterLedger {
  /// - Parameter events: those that are events of agents' frames, or all others.
  func use(of machine: String, events: Bool) throws -> DeadLetterUse
  func total(events: Bool) throws -> DeadLetterUse
  /// The machine with most letters, or most bytes, of what is no agent's event.
  func owner(ofMost measure: KeyPath<DeadLetterUse, Int>) throws -> String?
  /// Drops a machine's oldest letter that is no agent's event, with a record. One that was sent again is on its way, and stays.
  func evict(from machine: String, now: Int64) throws -> Bool
}

extension DeadLetterBounds {
  /// What a letter takes besides its texts and bytes: the row and its places in the indexes.
  package static let bytesOfLetter = 300
  /// Records of what was dropped; beyond, one for each reason.
  package static let mostRecords = 1000

  /// Whether a letter with so many bytes of its own has room now, perhaps because others went.
  package func makeRoom(
    for letter: DeadLetter, kept: Int, now: Int64, in ledger: some DeadLetterLedger
  ) throws -> Bool {
    let size = kept + letter.topic.utf8.count + letter.detail.utf8.count + Self.bytesOfLetter
    let machine = letter.machine?.text ?? ""
    // Nothing pushes out the events of agents, so they alone must leave room, for their own share and for the whole.
    guard fits(try ledger.use(of: machine, events: true), size, share: 2), fits(try ledger.total(events: true), size)
    else { return false }
    while true {
      let own = try ledger.use(of: machine, events: true) + ledger.use(of: machine, events: false)
      guard fits(own, size, share: 2) else {
        guard try ledger.evict(from: machine, now: now) else { return false }
        continue
      }
      let all = try ledger.total(events: true) + ledger.total(events: false)
      guard !fits(all, size) else { return true }
      guard let most = try ledger.owner(ofMost: all.letters + 1 > maxCount ? \.letters : \.bytes),
        try ledger.evict(from: most, now: now)
      else { return false }
    }
  }

  /// A machine's letters take at most half of the room, so that one that has gone mad leaves the others theirs.
  private func fits(_ use: DeadLetterUse, _ size: Int, share: Int = 1) -> Bool {
    use.letters < max(1, maxCount / share) && use.bytes + size <= maxBytes / share
  }
}

extension DeadLetter {
  /// What a letter is found by when the same comes again.
  /// - Parameter kept: what is kept of its bytes.
  package static func digest(topic: String, kept: ArraySlice<UInt8>) -> Int64 {
    var hash = FNV1a()
    hash.combine(topic)
    hash.combine(kept)
    return Int64(bitPattern: hash.state)
  }
}
