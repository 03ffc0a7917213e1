// The seam to the cloud's database. One transaction holds everything that one group of messages brings: upserts, covered
// intervals, tombstones and dead letters. DroverSQLite implements it; PostgreSQL and the simulation's store follow the same.

/// An event that is ready to be merged into its sink table.
package struct SinkEvent: Equatable, Sendable {
  package var seq: Int64?
  package var localID: String
  package var version: Int64
  package var at: String?
  package var content: Content
  /// For each of the schema's tables of lines its rows; empty without such tables, and for a delete.
  package var lines: [[[Value]]]
  /// The event's own text, should it have to become a dead letter.
  package var raw: ArraySlice<UInt8>
  /// Of a two-way stream: what the row had seen at the edge. Without it an edit has seen everything.
  package var ancestry: Ancestry?
  private let keySource: KeySource

  private enum KeySource: Equatable {
    case values([Value])
    case columns([Int])
  }

  /// The key's values for a stream with a table; empty without.
  package var key: [Value] {
    switch (keySource, content) {
    case (.values(let values), _): values
    case (.columns(let columns), .row(let row)): columns.map { row[$0] }
    case (.columns, _): []
    }
  }

  package init(
    seq: Int64?, localID: String, version: Int64, at: String?, key: [Value], content: Content,
    lines: [[[Value]]] = [], raw: ArraySlice<UInt8>
  ) {
    self.init(
      seq: seq, localID: localID, version: version, at: at, keySource: .values(key), content: content, lines: lines,
      raw: raw)
  }

  /// The same for a table that tells lives of a key apart, of a machine that has none: the first life.
  package func tellingLives() -> SinkEvent {
    var content = content
    if case .row(let row) = content { content = .row(Values(Array(row) + [StreamSchema.firstLife])) }
    return SinkEvent(
      seq: seq, localID: localID, version: version, at: at, key: key + [StreamSchema.firstLife], content: content,
      lines: lines, raw: raw)
  }

  /// An event whose key stands in its row.
  /// - Parameter columns: the key's positions in the row.
  package init(
    seq: Int64?, localID: String, version: Int64, at: String?, keyIn columns: [Int], row: Values, lines: [[[Value]]],
    raw: ArraySlice<UInt8>
  ) {
    self.init(
      seq: seq, localID: localID, version: version, at: at, keySource: .columns(columns), content: .row(row),
      lines: lines, raw: raw)
  }

  private init(
    seq: Int64?, localID: String, version: Int64, at: String?, keySource: KeySource, content: Content,
    lines: [[[Value]]], raw: ArraySlice<UInt8>
  ) {
    self.lines = lines
    self.raw = raw
    self.seq = seq
    self.localID = localID
    self.version = version
    self.at = at
    self.keySource = keySource
    self.content = content
  }
}

/// A stream of a machine.
package struct MachineStream: Hashable, Comparable, Sendable {
  package var machine: MachineID
  package var stream: StreamName

  package init(machine: MachineID, stream: StreamName) {
    self.machine = machine
    self.stream = stream
  }

  package static func < (a: Self, b: Self) -> Bool { (a.machine, a.stream) < (b.machine, b.stream) }
}

/// Where events of one stream of one machine go.
package struct Sink: Hashable, Sendable {
  package var machine: MachineID
  package var stream: StreamName
  package var kind: Kind
  /// nil: a table of `machine_id, local_id, occurred_at, body`.
  package var schema: StreamSchema?

  package init(machine: MachineID, stream: StreamName, kind: Kind, schema: StreamSchema?) {
    self.machine = machine
    self.stream = stream
    self.kind = kind
    self.schema = schema
  }
}

/// What became of one event.
package enum MergeOutcome: Equatable, Sendable {
  case applied
  /// The same or a newer state is there already.
  case superseded
  /// The sink cannot take it; it belongs to the dead letters, with this reason.
  case refused(DeadLetterReason, detail: String)
}

/// Why something could not be applied; the names stand in the table of dead letters.
package enum DeadLetterReason: String, CaseIterable, Sendable {
  case topic
  case unparsable
  case tooLarge = "too_large"
  case event
  /// The same ID with another content, in a stream of immutable facts.
  case conflict
  /// A change of a batch that is complete.
  case frozen
  /// A row that could be one or another of the things in the cloud, by its natural key.
  case ambiguous
  case schema
  case store
  /// The consumer died while it processed this message, again and again.
  case poison
}

