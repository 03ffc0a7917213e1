// The seam to the cloud's database within a transaction, by role. A store implements all of them; a caller asks for those that it needs.
// Errors mean that the transaction cannot be committed, but for `SinkBlocked`, which `adopt`, `holdBodies` and `merge` throw when a sink table cannot
// be written: then nothing of that one call remains, and the transaction goes on.

/// All that a store may be asked within a transaction.
package typealias CloudTransaction = StreamClaims & ReceivedRanges & EpochOrder & SchemaStore & RowStore & DeadLetterBox
  & MachineRecords & ConsumerRecords & TroubleRecords & SinkRecords & TwoWayStore

/// Which streams a transaction has to itself, where several consumers write to one store.
package protocol StreamClaims {
  /// Takes streams until the commit, so that what is read of them stays true: in a shared store those that no other consumer has now, in their
  /// order. It waits for one where all are taken.
  /// - Parameter most: how many it may take.
  func claim(_ streams: [MachineStream], most: Int) throws -> Set<MachineStream>
}

extension StreamClaims {
  /// With one writer the transaction has all of them.
  package func claim(_ streams: [MachineStream], most: Int) -> Set<MachineStream> { Set(streams) }
}

/// What was received of each stream, and by which runs of the agents.
package protocol ReceivedRanges {
  /// The sequence numbers that were covered of one stream in one epoch.
  func received(machine: MachineID, epoch: Epoch, stream: StreamName) throws -> IntervalSet
  func setReceived(_ received: IntervalSet, machine: MachineID, epoch: Epoch, stream: StreamName) throws
  /// All streams with received intervals in this epoch.
  func receivedStreams(machine: MachineID, epoch: Epoch) throws -> [StreamName: IntervalSet]
  /// The newest runs of the machine's agent that were heard of in this epoch, `Runs.most` of them.
  func runs(machine: MachineID, epoch: Epoch) throws -> Runs
  /// Takes note of a run, and of how far it has reached; that never goes back.
  func raise(_ run: Run, machine: MachineID, epoch: Epoch) throws
}

/// In which order a machine's epochs were heard of.
package protocol EpochOrder {
  /// Whether no other epoch of the machine was heard of later. One that was not heard of before is the latest from now on. Of each machine
  /// the newest epochs are known, and those that dead letters name; what was received in others is forgotten with them.
  func isLatest(_ epoch: Epoch, machine: MachineID) throws -> Bool
  /// Whether an epoch of the machine was heard of.
  func knows(_ epoch: Epoch, machine: MachineID) throws -> Bool
}

/// What machines say of their streams, and the sink tables that follow from it.
package protocol SchemaStore {
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
  /// The machine's streams: those that were described, of which events came, or of which something was received in its epoch.
  func streams(of machine: MachineID) throws -> Set<StreamName>
}

/// The rows of the sinks, and the tombstones of those that are gone.
package protocol RowStore {
  /// Merges events in their order; one outcome each. An epoch that was heard of later wins over an earlier one, whatever the versions
  /// say: after a restored backup the clock may be anywhere. Without an epoch the machine's latest counts.
  /// Of a sink whose rows are matched by natural key this holds for each machine's own rows; the sink table then has one row for each thing, of
  /// the newest version among them. A put of which it cannot be said which thing it is is refused as `ambiguous`, and has changed nothing.
  /// A header and its lines are merged as one: where the header takes effect, its lines in the cloud become those of the event.
  func merge(_ events: [SinkEvent], epoch: Epoch?, into sink: Sink) throws -> [MergeOutcome]
  /// Forgets tombstones that were made before a moment and that no older event of their epoch can meet any more.
  /// - Parameter moment: microseconds since 1970.
  func retireTombstones(madeBefore moment: Int64) throws
}

