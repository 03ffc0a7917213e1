// Events about messages: what was committed, what became a dead letter, and what waits at the machines.

import DroverCore
import DroverEvents
import Logging

struct MessagesCommitted: ConsumerEvent {
  var level: Logger.Level { .debug }
  /// `EventsMerged` says what became of them.
  var text: String? { nil }
  var metric: CommitResult? { .succeeded }
}

struct CommitFailed: ConsumerEvent {
  let messages: Int
  let error: any Error
  var level: Logger.Level { .error }
  var text: String? {
    "commit \(quantity(messages, "message")): \(error); the broker keeps them and delivers them again"
  }
  var metric: CommitResult? { .failed }
}

struct EventsMerged: ConsumerEvent {
  let origin: MachineStream
  let progress: StreamProgress
  var level: Logger.Level { .debug }
  var text: String? {
    "\(origin.stream) of \(origin.machine): \(progress.applied) applied, \(progress.superseded) superseded, \(progress.refused) refused"
  }
}

// MARK: Dead letters

struct DeadLettersKept: ConsumerEvent {
  let reason: DeadLetterReason
  let count: Int
  var level: Logger.Level { .warning }
  var subject: String? { "dead \(reason)" }
  var text: String? {
    "\(quantity(count, "dead letter")), reason \(reason.rawValue); `drover dead list` shows them"
  }
}

struct DeadLettersDropped: ConsumerEvent {
  let count: Int
  var level: Logger.Level { .warning }
  var subject: String? { "dropped" }
  var text: String? {
    "\(quantity(count, "dead letter")) dropped because the limit was reached (dead_letters.max_count, max_bytes); none of them was an agent's event; `drover status` lists them"
  }
}

struct DeadLettersFull: ConsumerEvent {
  let machine: MachineID
  var level: Logger.Level { .warning }
  var subject: String? { "full \(machine)" }
  var text: String? {
    "there is no space for a dead letter of \(machine), so its frame stays at the edge and is re-sent later; replay or purge dead letters, or raise dead_letters.max_count and max_bytes"
  }
}

struct PoisonSetAside: ConsumerEvent {
  let topic: String
  var level: Logger.Level { .error }
  var text: String? {
    "receive \(topic): the consumer died \(PoisonWatch.deaths) times while it processed this message alone, so it set the message aside as a dead letter, unread; please report it with the output of `drover dead show`"
  }
}

// MARK: What waits

struct FrameTooLarge: ConsumerEvent {
  let machine: MachineID
  let bytes: Int
  let limit: Int
  var level: Logger.Level { .warning }
  var subject: String? { "oversize \(machine)" }
  var text: String? {
    "a frame of \(machine) has \(bytes) bytes, and limits.message_bytes is \(limit); the machine will divide it"
  }
}

struct FramesWaiting: ConsumerEvent {
  let count: Int
  var level: Logger.Level { .warning }
  var subject: String? { "waiting" }
  var text: String? {
    "\(quantity(count, "frame")) set aside until the schema of the stream, or a new epoch, arrives; the consumer asked for it"
  }
}

struct SchemaRefused: ConsumerEvent {
  let stream: StreamName
  let machine: MachineID
  let reason: String
  var level: Logger.Level { .warning }
  var text: String? {
    "describe \(stream) of \(machine): \(reason); the stream waits at the edge, see `drover schema list`"
  }
}

struct ReplayedSchemaOutdated: ConsumerEvent {
  let stream: StreamName
  let machine: MachineID
  var level: Logger.Level { .notice }
  var text: String? {
    "describe \(stream) of \(machine): a replayed description is older than the machine's latest; it is ignored"
  }
}

struct BodiesHeld: ConsumerEvent {
  let stream: StreamName
  let machine: MachineID
  let reason: String
  var level: Logger.Level { .warning }
  var subject: String? { "bodies" }
  var text: String? {
    "take \(stream) of \(machine): \(reason); it waits at the edge, see `drover schema list`"
  }
}
