// What a frame counts for in the cloud: whether its events are applied, and whether its interval counts as received. docs/protocol.md
// ("Frames", "Epochs") has the rule in words. The consumer gathers what the store knows, asks here, and does what the verdict says. Budgets,
// cloned machines and sink tables that cannot be written are looked at by the consumer: they do not depend on the frame.

/// What the cloud knows that decides what a frame counts for.
package struct FrameContext: Sendable {
  package enum Schema: Equatable, Sendable {
    /// The frame names none: its stream has no table.
    case none
    /// The schema that the frame names, of this kind.
    case known(Kind)
    /// The machine has not described it, as far as the store knows.
    case unknown
    /// The machine has described it, and the store cannot follow it until a person accepts it.
    case waiting
  }

  /// The kind that the frame's topic names.
  package var kind: Kind
  package var schema: Schema
  /// Whether no later epoch of the machine was heard of.
  package var isLatestEpoch: Bool
  /// The newest runs of the machine's agent that were heard of in the frame's epoch.
  package var runs: Runs
  /// What of the stream was received in the frame's epoch.
  package var received: IntervalSet
  /// Both sides edit its rows.
  package var isTwoWay: Bool

  package init(
    kind: Kind, schema: Schema, isLatestEpoch: Bool, runs: Runs, received: IntervalSet, isTwoWay: Bool = false
  ) {
    self.isTwoWay = isTwoWay
    self.kind = kind
    self.schema = schema
    self.isLatestEpoch = isLatestEpoch
    self.runs = runs
    self.received = received
  }
}

package enum FrameVerdict: Equatable, Sendable {
  /// Apply the events. The interval counts as received if `covers`; of an epoch that is over nothing does.
  case take(covers: Bool)
  /// Apply nothing; the edge sends the frame again. The machine has to describe its stream first.
  case askForSchema
  /// Apply nothing; the edge sends the frame again. The machine has to wait with the stream, because a person has to accept its schema.
  case hold
  /// A later run of the agent was heard of. Nothing is covered, and of the events only facts are applied.
  case overtaken(takesFacts: Bool)
  /// All of it was received before.
  case duplicate
  /// The topic names another kind than the schema does: a dead letter.
  case wrongKind(Kind)
}

package enum FrameRule {
  package static func decide(_ frame: FrameHeader, in context: FrameContext) -> FrameVerdict {
    switch context.schema {
    case .unknown: return .askForSchema
    case .waiting: return .hold
    case .known(let kind) where kind != context.kind: return .wrongKind(kind)
    case .known, .none: break
    }
    // Either the frame has lain in a broker since before the machine's latest epoch, or the machine was restored to an epoch that is over,
    // together with what remembers it. In the second case rows of the later epoch have won, and the machine has to send all of them in a
    // newer one.
    guard context.isLatestEpoch else {
      // Rows of a two-way stream come again in the latest epoch, with what they have seen.
      return context.isTwoWay ? .overtaken(takesFacts: false) : .take(covers: false)
    }
    // Perhaps the frame is late, and the edge sends it again because nothing confirms it. Perhaps it is of a future that the edge's database
    // has lost, and its numbers are other events now: then its rows are none of the machine's, and its facts are true all the same.
    if context.runs.isOver(frame.run) { return .overtaken(takesFacts: context.kind == .payload) }
    return context.received.contains(frame.interval) ? .duplicate : .take(covers: true)
  }

  /// What became of a frame that was taken.
  /// - Parameter isWhole: whether each of its events is applied or a dead letter. Where one is neither, the edge has to keep it.
  package static func outcome(covers: Bool, isWhole: Bool) -> MessageOutcome {
    isWhole ? covers ? .frame : .waiting : .held
  }
}
