// Every delay and limit of the agent's work in one value, each with its reason. What an operator configures is set from the configuration; the rest
// are constants that a test may change. What other services use too stands beside its rule: `Backoff`, `LockWatch`, `SessionWatch`, `FrameSize`.

package struct RelayLimits: Equatable, Sendable {
  // MARK: What is outside of the edge's disk

  /// The most events, and bytes of their frames, that are sent and not confirmed yet.
  package var window = EventLimit(events: 50_000, bytes: 32 << 20)
  /// Most bytes of frames that wait for their PUBACK: as long as they do, the connection has them in memory.
  package var unacknowledgedBytes = 4 << 20

  // MARK: Reading

  /// Most outbox entries of one read.
  package var readEvents = 1000
  /// About how many bytes of rows are in memory at a time.
  package var readBytes = 1 << 20
  /// Most reads in one turn, so that PUBACKs and confirmations are heard in between.
  package var readsPerTurn = 4
  /// When this many entries wait beyond a read, the live lane jumps to the newest and leaves the rest to the backlog lane.
  package var liveLag: Int64 = 5000

  // MARK: Frames

  /// The most of one frame, where the stream's own declaration does not say it.
  package var frame = EventLimit(events: 100, bytes: 64 << 10)
  package var compression = Compression.none

  // MARK: Receiving

  /// Messages from the cloud that wait for the agent's turn. One batch of the connection always fits, and a turn follows each batch, so only a
  /// turn that cannot apply them lets them gather.
  package var queuedMessages = 4000
  package var queuedBytes = 8 << 20
  /// How long to wait after connecting for the retained confirmation: what it covers is not sent again.
  package var patience: Duration = .milliseconds(500)

  package var asking = AskingLimits()
  package var clock = ClockLimits()
  package var duplicates = DuplicateMachineLimits()
  package var loss = LossLimits()
  package var waiting = WaitingLimits()
  package var database = DatabaseLimits()
  package var reporting = ReportingLimits()
  package var answering = AnsweringLimits()
  package var worklists = WorklistLimits()

  package init() {}
}

/// Questions to the cloud about what it holds. Each costs a retained status and a confirmation.
package struct AskingLimits: Equatable, Sendable {
  /// Confirmations that seem too old lead to one question in this time, however many come.
  package var shortestDistance: Duration = .seconds(5)
  /// A question without an answer is put again after this, then after twice as long: it may have been lost in a queue.
  package var firstPatience: Duration = .seconds(30)
  package var longestPatience: Duration = .seconds(600)
  /// One of several consumers may have looked before another had committed. What comes next is ahead again, so an answer that lacks something
  /// counts only after this.
  package var behindDelay: Duration = .seconds(1)
  /// When the cloud is asked once more because its answer was too slow to tell the time.
  package var slowAnswerDelay: Duration = .seconds(10)
  /// Questions whose answers can still be told apart. On a slow link several are on their way.
  package var mostOpen = 64

  package init() {}
}

/// The machine's wall clock.
package struct ClockLimits: Equatable, Sendable {
  /// A difference between the wall clock and the monotonic one is a step from here on; less is drift and jitter.
  package var stepMicroseconds: Int64 = 2_000_000
  /// A clock that is further away from the cloud's is worth a line, for people read its times.
  package var warningMicroseconds: Int64 = 60_000_000
  /// An answer within this time measures the clock well enough: it is wrong by half of it at most.
  package var quickMicroseconds: Int64 = 500_000
  /// After so many slow answers the road is slow, and the best of them counts.
  package var mostAnswers = 4

  package init() {}
}

/// Others that are connected under this machine's name.
package struct DuplicateMachineLimits: Equatable, Sendable {
  /// How often the agent is heard of while it holds: the consumer needs to know whether both are still there.
  package var heartbeat: Duration = .seconds(5)
  /// How long the consumer has to find out whether there are two, before an epoch begins because of what the cloud has heard: it may be the
  /// other that it has heard.
  package var patience: Duration = .seconds(3)
  /// How often the agent is heard of meanwhile, so that the consumer can tell the two apart.
  package var doubtHeartbeat: Duration = .milliseconds(500)
  /// So long after another client took the session the doubt is not over.
  package var aftermathMicroseconds: Int64 = 10_000_000

  package init() {}
}

/// Frames that may be lost.
package struct LossLimits: Equatable, Sendable {
  /// A frame that was acknowledged before a confirmed one is lost after this, or after four round trips. The grace doubles while a stream's
  /// frames are lost and nothing of it is confirmed: perhaps the cloud takes none of them, as at its bound for dead letters.
  package var shortestGrace: Duration = .seconds(1)
  package var longestGrace: Duration = .seconds(60)
  /// After a silence of so long one frame is sent again, then after twice as long. The cloud may be away.
  package var firstProbe: Duration = .seconds(30)
  package var longestProbe: Duration = .seconds(600)
  /// How long a stream that the cloud could not take waits for word of the one frame that it tries.
  package var tryingDelay: Duration = .seconds(10)
  /// What no client subscribed to is sent again when a consumer is heard, but not more often than this.
  package var unheardDelay: Duration = .seconds(1)

  package init() {}
}

