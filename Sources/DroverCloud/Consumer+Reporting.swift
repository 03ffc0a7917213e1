// What the consumer reports of a group of messages after its commit.

import DroverCore
import DroverEvents
import DroverWire
import Logging

extension Consumer {
  func report(_ group: MessageGroup) {
    // A machine says it again and again; people want to know when it changes.
    for (machine, status) in group.statuses
    where isOnline.updateValue(status.isOnline, forKey: machine) != status.isOnline {
      events.emit(MachineConnected(machine: machine, isOnline: status.isOnline))
    }
    for (reason, count) in group.deadLetters.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      events.emit(DeadLettersKept(reason: reason, count: count))
    }
    let farthest = wallClock() + HybridClock.tolerance
    for (origin, progress) in group.progress.sorted(by: { $0.key < $1.key }) where progress.version > farthest {
      events.emit(VersionsAhead(origin: origin, version: progress.version))
    }
    if group.dropped > 0 { events.emit(DeadLettersDropped(count: group.dropped)) }
    for machine in group.full.sorted() { events.emit(DeadLettersFull(machine: machine)) }
    for (machine, bytes) in group.oversize.sorted(by: { $0.key < $1.key }) {
      events.emit(FrameTooLarge(machine: machine, bytes: bytes, limit: limits.messageBytes))
    }
    if let waiting = group.outcomes[.waiting], group.oversize.isEmpty { events.emit(FramesWaiting(count: waiting)) }
    guard events.writes(.debug) else { return }
    for (origin, progress) in group.progress.sorted(by: { $0.key < $1.key }) {
      events.emit(EventsMerged(origin: origin, progress: progress))
    }
  }
}
