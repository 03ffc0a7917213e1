// What the consumer does while a sink table cannot be written. It tells the machines to wait with the streams of that table, and their frames stay
// there; all other streams go on. `BlockedSinks` decides when the consumer tries again. No machine keeps a bare event, so it becomes a dead letter.

import DroverCore
import DroverEvents

extension Consumer {
  /// How often a consumer looks at the tables, and at what others of its group have found.
  private static let pauseOfLooks = Duration.seconds(10)

  /// Whether a stream has to wait without another try.
  func isBlocked(_ stream: StreamName, of machine: MachineID, _ group: inout MessageGroup) -> Bool {
    guard let found = group.blocks.find(stream, of: machine, now: wallClock()), !found.isDue else { return false }
    group.hold(stream, of: machine, because: .table)
    return true
  }

  /// A try has failed: the stream waits.
  func block(_ stream: StreamName, of machine: MachineID, _ blocked: SinkBlocked, _ group: inout MessageGroup) {
    let sink = group.blocks.note(blocked, stream, of: machine, now: wallClock())
    group.note(sink, isOver: false)
    group.hold(stream, of: machine, because: .table)
  }

  /// Events of a stream were written.
  func pass(_ stream: StreamName, of machine: MachineID, _ group: inout MessageGroup) {
    for sink in group.blocks.passed(stream, of: machine) { group.note(sink, isOver: true) }
  }

  /// A description whose tables cannot be changed now is asked for again.
  func describeLater(_ stream: StreamName, of machine: MachineID, _ group: inout MessageGroup) -> MessageOutcome {
    group.undescribed.insert(MachineStream(machine: machine, stream: stream))
    return .document
  }

  /// Merges events. Of a stream that waits, what no agent keeps is refused.
  func merge(
    _ events: [SinkEvent], epoch: Epoch?, into sink: Sink, _ transaction: any CloudTransaction,
    _ group: inout MessageGroup
  ) throws -> [MergeOutcome] {
    let isBare = events.allSatisfy { $0.seq == nil }
    // Who sends letters again has done something about the table.
    if isBare, !group.awaitsReplays, let found = group.blocks.find(sink.stream, of: sink.machine, now: wallClock()),
      !found.isDue
    {
      return events.map { _ in .refused(.store, detail: "\(found.sink.blocked)") }
    }
    do {
      let outcomes = try transaction.merge(events, epoch: epoch, into: sink)
      if outcomes.contains(where: { $0 == .applied || $0 == .superseded }) {
        pass(sink.stream, of: sink.machine, &group)
      }
      return outcomes
    } catch let blocked as SinkBlocked where isBare {
      block(sink.stream, of: sink.machine, blocked, &group)
      return events.map { _ in .refused(.store, detail: "\(blocked)") }
    }
  }

  /// Writes down what has changed, in one order.
  func writeBlocks(_ group: MessageGroup, _ transaction: any CloudTransaction) throws {
    for (sink, isOver) in group.blockNews {
      try isOver ? transaction.forget(sink) : transaction.note(sink)
    }
  }

  /// What comes after the commit.
  func reportBlocks(_ group: MessageGroup) {
    blocks = group.blocks
    undescribed.formUnion(group.undescribed)
    for (sink, isOver) in group.blockNews {
      if isOver {
        events.emit(SinkWritable(sink: sink))
      } else {
        events.emit(SinkNotWritable(sink: sink))
      }
    }
  }

  /// Asks again for descriptions whose tables may be free by now, and looks at what other consumers have found.
  func lookAtBlocks(now: ContinuousClock.Instant) {
    for origin in undescribed.sorted()
    where blocks.find(origin.stream, of: origin.machine, now: wallClock())?.isDue ?? true {
      undescribed.remove(origin)
      requests[.command(origin.machine, name: "schema")] = []
    }
    guard lastLookAtBlocks.map({ $0.advanced(by: Self.pauseOfLooks) <= now }) ?? true else { return }
    lastLookAtBlocks = now
    do {
      var group = MessageGroup()
      try store.transaction { transaction in
        group = MessageGroup()
        group.blocks = blocks
        if store.isShared { group.blocks.take(try transaction.blockedSinks()) }
        guard isLeader() else { return }
        for (stream, blocked) in try transaction.repairSinks() {
          group.note(group.blocks.note(blocked, stream, now: wallClock()), isOver: false)
        }
        try writeBlocks(group, transaction)
      }
      reportBlocks(group)
    } catch {
      events.emit(SinkLookFailed(error: error, pause: Self.pauseOfLooks))
    }
  }
}
