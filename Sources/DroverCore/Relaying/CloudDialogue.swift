// The agent's dialogue with the cloud: what a confirmation means, when to ask, when an epoch is over, and whether another machine of the same name is
// at work. It has no clock, no disk and no network; DroverEdge tells it what has come and does what it says.

package struct CloudDialogue: Sendable {
  package typealias Instant = ContinuousClock.Instant

  /// What the consumer says of machines with one name.
  package enum CloneNews: Equatable, Sendable {
    case same
    /// Two are at work: nothing is sent until only one is heard.
    case cloned(Trouble)
    /// Only this one is heard now: it goes on, with a new question.
    case alone
  }

  /// What becomes of a confirmation.
  package enum ConfirmationOutcome: Equatable, Sendable {
    /// It waits for the turn.
    case waits
    /// Two machines have this name, so it may be about the other.
    case held
    /// It covers this event, and the agent never handed out one so high. It is not from the consumer.
    case impossible(highest: Int64)
  }

  /// A confirmation that waits for the turn; a newer one takes its place.
  package struct Pending: Equatable, Sendable {
    package var confirmation: Confirmation
    /// The broker kept it for new subscribers.
    package var isKept: Bool
  }

  package private(set) var epoch = EpochWatch()
  package private(set) var question: CloudQuestion
  package private(set) var duplicates: DuplicateMachineHold
  private var pending: Pending?

  package init(limits: RelayLimits) {
    question = CloudQuestion(limits: limits.asking)
    duplicates = DuplicateMachineHold(limits: limits.duplicates)
  }

  /// Whether nothing may be sent: it would be mixed with another machine's events, or it is of an epoch that is over.
  package var isHeld: Bool { duplicates.isHeld || epoch.isOver }

  // MARK: The connection

  /// - Parameter wall: microseconds since 1970.
  package mutating func opened(wall: Int64) {
    duplicates.opened(now: wall)
    question.restarted()
  }

  /// - Parameter isTaken: the broker gave the session to another client; nil where it closed the connection without a word.
  /// - Returns: what is wrong, if that is no accident any more.
  package mutating func ending(isTaken: Bool?, wall: Int64) -> Trouble? {
    duplicates.closed(isTaken: isTaken, now: wall)
  }

  package mutating func closed() { question.disconnected() }

  // MARK: What is heard

  package mutating func heard(clonedSince since: Int64?) -> CloneNews {
    guard duplicates.hear(clonedSince: since) else { return .same }
    epoch.forgave()
    pending = nil
    guard let since else {
      question.restarted()
      return .alone
    }
    return .cloned(Trouble(.cloned, since: since, last: since, count: 1))
  }

  /// Each confirmation is compared with the agent's own runs, also one that a newer one follows at once: it may be the only one that tells.
  /// - Parameters:
  ///   - epoch: the store's.
  ///   - runs: the agent's own in that epoch.
  package mutating func heard(_ confirmation: Confirmation, isKept: Bool, epoch: Epoch, runs: Runs)
    -> ConfirmationOutcome
  {
    guard !duplicates.isHeld else { return .held }
    if confirmation.epoch == epoch {
      if runs.contradicts(confirmation.runs) {
        self.epoch.ended(.unknownRun)
      } else if let highest = confirmation.streams.values.compactMap(\.last).max(), highest > runs.reached {
        // The consumer tells of a run together with everything that it has of it.
        return .impossible(highest: highest)
      }
    }
    pending = Pending(confirmation: confirmation, isKept: isKept)
    return .waits
  }

  /// The cloud has other events under the same numbers. The message may have lain in the broker since an epoch that is over anyway.
  package mutating func heardEpochOver(_ heard: [UInt8], epoch: Epoch) {
    guard !duplicates.isHeld, heard.elementsEqual(epoch.text.utf8) else { return }
    self.epoch.ended(.otherEvents)
  }

  // MARK: The turn

  /// The newest confirmation that was not acted on yet; none while the epoch is over.
  package mutating func takePending(epoch: Epoch) -> Pending? {
    guard !self.epoch.isOver, let pending, pending.confirmation.epoch == epoch else { return nil }
    self.pending = nil
    return pending
  }

  /// What a confirmation of this epoch means.
  /// - Parameters:
  ///   - received: what it says of this machine's streams, by number.
  ///   - wentBack: it lacks what was confirmed when the question that it answers was asked.
  ///   - isBehind: it lacks something that is confirmed now.
  package mutating func judge(
    _ confirmation: Confirmation, received: [Int: IntervalSet], machine: MachineID, wentBack: Bool, isBehind: Bool,
    now: Instant
  ) -> CloudQuestion.Outcome {
    let hearing = question.heard(answer: confirmation.answer, wentBack: wentBack, isBehind: isBehind, now: now)
    if hearing.verdict == .wentBack {
      let isUnknown = received.values.allSatisfy(\.isEmpty) && confirmation.runs.newest == nil
      epoch.ended(isUnknown ? .unknownMachine(machine) : .cloudWentBack)
    }
    return hearing
  }

  /// Whether to ask now. While two machines may have one name, the consumer has to hear of this one.
  package mutating func isQuestionDue(now: Instant) -> Bool {
    let isPresenceDue = duplicates.isDue(now: now)
    return question.isDue(now: now) || isPresenceDue
  }

  package mutating func asked(_ number: Int64, now: Instant) { question.asked(number, now: now) }
  package mutating func answerWasSlow(now: Instant) { question.answerWasSlow(now: now) }
  /// - Returns: whether to ask now.
  package mutating func clockWasSet(now: Instant) -> Bool { question.clockWasSet(now: now) }

  // MARK: The epoch

  /// What is to be done about the epoch now. What the cloud has heard may be another machine's, so that waits until the consumer can tell the two
  /// apart; what the database is, the agent knows by itself.
  /// - Parameter wall: microseconds since 1970.
  package mutating func epochStep(now: Instant, wall: Int64) -> EpochWatch.Step {
    if case .over = epoch.state, duplicates.doubts(now: now, wall: wall) { return .none }
    return epoch.step
  }

  package mutating func databaseLeft(because reason: String) { epoch.left(because: reason) }
  package mutating func epochBegan() { epoch.began() }

  /// The relay works in the new epoch, and asks anew.
  package mutating func epochFinished() {
    epoch.finished()
    duplicates.epochBegan()
    question.restarted()
  }
}