/// What could not be applied, as the consumer keeps it. People look into it through `CloudDeadLetterStore`.
package protocol DeadLetterBox {
  /// Keeps a dead letter; the same bytes on the same topic again only raise its count, say why it was refused now, and take the mark
  /// of a replay away. At a bound what is no agent's event makes room, the oldest of the machine that has most of it first; events of agents
  /// are never given up.
  @discardableResult
  func addDeadLetter(_ letter: DeadLetter) throws -> DeadLetterResult
  /// Whether letters are marked as sent again (`CloudDeadLetterStore`); while none is, no message has to be compared with them.
  func awaitsReplays() throws -> Bool
  /// The epoch of the marked letter with these bytes on this topic: its event came in a frame, and its version means something there only.
  func epochOfReplay(topic: String, raw: [UInt8]) throws -> Epoch?
  /// Whether the marked letter with these bytes on this topic is a description of a stream that the machine has described again since.
  func isOutdatedReplay(topic: String, raw: [UInt8]) throws -> Bool
  /// A message was taken that may be a letter's: the letter with these bytes on this topic goes if it still bears the mark.
  func settleReplay(topic: String, raw: [UInt8]) throws
}

/// What is known of machines: what they said of themselves, and what came of them.
package protocol MachineRecords {
  /// Notes what a machine said of itself.
  func setStatus(_ status: MachineStatus, machine: MachineID) throws
  /// A machine has taken back what it said of itself: nothing is known of its agent until it says something again.
  func withdrawStatus(machine: MachineID) throws
  /// Notes that events of a machine came, in an epoch where they were frames.
  func heard(machine: MachineID, epoch: Epoch?) throws
  func note(_ progress: StreamProgress, machine: MachineID, stream: StreamName) throws
  /// Adds to the account of what was set aside because a budget of the machine's was used up.
  func note(_ count: Int, over budget: Budget, machine: MachineID) throws
  /// The machines that were heard, with the epoch in which each was heard last.
  func machines() throws -> [MachineID: Epoch]
  /// Takes a machine out of the store: what is known of it, and of its streams. Where its rows stay, so do its epochs, for a machine of that name
  /// that comes later has to win over them. Its dead letters stay until a person purges them.
  /// - Parameter removesRows: whether its rows go too, from the tables that streams have now.
  /// - Returns: how many rows were removed.
  func forgetMachine(_ machine: MachineID, removesRows: Bool) throws -> Int
}

/// What the consumer keeps for itself.
package protocol ConsumerRecords {
  /// Writes a note of the consumer's, or takes it away, with the transaction.
  func setNote(_ name: String, _ value: String?) throws
  /// The name of the broker session in which the consumer received what is in the store.
  func session() throws -> String?
  func setSession(_ name: String) throws
  /// Adds to the account of what became of messages.
  func count(_ outcomes: [MessageOutcome: Int]) throws
}

/// What is wrong with who is connected.
package protocol TroubleRecords {
  /// What is wrong with who is connected, by machine.
  func troubles(_ kind: Trouble.Kind) throws -> [MachineID: Trouble]
  /// Keeps what is wrong, in the place of what was known of it.
  /// - Parameter machine: nil for the consumer.
  func note(_ trouble: Trouble, machine: MachineID?) throws
  func forget(_ kind: Trouble.Kind, machine: MachineID) throws
}

/// Sink tables that cannot be written, and the streams that wait because of them.
package protocol SinkRecords {
  /// Looks for sink tables that are gone or have lost what they need, also those that no event comes for, and makes them good.
  /// - Returns: those that cannot be.
  func repairSinks() throws -> [(stream: StreamName, blocked: SinkBlocked)]
  /// Orders a comparison of a stream with its machine, which re-sends what differs, as after a gap in the capture.
  /// - Parameter machine: nil for all that have described the stream.
  func reopenGaps(of stream: StreamName, machine: MachineID?) throws
  /// The streams that wait because of their sink tables.
  func blockedSinks() throws -> [BlockedSink]
  /// Keeps that a stream waits, in the place of what was known of it.
  func note(_ sink: BlockedSink) throws
  /// The stream goes on. Where the table was changed, its rows are to be compared with the machines'.
  func forget(_ sink: BlockedSink) throws
}
