// The dialogue with the cloud: what ends an epoch, who else has this name, and which confirmation counts.

import DroverCore
import Testing

@Suite struct EpochWatchTests {
  private let away = EpochEnd.otherDatabase("it is another file")

  @Test func `an epoch that is over begins anew once, and holds when the relay works in it`() {
    var watch = EpochWatch()
    #expect(watch.state == .current && watch.step == .none && !watch.isOver)
    watch.ended(.unknownRun)
    #expect(watch.state == .over(.unknownRun) && watch.step == .begin(.unknownRun) && watch.isOver && !watch.isAway)
    watch.began()
    // A lock of the app's may be in the way of what follows: the store does not begin another one.
    #expect(watch.state == .begun(wasAway: false) && watch.step == .finish && watch.isOver)
    watch.finished()
    #expect(watch.state == .current)
  }

  @Test func `a database that is away is so until the relay works with another`() {
    var watch = EpochWatch()
    watch.left(because: "it is another file")
    #expect(watch.state == .away(away) && watch.step == .begin(away) && watch.isAway && watch.isOver)
    watch.began()
    #expect(watch.state == .begun(wasAway: true) && watch.isAway)
    watch.finished()
    #expect(!watch.isAway)
  }

  @Test func `what the cloud says does not stand above what the database is`() {
    var watch = EpochWatch()
    watch.left(because: "it is another file")
    watch.ended(.otherEvents)
    watch.forgave()
    #expect(watch.state == .away(away))
    watch.began()
    watch.ended(.otherEvents)
    watch.forgave()
    #expect(watch.state == .begun(wasAway: true))
  }

  @Test func `a database that leaves takes the place of every other end`() {
    for state in 0..<3 {
      var watch = EpochWatch()
      if state > 0 { watch.ended(.otherEvents) }
      if state > 1 { watch.began() }
      watch.left(because: "it is another file")
      #expect(watch.state == .away(away))
    }
  }

  @Test func `an end that was meant for another machine of the name is forgiven`() {
    var watch = EpochWatch()
    watch.ended(.otherEvents)
    watch.forgave()
    #expect(watch.state == .current)
  }
}

@Suite struct CloudDialogueTests {
  private typealias Hearing = CloudDialogue.ConfirmationOutcome
  private let begin = ContinuousClock.now
  private let epoch = try! Epoch("0123456789abcdef")
  private let stock = try! StreamName("stock")
  private let machine = try! MachineID("M")
  private let runs = Runs([Run(number: 0, reached: 10), Run(number: 500, reached: 90)])

  private func confirmation(
    through: Int64 = 90, epoch: Epoch? = nil, runs: Runs = Runs(), answer: Int64? = nil
  ) -> DroverCore.Confirmation {
    DroverCore.Confirmation(
      epoch: epoch ?? self.epoch, session: "s", at: 0,
      streams: through > 0 ? [stock: IntervalSet([Interval(after: 0, through: through)])] : [:], runs: runs,
      answer: answer)
  }

  private func hear(_ dialogue: inout CloudDialogue, _ confirmation: DroverCore.Confirmation) -> Hearing {
    dialogue.heard(confirmation, isKept: false, epoch: epoch, runs: runs)
  }

  private func judge(
    _ dialogue: inout CloudDialogue, _ confirmation: DroverCore.Confirmation, wentBack: Bool
  ) -> CloudQuestion.Verdict {
    let received = confirmation.streams.isEmpty ? [:] : [1: confirmation.streams[stock]!]
    return dialogue.judge(
      confirmation, received: received, machine: machine, wentBack: wentBack, isBehind: wentBack, now: begin
    ).verdict
  }

  @Test func `a newer confirmation takes the place of one that waits`() {
    var dialogue = CloudDialogue(limits: RelayLimits())
    #expect(hear(&dialogue, confirmation(through: 5)) == .waits)
    #expect(hear(&dialogue, confirmation(through: 6)) == .waits)
    let taken = dialogue.takePending(epoch: epoch)
    #expect(taken?.confirmation.streams[stock]?.front == 6)
    let again = dialogue.takePending(epoch: epoch)
    #expect(again == nil)
  }

  @Test func `a confirmation of what was never handed out is none, and takes no place`() {
    var dialogue = CloudDialogue(limits: RelayLimits())
    _ = hear(&dialogue, confirmation(through: 5))
    #expect(hear(&dialogue, confirmation(through: 91)) == .impossible(highest: 91))
    let taken = dialogue.takePending(epoch: epoch)
    #expect(taken?.confirmation.streams[stock]?.front == 5)
    #expect(dialogue.epoch.state == .current)
  }

