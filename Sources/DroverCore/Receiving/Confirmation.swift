/// What the cloud has committed of one machine's outbox. Only this lets the edge forget.
package struct Confirmation: Equatable, Sendable {
  package var epoch: Epoch
  /// Names the consumer's broker session: another one means that messages acknowledged before may never have reached it.
  package var session: String
  /// The cloud's wall clock when it said so, microseconds since 1970.
  package var at: Int64
  /// The sequence numbers that are covered.
  package var streams: [StreamName: IntervalSet]
  /// The runs of the agent that were heard of in this epoch, the newest.
  package var runs: Runs
  /// The machine's question (`MachineStatus.ask`) that this answers: then it is what the store holds now, and no message that lay
  /// in a broker for a while.
  package var answer: Int64?
  /// The largest message that the consumer takes, in bytes; nil where it does not say.
  package var maxMessageBytes: Int?
  /// Two agents are at work under this machine's name, since then, microseconds since 1970: both have to hold. Holds in whatever epoch the
  /// hearer is.
  package var clonedSince: Int64?
  /// The epoch of what goes down; nil where the consumer does not know two-way rows.
  package var down: Epoch?
  /// How many conflicts of the machine's rows wait for a person; nil where the consumer answers no questions about them.
  package var conflicts: Int?
  /// The consumer compares tables when a machine asks.
  package var compares: Bool
  /// The streams for which the consumer has a queue of orders; nil where it knows no worklists.
  package var worklists: [StreamName]?

  package init(
    epoch: Epoch, session: String, at: Int64, streams: [StreamName: IntervalSet], runs: Runs = Runs(),
    answer: Int64? = nil, maxMessageBytes: Int? = nil, clonedSince: Int64? = nil, down: Epoch? = nil,
    conflicts: Int? = nil, compares: Bool = false, worklists: [StreamName]? = nil
  ) {
    self.worklists = worklists
    self.compares = compares
    self.conflicts = conflicts
    self.down = down
    self.clonedSince = clonedSince
    self.runs = runs
    self.maxMessageBytes = maxMessageBytes
    self.answer = answer
    self.epoch = epoch
    self.session = session
    self.at = at
    self.streams = streams
  }
}

/// What a machine says of itself: its birth message, what it tells now and then while it is there, and its last will. Retained.
package struct MachineStatus: Equatable, Sendable {
  package var isOnline: Bool
  package var epoch: Epoch?
  /// Drover's version at the edge.
  package var software: String?
  /// When it was said, microseconds since 1970; nil in a last will, which the broker says later.
  package var at: Int64?
  /// Names this birth message; the cloud confirms in answer to it.
  package var ask: Int64?
  /// This machine's clock less the cloud's, microseconds, if an answer has shown it.
  package var clockOffset: Int64?
  /// Nil until it was looked at, and in a last will.
  package var outbox: OutboxFigures?
  /// How long before this was said the outbox was looked at, microseconds.
  package var outboxAge: Int64 = 0
  /// How long before it was heard this was said, microseconds: more than 0 where the broker kept it, nil if it kept it and it is not known for
  /// how long. It is no part of the document.
  package var age: Int64? = 0
  /// Streams whose changes may have been missed, each with a name for the last time: 1 to 32 lower-case hexadecimal digits.
  package var gaps: [StreamName: String]
  /// Names the agent's process; nil in a last will, and of an agent that knows of none.
  package var process: Int64?
  /// Another client takes the machine's session again and again.
  package var taken: Trouble?
  /// Streams that wait at the machine while the others go on.
  package var waits: [StreamWait]

  package init(
    isOnline: Bool, epoch: Epoch?, software: String?, at: Int64?, ask: Int64? = nil, clockOffset: Int64? = nil,
    outbox: OutboxFigures? = nil, outboxAge: Int64 = 0, gaps: [StreamName: String] = [:], process: Int64? = nil,
    taken: Trouble? = nil, waits: [StreamWait] = []
  ) {
    self.waits = waits
    self.outboxAge = outboxAge
    self.gaps = gaps
    self.process = process
    self.taken = taken
    self.outbox = outbox
    self.clockOffset = clockOffset
    self.ask = ask
    self.isOnline = isOnline
    self.epoch = epoch
    self.software = software
    self.at = at
  }

  /// Whether the machine said it itself, so that what it does not tell of is not so; a last will tells nothing.
  package var isOwn: Bool { at != nil }

  /// This status with what an earlier one says where this one says nothing.
  package func completed(by earlier: Self) -> Self {
    var completed = Self(
      isOnline: isOnline, epoch: epoch ?? earlier.epoch, software: software ?? earlier.software,
      at: at ?? earlier.at, ask: ask, clockOffset: clockOffset ?? earlier.clockOffset, outbox: outbox ?? earlier.outbox,
      outboxAge: outbox == nil ? earlier.outboxAge : outboxAge,
      gaps: earlier.gaps.merging(gaps) { _, new in new }, process: process ?? earlier.process,
      taken: taken ?? earlier.taken, waits: isOwn ? waits : earlier.waits)
    completed.age = age ?? earlier.age
    return completed
  }

  /// The same as it was kept by the broker.
  /// - Parameter now: the cloud's clock, microseconds since 1970.
  package func kept(now: Int64) -> Self {
    var kept = self
    kept.age = at.map { max(0, now - ($0 - (clockOffset ?? 0))) }
    return kept
  }

  /// When it was said, and when the outbox was looked at, by the cloud's clock; nil if it is not known.
  package func moments(now: Int64) -> (said: Int64?, looked: Int64?) {
    (age.map { max(0, now - $0) }, age.map { max(0, now - $0 - outboxAge) })
  }
}
