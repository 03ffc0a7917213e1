// What the log says of a group of messages: a flood of garbage must not become a flood of lines.

import DroverCore
import DroverWire
import Logging

extension Consumer {
  func report(_ group: MessageGroup) {
    // A machine says it again and again; people want to know when it changes.
    for (machine, status) in group.statuses
    where isOnline.updateValue(status.isOnline, forKey: machine) != status.isOnline {
      logger.info("\(machine) is \(status.isOnline ? "online" : "offline")")
    }
    for (reason, count) in group.deadLetters.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      warnRarely(
        "dead \(reason)", "\(quantity(count, "dead letter")), reason \(reason.rawValue); `drover dead list` shows them")
    }
    let farthest = wallClock() + HybridClock.tolerance
    for (origin, progress) in group.progress.sorted(by: { $0.key < $1.key }) where progress.version > farthest {
      warnRarely(
        "ahead \(origin.machine)",
        "versions of \(origin.stream) of \(origin.machine) are ahead of the clock here, the newest is from \(Timestamp.text(microseconds: progress.version)): the clock there was wrong, or the one here is; the order is kept"
      )
    }
    if group.dropped > 0 {
      warnRarely(
        "dropped",
        "\(quantity(group.dropped, "dead letter")) dropped because the limit was reached (dead_letters.max_count, max_bytes); none of them was an agent's event; `drover status` lists them"
      )
    }
    for machine in group.full.sorted() {
      warnRarely(
        "full \(machine)",
        "there is no space for a dead letter of \(machine), so its frame stays at the edge and is re-sent later; replay or purge dead letters, or raise dead_letters.max_count and max_bytes"
      )
    }
    for (machine, bytes) in group.oversize.sorted(by: { $0.key < $1.key }) {
      warnRarely(
        "oversize \(machine)",
        "a frame of \(machine) has \(bytes) bytes, and limits.message_bytes is \(limits.messageBytes); the machine will divide it"
      )
    }
    if let waiting = group.outcomes[.waiting], group.oversize.isEmpty {
      warnRarely(
        "waiting",
        "\(quantity(waiting, "frame")) set aside until the schema of the stream, or a new epoch, arrives; the consumer asked for it"
      )
    }
    guard logger.logLevel <= .debug else { return }
    for (origin, progress) in group.progress.sorted(by: { $0.key < $1.key }) {
      logger.debug(
        "\(origin.stream) of \(origin.machine): \(progress.applied) applied, \(progress.superseded) superseded, \(progress.refused) refused"
      )
    }
  }

  /// The first of a kind, then the 10th, the 100th and so on: a flood of garbage must not become a flood of lines.
  func warnRarely(_ subject: String, _ text: String) {
    let count = warned[subject, default: 0] + 1
    warned[subject] = count
    var power = 1
    while power < count { power *= 10 }
    if power == count { logger.warning("\(text)\(count > 1 ? " (\(count) times since the start)" : "")") }
  }
}
