// Events about the store: sink tables, tombstones, and how the last consumer ended.

import DroverCore
import DroverEvents
import Logging

struct SinkNotWritable: ConsumerEvent {
  let sink: BlockedSink
  var level: Logger.Level { .warning }
  var subject: String? { "blocked \(sink.stream)" }
  var text: String? { "\(sink.text); \(sink.blocked.advice)" }
}

struct SinkWritable: ConsumerEvent {
  let sink: BlockedSink
  var level: Logger.Level { .notice }
  var endedSubject: String? { "blocked \(sink.stream)" }
  var text: String? {
    "\(sink.stream): the sink table \(sink.blocked.table) can be written again, and the stream goes on"
  }
}

struct SinkLookFailed: ConsumerEvent {
  let error: any Error
  let pause: Duration
  var level: Logger.Level { .debug }
  var text: String? { "look at the sink tables: \(error); the consumer tries again in \(pause)" }
}

struct TombstonesNotRetired: ConsumerEvent {
  let error: any Error
  var level: Logger.Level { .warning }
  var text: String? { "retire tombstones: \(error); the consumer tries again in an hour" }
}

struct LastConsumerDied: ConsumerEvent {
  var level: Logger.Level { .warning }
  var text: String? {
    "the last consumer died, or was at work when this copy of the store was made; this one processes what the broker delivers again in small pieces until that is known to be harmless"
  }
}

struct OrderlyEndNotNoted: ConsumerEvent {
  let error: any Error
  var level: Logger.Level { .warning }
  var text: String? { "note the orderly end: \(error); the next consumer begins with small pieces" }
}

struct DownFailed: ConsumerEvent {
  let error: any Error
  var level: Logger.Level { .warning }
  var subject: String? { "down" }
  var text: String? { "send rows down: \(error); the consumer tries again in a second" }
}

struct DownNotPublished: ConsumerEvent {
  let topic: String
  let bytes: Int
  let error: PublishError
  var level: Logger.Level { .warning }
  var subject: String? { "down \(topic)" }
  var text: String? { "publish \(bytes) bytes on \(topic): \(error); the consumer tries again" }
}

struct CaptureLost: ConsumerEvent {
  let fault: CaptureFault
  var level: Logger.Level { .warning }
  var subject: String? { "down \(fault.table)" }
  var text: String? {
    fault.isMended
      ? "\(fault.text); the consumer makes them again, and `drover check` finds edits that were missed"
      : "\(fault.text); \(fault.advice)"
  }
}

struct CaptureNotMended: ConsumerEvent {
  let error: any Error
  var level: Logger.Level { .warning }
  var subject: String? { "down" }
  var text: String? { "look at the triggers that capture edits: \(error); the consumer tries again in 10 s" }
}
