/// What a stream's events are, which decides how the cloud merges them (docs/protocol.md).
package enum Kind: String, CaseIterable, Sendable {
  /// The state of a keyed thing: the newest version wins, deletes travel.
  case snapshot
  /// An immutable fact: inserted once, never overwritten, never deleted.
  case payload
  /// A unit of work with a life: the newest version wins until it is complete.
  case batch
}

/// What an event does to its row.
package enum Operation: String, Sendable {
  case put
  case delete
}
