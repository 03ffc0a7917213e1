// The seam to the dead letters of either side, for the person who looks into them, sends them again or gives them up. DroverSQLite
// implements it for the edge's database and for the cloud's, DroverPostgreSQL for the cloud's; the consumer's own side of a replay is in
// CloudTransaction.

/// Which dead letters are meant; all conditions have to hold, and none means all letters.
package struct DeadLetterFilter: Equatable, Sendable {
  package var id: Int64?
  package var machine: MachineID?
  package var stream: StreamName?
  package var reason: DeadLetterReason?
  /// Only letters that existed at an earlier look: those with an id up to this.
  package var through: Int64?
  /// Only letters that stand behind this one in a list.
  package var behind: Place?

  /// Where a letter stands in a list: those that were seen last come first.
  package struct Place: Equatable, Sendable {
    /// Wall clock, microseconds since 1970.
    package var lastAt: Int64
    package var id: Int64

    package init(lastAt: Int64, id: Int64) {
      self.lastAt = lastAt
      self.id = id
    }
  }

  package init(
    id: Int64? = nil, machine: MachineID? = nil, stream: StreamName? = nil, reason: DeadLetterReason? = nil,
    through: Int64? = nil, behind: Place? = nil
  ) {
    self.behind = behind
    self.id = id
    self.machine = machine
    self.stream = stream
    self.reason = reason
    self.through = through
  }
}

/// How many dead letters a store keeps. At a bound nothing of an agent's is given up: it stays where it is.
package struct DeadLetterBounds: Equatable, Sendable {
  package var maxCount: Int
  package var maxBytes: Int

  package init(maxCount: Int = .max, maxBytes: Int = .max) {
    self.maxCount = maxCount
    self.maxBytes = maxBytes
  }
}

/// A dead letter as it lies in a store, without what it carries.
package struct KeptLetter: Equatable, Sendable {
  package var id: Int64
  /// The topic that it came on; nil at the edge, where it never left.
  package var topic: String?
  package var machine: MachineID?
  package var stream: StreamName?
  package var reason: String
  package var detail: String
  /// The message's or event's full size.
  package var bytes: Int
  /// How often the same came.
  package var count: Int
  /// Wall clock, microseconds since 1970.
  package var firstAt: Int64
  package var lastAt: Int64
  /// When it was sent again; nil when it was not, or when it has come back since. Wall clock, microseconds since 1970.
  package var replayedAt: Int64?

  package init(
    id: Int64, topic: String?, machine: MachineID?, stream: StreamName?, reason: String, detail: String, bytes: Int,
    count: Int, firstAt: Int64, lastAt: Int64, replayedAt: Int64?
  ) {
    self.id = id
    self.topic = topic
    self.machine = machine
    self.stream = stream
    self.reason = reason
    self.detail = detail
    self.bytes = bytes
    self.count = count
    self.firstAt = firstAt
    self.lastAt = lastAt
    self.replayedAt = replayedAt
  }
}

/// What a dead letter carries.
package enum LetterContent: Equatable, Sendable {
  /// In the cloud: the message's or event's own bytes, cut where they were larger than what is kept.
  case message(raw: [UInt8], isCut: Bool)
  /// At the edge: the outbox's entry that could not be sent. `row` has names and values where the store keeps them: an immutable fact's.
  /// A snapshot's are in its table.
  case entry(seq: Int64, operation: String, version: Int64, key: [Value], body: [UInt8]?, row: [NamedValue])

  package struct NamedValue: Equatable, Sendable {
    package var name: String
    package var value: Value

    package init(name: String, value: Value) {
      self.name = name
      self.value = value
    }
  }
}

/// The dead letters of one store, in figures.
package struct DeadLetterFigures: Equatable, Sendable {
  /// How many there are, as a list of them has rows: the same refused again is the same letter.
  package var present: Int
  /// Letters that were removed because they were replayed, and because they were purged.
  package var replayed: Int
  package var purged: Int
  /// Letters that were no agent's events and were dropped because the limit was reached.
  package var dropped: Int

  package init(present: Int = 0, replayed: Int = 0, purged: Int = 0, dropped: Int = 0) {
    self.dropped = dropped
    self.present = present
    self.replayed = replayed
    self.purged = purged
  }
}

package protocol DeadLetterStore: AnyObject {
  /// The letters that were seen last come first.
  func letters(_ filter: DeadLetterFilter, limit: Int) throws -> [KeptLetter]
  func count(_ filter: DeadLetterFilter) throws -> Int
  func figures() throws -> DeadLetterFigures
  /// The highest id given so far, 0 without letters.
  func newest() throws -> Int64
  func content(of id: Int64) throws -> LetterContent?
  /// Gives letters up for good; the store counts them. Returns how many there were.
  func purge(_ filter: DeadLetterFilter) throws -> Int
}

/// What became of a letter that was to go back into the outbox.
package enum Requeueing: Equatable, Sendable {
  /// It is in the outbox again, at its end and with its old version.
  case queued
  /// The outbox has a newer entry of the same key, which speaks for both; the letter is gone.
  case superseded
  /// There is no such letter.
  case missing
}

package protocol EdgeDeadLetterStore: DeadLetterStore {
  /// Moves a letter back into the outbox, in one transaction.
  func requeue(_ id: Int64) throws -> Requeueing
}

/// What a letter is found by after it was sent again, whatever has become of it.
package struct ReplayTicket: Equatable, Sendable {
  package var id: Int64
  package var topic: String
  package var digest: Int64
  package var bytes: Int

  package init(id: Int64, topic: String, digest: Int64, bytes: Int) {
    self.id = id
    self.topic = topic
    self.digest = digest
    self.bytes = bytes
  }
}

/// Whether a letter can be published again.
package enum ReplayStart: Equatable, Sendable {
  /// It is marked as sent again; the bytes are to be published as they are.
  case publish(OutboundMessage, ReplayTicket)
  /// It was larger than what is kept, and only its beginning is there.
  case cut(kept: Int, bytes: Int)
  /// It is a description of a stream, and the machine has described the stream again since.
  case outdated
  case missing
}

/// What has become of a letter that was published again.
package enum ReplayState: Equatable, Sendable {
  /// The consumer has not had it yet.
  case waiting
  /// The consumer has had it, and the letter is gone.
  case taken
  /// The consumer has had it, and refused it as before or for another reason.
  case refused(KeptLetter)
}

/// A letter goes only in the transaction in which the consumer takes its message again. So nothing is lost between the two, whatever the
/// broker does with the message in between.
package protocol CloudDeadLetterStore: DeadLetterStore {
  /// Marks a letter as sent again and returns what to publish.
  func beginReplay(_ id: Int64) throws -> ReplayStart
  /// The broker did not take it: the mark goes, the letter stays.
  func cancelReplay(_ ticket: ReplayTicket) throws
  func replayState(_ ticket: ReplayTicket) throws -> ReplayState
}