/// Streams that wait while the others go on.
package struct WaitingLimits: Equatable, Sendable {
  /// Rows that came down wait while rows of their stream are sent again.
  package var downDelay: Duration = .milliseconds(200)
  /// Frames that came down are confirmed together: so many, or those of so long.
  package var downConfirmFrames = 4
  package var downConfirmDelay: Duration = .milliseconds(50)
  /// How often rows that the app's tables refused are looked at: a person may want them to be tried again, or a parent row has come.
  package var refusedRetry: Duration = .seconds(5)
  /// The stream's event has no room among the dead letters, or the cloud cannot take the stream now.
  package var spaceDelay: Duration = .seconds(10)
  /// The stream's table is not there, or not as configured.
  package var tableDelay: Duration = .seconds(5)
  /// The connection could not take a frame.
  package var publishDelay: Duration = .seconds(10)

  package init() {}
}

/// The app's database.
package struct DatabaseLimits: Equatable, Sendable {
  /// The app is writing. It goes first.
  package var lockRetry: Duration = .milliseconds(20)
  /// After any other error. A shorter delay would fill the log, and a longer one keeps events waiting.
  package var errorRetry: Duration = .seconds(1)
  /// While a file is copied over the database it looks damaged, until all of it is there.
  package var copyingRetry: Duration = .milliseconds(500)
  package var copyingLimit: Duration = .seconds(2)
  /// After a hint the commit may not be visible yet: it is looked for a few times more, at growing distances.
  package var firstLook: Duration = .microseconds(100)
  package var longestLook: Duration = .milliseconds(50)
  /// Marks and forgets gather for so long, so that the app meets few of Drover's write transactions.
  package var settleInterval: Duration = .milliseconds(100)
  /// How often the disk is measured. The app and others fill it without a word.
  package var spaceInterval: Duration = .seconds(1)
  /// How often tables that streams wait for are looked at again, if anything was committed meanwhile.
  package var repairInterval: Duration = .seconds(5)
  /// Rows that are sent at a rate come in pieces of this part of a second.
  package var backfillPieces = 4

  package init() {}
}

/// What the agent says: to the cloud in its status, to the operator in its log.
package struct ReportingLimits: Equatable, Sendable {
  /// How often the outbox is reported to the cloud while it changes.
  package var reportInterval: Duration = .seconds(60)
  /// What is looked at first is not what a connection finds, for the confirmation may not be here yet.
  package var firstReport: Duration = .seconds(2)
  /// Without news it is reported once in so many intervals: often enough for a rule that calls a machine silent after a quarter of an hour.
  package var quietIntervals = 10
  /// Looking takes the longer the more waits, and at most one part in so many of the agent's time.
  package var lookingShare = 100
  /// An event that is confirmed sooner was on its way and did not wait.
  package var onItsWay: Duration = .seconds(1)
  /// How often the outbox is reported at once: so many times in a row, and one more whenever `atOnceRefill` has passed. An outbox that fills and
  /// empties all the time costs no more statuses than that.
  package var mostAtOnce = 4
  package var atOnceRefill: Duration = .seconds(10)
  /// How often traffic is worth a line.
  package var trafficInterval: Duration = .seconds(60)
  /// When an announcement that the connection could not take is tried again.
  package var announcementRetry: Duration = .milliseconds(100)
  /// How long a turn rests while nothing may be sent: two machines have one name, or a new epoch has to begin.
  package var heldRest: Duration = .milliseconds(250)
  /// The longest rest of a turn. Other processes commit, and not each of them is noticed.
  package var longestRest: Duration = .seconds(1)

  package init() {}
}

/// Worklists, which the cloud refills.
package struct WorklistLimits: Equatable, Sendable {
  /// An open request and an outcome that the cloud has not noted are said again after the first of these, then after twice as long. The cloud may be away.
  package var patience: ClosedRange<Duration> = .seconds(5) ... .seconds(300)
  /// Most bytes of the orders of one answer: a small part of what may wait from the cloud.
  package var answerBytes = 1 << 20
  /// An app that writes all the time has the table's rows counted this often.
  package var countDistance: Duration = .milliseconds(200)
  /// The app holds the lock. Nothing else waits for a refill.
  package var lockRetry: Duration = .milliseconds(200)
  /// After any other error of the database or its table.
  package var errorRetry: Duration = .seconds(10)

  package init() {}
}

/// Answers to the cloud's questions about what the tables hold.
package struct AnsweringLimits: Equatable, Sendable {
  /// Rows that one turn looks at: a few milliseconds.
  package var rowsPerTurn = 2000
  /// Rows whose digests one message carries.
  package var rowsPerMessage = 1000
  /// Messages without a PUBACK at a time.
  package var window = 8
  /// Questions that wait for their turn; the asker of one beyond them hears that it has to ask again.
  package var mostWaiting = 16

  package init() {}
}