  @Test func `a run that is not known here ends the epoch, also when another confirmation follows at once`() {
    var dialogue = CloudDialogue(limits: RelayLimits())
    _ = hear(&dialogue, confirmation(through: 95, runs: Runs([Run(number: 700, reached: 95)])))
    _ = hear(&dialogue, confirmation(through: 5))
    #expect(dialogue.epoch.state == .over(.unknownRun))
    let taken = dialogue.takePending(epoch: epoch)
    #expect(taken == nil)
  }

  @Test func `a confirmation of another epoch waits until that one is the store's, and ends none`() throws {
    var dialogue = CloudDialogue(limits: RelayLimits())
    let other = try Epoch("fedcba9876543210")
    #expect(hear(&dialogue, confirmation(through: 1000, epoch: other)) == .waits)
    let mine = dialogue.takePending(epoch: epoch)
    let its = dialogue.takePending(epoch: other)
    #expect(mine == nil && its != nil && dialogue.epoch.state == .current)
  }

  @Test func `a cloud that went back ends the epoch, and one that knows nothing says that the name is new to it`() {
    for (confirmation, end) in [
      (confirmation(through: 5, answer: 1), EpochEnd.cloudWentBack),
      (confirmation(through: 0, runs: Runs([Run(number: 500, reached: 9)]), answer: 1), .cloudWentBack),
      (confirmation(through: 0, answer: 1), .unknownMachine(machine)),
    ] {
      var dialogue = CloudDialogue(limits: RelayLimits())
      #expect(judge(&dialogue, confirmation, wentBack: true) == .wentBack)
      #expect(dialogue.epoch.state == .over(end))
    }
  }

  @Test func `an epoch is over only where the cloud means the present one`() {
    var dialogue = CloudDialogue(limits: RelayLimits())
    dialogue.heardEpochOver(Array("fedcba9876543210".utf8), epoch: epoch)
    #expect(dialogue.epoch.state == .current)
    dialogue.heardEpochOver(Array(epoch.text.utf8), epoch: epoch)
    #expect(dialogue.epoch.state == .over(.otherEvents))
  }

  @Test func `an epoch ends only when the consumer had time to say that two machines have one name`() {
    var dialogue = CloudDialogue(limits: RelayLimits())
    dialogue.heardEpochOver(Array(epoch.text.utf8), epoch: epoch)
    for (seconds, step) in [
      (0.0, EpochWatch.Step.none), (2.9, .none), (3, .begin(.otherEvents)),
    ] {
      let found = dialogue.epochStep(now: begin.advanced(by: .seconds(seconds)), wall: 0)
      #expect(found == step)
    }
  }

  @Test func `a database that is gone is not doubted`() {
    var dialogue = CloudDialogue(limits: RelayLimits())
    dialogue.databaseLeft(because: "x")
    let step = dialogue.epochStep(now: begin, wall: 0)
    #expect(step == .begin(.otherDatabase("x")))
  }

  @Test func `two machines of one name hold, forget what they heard, and go on when one is alone`() {
    var dialogue = CloudDialogue(limits: RelayLimits())
    _ = hear(&dialogue, confirmation())
    dialogue.heardEpochOver(Array(epoch.text.utf8), epoch: epoch)
    let news = dialogue.heard(clonedSince: 5)
    #expect(news == .cloned(Trouble(.cloned, since: 5, last: 5, count: 1)))
    #expect(dialogue.isHeld && dialogue.epoch.state == .current)
    let repeated = dialogue.heard(clonedSince: 5)
    #expect(repeated == .same && hear(&dialogue, confirmation()) == .held)
    dialogue.heardEpochOver(Array(epoch.text.utf8), epoch: epoch)
    #expect(dialogue.epoch.state == .current)
    let taken = dialogue.takePending(epoch: epoch)
    #expect(taken == nil)
    let alone = dialogue.heard(clonedSince: nil)
    #expect(alone == .alone && !dialogue.isHeld)
  }

  @Test func `while it holds, the agent is heard of every five seconds`() {
    var dialogue = CloudDialogue(limits: RelayLimits())
    _ = dialogue.heard(clonedSince: 5)
    var times: [Int] = []
    for second in 0..<20 {
      let isDue = dialogue.isQuestionDue(now: begin.advanced(by: .seconds(second)))
      if isDue { times.append(second) }
    }
    #expect(times == [0, 5, 10, 15])
  }
}
