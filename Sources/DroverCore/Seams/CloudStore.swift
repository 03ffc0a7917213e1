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
package enum Burial: Equatable, Sendable {
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
  /// On a topic that the consumer has nothing to do with: its own, or an answer that nobody waits for.
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

/// What a store may be asked within a transaction. Errors mean that the transaction cannot be committed, but for `SinkBlocked`, which `adopt`,
/// `holdBodies` and `merge` throw when a sink table cannot be written: then nothing of that one call remains, and the transaction goes on.
package protocol CloudTransaction {
  /// Takes streams until the commit, so that what is read of them stays true: in a shared store those that nobody else has now, in their
  /// order. It waits for one where all are taken.
  /// - Parameter most: how many it may take.
  func claim(_ streams: [MachineStream], most: Int) throws -> Set<MachineStream>

  /// The sequence numbers that were covered of one stream in one epoch.
  func received(machine: MachineID, epoch: Epoch, stream: StreamName) throws -> IntervalSet
  func setReceived(_ received: IntervalSet, machine: MachineID, epoch: Epoch, stream: StreamName) throws
  /// All streams with received intervals in this epoch.
  func receivedStreams(machine: MachineID, epoch: Epoch) throws -> [StreamName: IntervalSet]
  /// The newest runs of the machine's agent that were heard of in this epoch, `Runs.most` of them.
  func runs(machine: MachineID, epoch: Epoch) throws -> Runs
  /// Takes note of a run, and of how far it has reached; that never goes back.
  func raise(_ run: Run, machine: MachineID, epoch: Epoch) throws

  /// The schema that a machine's stream was described with, or nil.
  func schema(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> StreamSchema?
  /// The schema that a machine's stream was described with last, or nil.
  func latestSchema(machine: MachineID, stream: StreamName) throws -> StreamSchema?
  /// Makes or widens the sink table, and those of its lines. What would change the table for other machines that use it waits for `accept`, and
  /// what differs from the configuration waits as long as it does. A natural key holds for the rows of machines that declare it, and for all
  /// rows once it was accepted or is pinned, until no machine declares it any more. Returns why that cannot be, or nil. A description replaces what the
  /// machine said of the stream before: what waited of it, and dead letters with older descriptions, are gone.
  func adopt(_ schema: StreamSchema, machine: MachineID, stream: StreamName) throws -> String?
  /// Whether this schema was described last and could not be adopted, so that asking for it again is of no use.
  func isWaiting(_ id: SchemaID, machine: MachineID, stream: StreamName) throws -> Bool
  /// Why frames without a schema of a machine's stream have to wait, or nil: the table of that name has columns, or is pinned otherwise. It is
  /// noted for the operator, as a schema is.
  func holdBodies(of sink: Sink) throws -> String?
  /// Adopts the schema of a machine's stream that waits. A table that cannot follow is put aside with its rows, and made anew; what other machines
  /// have described goes on where it fits, and waits where it does not. Returns nil when nothing waits.
  /// - Throws: `AcceptanceRefused` where the configuration or a limit is against it.
  func accept(machine: MachineID, stream: StreamName) throws -> Acceptance?

  /// Merges events in their order; one outcome each. An epoch that was heard of later wins over an earlier one, whatever the versions
  /// say: after a restored backup the clock may be anywhere. Without an epoch the machine's latest counts.
  /// Of a sink whose rows are matched by natural key this holds for each machine's own rows; the sink table then has one row for each thing, of
  /// the newest version among them. A put of which it cannot be said which thing it is is refused as `ambiguous`, and has changed nothing.
  /// A header and its lines are merged as one: where the header takes effect, its lines in the cloud become those of the event.
  func merge(_ events: [SinkEvent], epoch: Epoch?, into sink: Sink) throws -> [MergeOutcome]
  /// Adds to the account of what became of messages.
  func count(_ outcomes: [MessageOutcome: Int]) throws
  /// Keeps a dead letter; the same bytes on the same topic again only raise its count, say why it was refused now, and take the mark
  /// of a replay away. At a bound what is no agent's event makes room, the oldest of the machine that has most of it first; events of agents
  /// are never given up.
  @discardableResult
  func bury(_ letter: DeadLetter) throws -> Burial
  /// Whether letters are marked as sent again (`CloudDeadLetterStore`); while none is, no message has to be compared with them.
  func awaitsReplays() throws -> Bool
  /// The epoch of the marked letter with these bytes on this topic: its event came in a frame, and its version means something there only.
  func epochOfReplay(topic: String, raw: [UInt8]) throws -> Epoch?
  /// Whether the marked letter with these bytes on this topic is a description of a stream that the machine has described again since.
  func isOutdatedReplay(topic: String, raw: [UInt8]) throws -> Bool
  /// A message was taken that may be a letter's: the letter with these bytes on this topic goes if it still bears the mark.
  func settleReplay(topic: String, raw: [UInt8]) throws

  /// Whether no other epoch of the machine was heard of later. One that was not heard of before is the latest from now on. Of each machine
  /// the newest epochs are known, and those that dead letters name; what was received in others is forgotten with them.
  func isLatest(_ epoch: Epoch, machine: MachineID) throws -> Bool

  /// Whether an epoch of the machine was heard of.
  func knows(_ epoch: Epoch, machine: MachineID) throws -> Bool
  /// The machine's streams: those that were described, of which events came, or of which something was received in its epoch.
  func streams(of machine: MachineID) throws -> Set<StreamName>
  /// Adds to the account of what was set aside because a budget of the machine's was used up.
  func note(_ count: Int, over budget: Budget, machine: MachineID) throws

  /// Takes a machine out of the store: what is known of it, and of its streams. Where its rows stay, so do its epochs, for a machine of that name
  /// that comes later has to win over them. Its dead letters stay for whoever purges them.
  /// - Parameter removesRows: whether its rows go too, from the tables that streams have now.
  /// - Returns: how many rows were removed.
  func forgetMachine(_ machine: MachineID, removesRows: Bool) throws -> Int
  /// A machine has taken back what it said of itself: nothing is known of its agent until it says something again.
  func withdrawStatus(machine: MachineID) throws

  /// Notes what a machine said of itself.
  func setStatus(_ status: MachineStatus, machine: MachineID) throws
  /// Notes that events of a machine came, in an epoch where they were frames.
  func heard(machine: MachineID, epoch: Epoch?) throws
  func note(_ progress: StreamProgress, machine: MachineID, stream: StreamName) throws
  /// The machines that were heard, with the epoch in which each was heard last.
  func machines() throws -> [MachineID: Epoch]

  /// Writes a note of the consumer's, or takes it away, with the transaction.
  func setNote(_ name: String, _ value: String?) throws

  /// The name of the broker session in which the consumer received what is in the store.
  func session() throws -> String?
  func setSession(_ name: String) throws
  /// What is wrong with who is connected, by machine.
  func troubles(_ kind: Trouble.Kind) throws -> [MachineID: Trouble]
  /// Keeps what is wrong, in the place of what was known of it.
  /// - Parameter machine: nil for the consumer.
  func note(_ trouble: Trouble, machine: MachineID?) throws
  func forget(_ kind: Trouble.Kind, machine: MachineID) throws
  /// Looks for sink tables that are gone or have lost what they need, also those that no event comes for, and makes them good.
  /// - Returns: those that cannot be.
  func mendSinks() throws -> [(stream: StreamName, blocked: SinkBlocked)]
  /// The streams that wait because of their sink tables.
  func blockedSinks() throws -> [BlockedSink]
  /// Keeps that a stream waits, in the place of what was known of it.
  func note(_ sink: BlockedSink) throws
  /// The stream goes on. Where the table was changed, its rows are to be compared with the machines'.
  func forget(_ sink: BlockedSink) throws
  /// Forgets tombstones that were made before a moment and that no older event of their epoch can meet any more.
  /// - Parameter moment: microseconds since 1970.
  func retireTombstones(madeBefore moment: Int64) throws
}

/// The store cannot be used any more: its file is damaged and nothing may be written to it, or another consumer has this one's place. The text
/// says what was found and what to do.
package struct StoreUnusable: Error, CustomStringConvertible {
  package let description: String
  package init(description: String) { self.description = description }
}

extension CloudTransaction {
  /// With one writer all of them are his.
  package func claim(_ streams: [MachineStream], most: Int) -> Set<MachineStream> { Set(streams) }
}

package protocol CloudStore: AnyObject {
  /// Whether other consumers commit to it too: then what one transaction has read is not known in the next.
  var isShared: Bool { get }
  /// How often a transaction has found that somebody else may have changed what is in the store.
  var foreignChanges: Int { get }
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
