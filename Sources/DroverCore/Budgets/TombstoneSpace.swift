// When a machine's tombstones are counted, and how many of them have to go. To count them reads all of them, so that is done at the first
// delete after a start, and then each time a sixteenth of the limit has been added.

package struct TombstoneUse: Equatable, Sendable {
  package var count: Int
  package var bytes: Int

  package init(count: Int = 0, bytes: Int = 0) {
    self.count = count
    self.bytes = bytes
  }
}

extension TombstoneUse {
  /// What the deletes among a stream's events may have added.
  package init(_ events: [SinkEvent], _ outcomes: [MergeOutcome], stream: StreamName) {
    self.init()
    for (event, outcome) in zip(events, outcomes) where event.content == .none && outcome == .applied {
      count += 1
      bytes += event.localID.utf8.count + stream.text.utf8.count + TombstoneSpace.bytesOfEach
    }
  }
}

package struct TombstoneSpace: Sendable {
  /// What a tombstone takes besides its local ID and the names of its machine and stream.
  package static let bytesOfEach = 64
  private static let mostMachines = 100_000
  private static let share = 16

  /// Added since the last count; no entry where there was none.
  private var added: [MachineID: TombstoneUse] = [:]

  package init() {}

  /// Tombstones were added.
  /// - Returns: whether they are to be counted now.
  package mutating func isDue(_ new: TombstoneUse, of machine: MachineID, _ limits: MachineLimits) -> Bool {
    guard var sum = added[machine] else { return true }
    sum.count += new.count
    sum.bytes += new.bytes
    added[machine] = sum
    return sum.count >= max(1, limits.tombstones / Self.share)
      || sum.bytes >= max(1, limits.tombstoneBytes / Self.share)
  }

  package mutating func counted(_ machine: MachineID) {
    if added.count >= Self.mostMachines { added = [:] }
    added[machine] = TombstoneUse()
  }

  /// How many of the oldest have to go at once; nil when there is room. Some more than needed go, so that it is not every delete's work.
  package static func excess(_ use: TombstoneUse, _ limits: MachineLimits) -> Int? {
    guard use.count > limits.tombstones || use.bytes > limits.tombstoneBytes else { return nil }
    return max(1, use.count / share, use.count - limits.tombstones)
  }
}
