// The truth table of who wins. The sentences stand in docs/protocol.md, "Kinds".

import DroverCore
import Testing

@Suite struct MergeRuleTests {
  /// A line of the table: what arrives at version 5 of epoch 2, and what is there.
  struct Line: CustomTestStringConvertible, Sendable {
    var change: MergeRule.Change
    var stored: MergeRule.Stored?
    var tombstone: RowVersion?
    var decision: MergeRule.Decision

    init(
      _ change: MergeRule.Change, row: MergeRule.Stored? = nil, tombstone: RowVersion? = nil,
      _ decision: MergeRule.Decision
    ) {
      self.change = change
      self.stored = row
      self.tombstone = tombstone
      self.decision = decision
    }

    var testDescription: String {
      let row = stored.map { "a row of \($0.version)\($0.isComplete ? ", complete" : "")" } ?? "no row"
      return "\(change), \(row), \(tombstone.map { "deleted at \($0)" } ?? "no tombstone"): \(decision)"
    }
  }

  private static let now = version(2, 5)
  private static func version(_ epoch: Int64, _ version: Int64) -> RowVersion {
    RowVersion(epoch: epoch, version: version)
  }
  private static func row(_ epoch: Int64, _ version: Int64) -> MergeRule.Stored { .init(Self.version(epoch, version)) }
  private static func complete(_ epoch: Int64, _ version: Int64) -> MergeRule.Stored {
    .init(Self.version(epoch, version), isComplete: true)
  }

  static let states: [Line] = [
    // No row is there.
    Line(.put, .write),
    Line(.put, tombstone: version(2, 4), .write),
    Line(.put, tombstone: version(1, 9), .write),
    Line(.put, tombstone: version(2, 5), .ignore),
    Line(.put, tombstone: version(2, 6), .ignore),
    Line(.put, tombstone: version(3, 0), .ignore),
    Line(.delete, .remove),
    Line(.delete, tombstone: version(2, 4), .remove),
    Line(.delete, tombstone: version(2, 5), .ignore),
    Line(.delete, tombstone: version(3, 0), .ignore),
    // A row that may change: the newer one wins, and an equal one is the same event again.
    Line(.put, row: row(2, 4), .write),
    Line(.put, row: row(1, 9), .write),
    Line(.put, row: row(2, 5), .ignore),
    Line(.put, row: row(2, 6), .ignore),
    Line(.put, row: row(3, 0), .ignore),
    Line(.delete, row: row(2, 4), .remove),
    Line(.delete, row: row(1, 9), .remove),
    Line(.delete, row: row(2, 5), .ignore),
    Line(.delete, row: row(3, 0), .ignore),
    // A row and a tombstone: somebody has put the row there. It is not newer than the delete.
    Line(.put, row: row(2, 4), tombstone: version(2, 5), .ignore),
    Line(.put, row: row(2, 4), tombstone: version(2, 4), .write),
    Line(.delete, row: row(2, 4), tombstone: version(2, 9), .remove),
    // A complete row: only what is newer could change it, and nothing does.
    Line(.put, row: complete(2, 4), .compare),
    Line(.put, row: complete(1, 9), .compare),
    Line(.put, row: complete(2, 5), .ignore),
    Line(.put, row: complete(3, 0), .ignore),
    Line(.put, row: complete(2, 4), tombstone: version(2, 5), .ignore),
    Line(.delete, row: complete(2, 4), .ignore),
    Line(.delete, row: complete(2, 6), .ignore),
  ]

  @Test(arguments: [Kind.snapshot, .batch], states)
  func `of states the newest wins until one is complete`(kind: Kind, line: Line) {
    let rule = MergeRule(kind: kind, completes: kind == .batch)
    #expect(rule.decide(.init(line.change, Self.now), stored: line.stored, tombstone: line.tombstone) == line.decision)
  }

  static let facts: [Line] = [
    Line(.put, .write),
    Line(.put, tombstone: version(3, 0), .write),
    Line(.put, row: row(2, 4), .compare),
    Line(.put, row: row(2, 5), .compare),
    Line(.put, row: row(3, 0), .compare),
    Line(.delete, .refuse(.event)),
    Line(.delete, row: row(2, 4), .refuse(.event)),
  ]

  @Test(arguments: facts)
  func `a fact is inserted once, whatever the versions say`(line: Line) {
    let rule = MergeRule(kind: .payload, completes: false)
    #expect(rule.decide(.init(line.change, Self.now), stored: line.stored, tombstone: line.tombstone) == line.decision)
  }

  @Test
  func `what says the same is ignored, what fills is written, and what differs is refused with the kind's reason`() {
    for (kind, reason) in [(Kind.payload, DeadLetterReason.conflict), (.batch, .frozen)] {
      let rule = MergeRule(kind: kind, completes: kind == .batch)
      #expect(rule.decide(.same) == .ignore)
      #expect(rule.decide(.fills) == .fill)
      #expect(rule.decide(.differs) == .refuse(reason))
    }
  }

  @Test func `a later epoch wins over an earlier one, and within an epoch the higher version`() {
    let rising = [(1, 0), (1, 7), (2, 0), (2, 1), (10, 0)].map { Self.version($0.0, $0.1) }
    for (index, version) in rising.enumerated() {
      for (other, another) in rising.enumerated() { #expect((version < another) == (index < other)) }
    }
  }

  @Test func `only where rows are facts or can be complete, an event is compared with one`() {
    for kind in [Kind.snapshot, .batch] {
      let rule = MergeRule(kind: kind, completes: false)
      #expect(!rule.compares)
      for line in Self.states where line.stored?.isComplete != true {
        #expect(rule.decide(.init(line.change, Self.now), stored: line.stored, tombstone: line.tombstone) != .compare)
      }
    }
    #expect(MergeRule(kind: .batch, completes: true).compares)
    #expect(MergeRule(kind: .payload, completes: false).compares)
  }
}
