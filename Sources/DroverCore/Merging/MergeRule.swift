// Who wins: what becomes of an event whose row may be in the cloud already. docs/protocol.md ("Kinds") has the rule in words.
//
// A store writes most events with one upsert, which has the same comparison in SQL, and asks this rule about the rows that the upsert did
// not take. Where the rule says `write` then, something of the table kept the row out. `CloudStoreConformance.whoWins` holds the upserts and
// the rule against each other on random events.

package struct MergeRule: Equatable, Sendable {
  package var kind: Kind
  /// Whether rows of it can be complete, because a condition is declared.
  package var completes: Bool

  package init(kind: Kind, completes: Bool) {
    self.kind = kind
    self.completes = completes
  }

  package enum Change: Sendable {
    case put
    case delete
  }

  /// What arrives for a row.
  package struct Arrival: Equatable, Sendable {
    package var change: Change
    package var version: RowVersion

    package init(_ change: Change, _ version: RowVersion) {
      self.change = change
      self.version = version
    }
  }

  /// The row that is there.
  package struct Stored: Equatable, Sendable {
    package var version: RowVersion
    /// The condition holds of it, so that it never changes again.
    package var isComplete: Bool

    package init(_ version: RowVersion, isComplete: Bool = false) {
      self.version = version
      self.isComplete = isComplete
    }
  }

  package enum Decision: Equatable, Sendable {
    /// Insert the row or replace the one that is there, and drop its tombstone.
    case write
    /// Remove the row if there is one, and leave a tombstone.
    case remove
    /// The same or a newer state is there.
    case ignore
    /// The stored row never changes. Compare what the event says with it, and ask again with the result.
    case compare
    /// Give the stored row the values that it lacks; nothing else of it changes.
    case fill
    /// Keep the event as a dead letter.
    case refuse(DeadLetterReason)
  }

  /// How the content of an event compares with a stored row that never changes.
  package enum Agreement: Equatable, Sendable {
    case same
    /// It differs only in what the schema of the stored row could not hold (`LateComparison`).
    case fills
    case differs
  }

  /// - Parameters:
  ///   - stored: nil where no row with this key is there.
  ///   - tombstone: the version of the newest delete of this key, while it is kept.
  package func decide(_ event: Arrival, stored: Stored?, tombstone: RowVersion?) -> Decision {
    if kind == .payload {
      // A fact is inserted once, whatever the versions say.
      guard event.change == .put else { return .refuse(.event) }
      return stored == nil ? .write : .compare
    }
    if let tombstone, tombstone >= event.version, event.change == .put || stored == nil { return .ignore }
    if let stored {
      if stored.version >= event.version { return .ignore }
      // The edge has cleared a record that is complete: the record stays.
      if stored.isComplete { return event.change == .put ? .compare : .ignore }
    }
    return event.change == .put ? .write : .remove
  }

  /// The second question, after `compare`.
  package func decide(_ agreement: Agreement) -> Decision {
    switch agreement {
    case .same: .ignore
    case .fills: .fill
    case .differs: .refuse(kind == .payload ? .conflict : .frozen)
    }
  }

  /// Whether an event may have to be compared with a stored row: where rows are facts, or can be complete.
  package var compares: Bool { kind == .payload || completes }
}

extension MergeOutcome {
  /// The outcome of an event that the rule refuses, with the sentence for the dead letter.
  package static func refused(_ reason: DeadLetterReason, _ event: SinkEvent) -> MergeOutcome {
    let id = event.localID.prefix(64)
    return switch reason {
    case .event: .refused(reason, detail: "a delete, in a stream of facts")
    case .conflict: .refused(reason, detail: "\(id) is there with another content")
    case .frozen: .refused(reason, detail: "\(id) is complete, and this would change it")
    default: .refused(reason, detail: "\(id): \(reason.rawValue)")
    }
  }

  /// The outcome of a header whose event would take a line away from another header, which is complete.
  package static func frozenLine(of event: SinkEvent, in table: StreamName) -> MergeOutcome {
    .refused(.frozen, detail: "a line of \(event.localID.prefix(64)) in \(table) belongs to what is complete")
  }
}