/// Something that could not be applied, with what is needed to look into it and to try again.
package struct DeadLetter: Equatable, Sendable {
  package var topic: String
  package var machine: MachineID?
  package var stream: StreamName?
  /// The epoch of the frame that held it, for one event of a frame.
  package var epoch: Epoch?
  package var reason: DeadLetterReason
  package var detail: String
  package var raw: ArraySlice<UInt8>

  package init(
    topic: String, machine: MachineID?, stream: StreamName?, epoch: Epoch? = nil, reason: DeadLetterReason,
    detail: String, raw: ArraySlice<UInt8>
  ) {
    self.topic = topic
    self.machine = machine
    self.stream = stream
    self.epoch = epoch
    self.reason = reason
    self.detail = detail
    self.raw = raw
  }
}

/// What became of a dead letter that was to be kept.
package enum DeadLetterResult: Equatable, Sendable {
  case kept
  /// There is no room, and it is no agent's event: it is counted and on record, and gone.
  case dropped
  /// There is no room, and it is an agent's event: its number must not be covered, so that it stays at the edge.
  case full
}

/// What became of one message; every message that a transaction takes has one.
package enum MessageOutcome: String, Hashable, Sendable {
  /// A frame whose events were merged, or became dead letters one by one.
  case frame
  /// A bare event, likewise.
  case bare
  /// A frame that covers nothing new: it came twice.
  case duplicate
  /// A frame whose schema is not known; the edge sends it again.
  case waiting
  /// A frame of a run of the agent that a later one followed: its facts were taken where they could be, and nothing is covered. The edge sends it again, unless
  /// it is of a future that its database has lost.
  case overtaken
  /// A frame with an event that could not be applied, and with no room left among the dead letters, of a machine that there are two of, or of a
  /// stream whose sink table cannot be written now; the edge
  /// keeps it and sends it again.
  case held
  /// A schema or a status.
  case document
  /// The message as a whole is a dead letter.
  case deadLetter = "dead_letter"
  /// A budget of the machine's is used up: it was neither applied nor kept, and is counted by the budget. An agent sends it again.
  case setAside = "set_aside"
  /// On a topic that the consumer has nothing to do with: its own, or an answer that no program waits for.
  case ignored
}

/// What one transaction did to one stream of one machine, for the figures of `drover status`.
package struct StreamProgress: Equatable, Sendable {
  package var applied = 0
  package var superseded = 0
  package var refused = 0
  /// The highest version among the events.
  package var version: Int64 = 0

  package init() {}
}

/// The store cannot be used any more: its file is damaged and nothing may be written to it, or another consumer has this one's place. The text
/// says what was found and what to do.
package struct StoreUnusable: Error, CustomStringConvertible {
  package let description: String
  package init(description: String) { self.description = description }
}

package protocol CloudStore: AnyObject {
  /// Whether other consumers commit to it too: then what one transaction has read is not known in the next.
  var isShared: Bool { get }
  /// How often a transaction has found that another program may have changed what is in the store.
  var foreignChanges: Int { get }
  /// Whether another program may have committed since the last transaction. Costs next to nothing.
  var hasForeignCommits: Bool { get }
  /// Runs `body` in one transaction and returns after the commit. On an error nothing of it remains; `StoreUnusable` is one that
  /// will not go away.
  /// A store that others write to as well may run `body` again from its beginning, when nothing of the time before remains: what it changes
  /// outside the store it has to set back first, and an error of the transaction's it must let pass.
  func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result
  /// A note of the consumer's for the next one, or nil.
  func note(_ name: String) throws -> String?
  /// Writes a note, or takes it away. It survives the process from now on, and the power when anything later does: nothing is flushed for it.
  func setNote(_ name: String, _ value: String?) throws
}

extension CloudStore {
  package var isShared: Bool { false }
  package var foreignChanges: Int { 0 }
  package var hasForeignCommits: Bool { true }
}

/// A store that can number what happens to its rows, for those who follow them (`ChangeReader`).
package protocol FeedStore {
  /// For the consumer, before it takes anything: keeps a change feed from now on, or none. Consumers of a group should say the same.
  func keepFeed(_ isWanted: Bool) throws -> FeedChange
}

/// What became of the change feed when the consumer began.
package enum FeedChange: Equatable, Sendable {
  case none
  /// It was switched on, and so many rows were numbered.
  case began(rows: Int64)
  /// The store is not the one that readers know, so their cursors are of an era that has ended.
  case newEra
  case ended
}
