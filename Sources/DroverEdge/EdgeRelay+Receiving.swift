// What comes from the cloud: confirmations, commands and questions, in the order of arrival; and what the agent asks.

import DroverCore
import DroverEvents
import DroverWire

extension EdgeRelay {
  /// Hears what was put aside. Nothing here touches the database.
  func hear() {
    for message in inbound.take() {
      guard let topic = try? Topic(parsing: message.topic), topic.machine == machine else { continue }
      if !message.isRetained { relay.heardConsumer(now: clock.now) }
      switch topic {
      // An empty retained message takes the one before it away.
      case .confirm: if !message.payload.isEmpty { hearConfirmation(message) }
      case .command(_, let name): hear(command: name, message)
      case .down(_, _, let stream): hear(down: stream, message)
      default: continue
      }
    }
  }

  private func hear(command name: String, _ message: InboundMessage) {
    if name.hasPrefix("answer-") {
      let id = String(name.dropFirst(7))
      if !hear(worklistAnswer: id, message.payload) { questions.answered(id, message.payload) }
      return
    }
    switch name {
    case "schema": if publisher != nil { describeAgain() }
    case "epoch": dialogue.heardEpochOver(message.payload, epoch: store.epoch)
    case "hold": hold(message.payload)
    case "present": if publisher != nil, !isStopping { ask() }
    case "retry":
      do throws(WireError) {
        hear(try RetryOrder(document: message.payload))
      } catch {
        events.emit(CommandUnreadable(topic: message.topic, error: error))
      }
    case "stream":
      do throws(WireError) {
        responder.ask(try StreamRequest(document: message.payload))
      } catch {
        events.emit(CommandUnreadable(topic: message.topic, error: error))
      }
    default: events.emit(CommandUnknown(name: name))
    }
  }

  /// The cloud cannot read frames without the description, so those that it has had come to nothing. They are sent again behind it, but no more than now
  /// and then: the cloud may refuse the description each time.
  private func describeAgain() {
    announceSchemas()
    guard describedAgain.map({ $0.advanced(by: limits.waiting.spaceDelay) <= clock.now }) ?? true else { return }
    guard !relay.isIdle else { return }
    describedAgain = clock.now
    relay.doubt()
  }

  private func hearConfirmation(_ message: InboundMessage) {
    let confirmation: Confirmation
    do throws(WireError) {
      confirmation = try Confirmation(document: message.payload)
    } catch {
      return events.emit(ConfirmationUnreadable(topic: message.topic, error: error))
    }
    heard(down: confirmation.down)
    heard(worklists: confirmation.worklists)
    if questions.heard(conflicts: confirmation.conflicts, compares: confirmation.compares) {
      onConflicts(confirmation.conflicts)
    }
    switch dialogue.heard(clonedSince: confirmation.clonedSince) {
    case .same: break
    case .cloned(let trouble):
      relay.disconnected()
      troubleNews[.cloned] = trouble
      events.emit(MachineDuplicated(machine: machine, trouble: trouble))
    case .alone:
      relay.disconnected()
      troubleNews[.cloned] = .some(nil)
      events.emit(MachineAlone(machine: machine))
      begin(sessionPresent: false, patience: limits.patience)
    }
    switch dialogue.heard(confirmation, isKept: message.isRetained, epoch: store.epoch, runs: store.runs) {
    case .waits, .held: break
    case .impossible(let highest):
      events.emit(ConfirmationImpossible(machine: machine, highest: highest, reached: store.runs.reached))
    }
  }

  /// Sending begins anew over the connection that stands, with a question and everything that the cloud has to know.
  func begin(sessionPresent: Bool, patience: Duration) {
    guard publisher != nil else { return }
    newQuestion()
    announce()
    relay.connected(sessionPresent: sessionPresent, patience: patience, now: clock.now)
  }

  /// The cloud cannot take these streams now: their frames give the window free, and are tried again after a while.
  private func hold(_ names: [UInt8]) {
    for hold in HoldOrder.decode(names) {
      guard let stream = store.streams.first(where: { hold.name.elementsEqual($0.name.text.utf8) }) else { continue }
      relay.hold(stream: stream.number, until: clock.now.advanced(by: limits.waiting.spaceDelay))
      events.emit(StreamHeld(stream: stream.name, reason: hold.reason))
    }
  }

  // MARK: Asking

  /// Asks the cloud what it holds.
  func ask() {
    newQuestion()
    announcements.append(status(isOnline: true))
  }

  /// The next status carries the question.
  func newQuestion() {
    let number = Int64(random() >> 11) | 1
    dialogue.asked(number, now: clock.now)
    relay.asked(number)
  }

  /// Acts on the newest confirmation.
  func takeConfirmation(now: ContinuousClock.Instant) {
    guard let pending = dialogue.takePending(epoch: store.epoch) else { return }
    let confirmation = pending.confirmation
    var received: [Int: IntervalSet] = [:]
    for stream in store.streams { received[stream.number] = confirmation.streams[stream.name] }
    if division.heard(consumerLimit: confirmation.maxMessageBytes) { relay.doubt() }
    let hearing = dialogue.judge(
      confirmation, received: received, machine: machine,
      wentBack: confirmation.answer.map { relay.cloudWentBack(received, answering: $0) } ?? false,
      isBehind: relay.isBehind(received), now: clock.now)
    if let roundTrip = hearing.roundTrip { measureClock(confirmation, roundTrip) }
    switch hearing.verdict {
    case .wentBack, .ignore: break
    case .ask: ask()
    case .take(let isAnswer):
      relay.confirmed(
        received, session: confirmation.session, isKept: pending.isKept, isAnswer: isAnswer, now: now)
    }
  }

  // MARK: The clock

  private func measureClock(_ confirmation: Confirmation, _ roundTrip: Duration) {
    switch clockWatch.answered(ahead: wallClock() - confirmation.at, roundTrip: roundTrip) {
    case .known: break
    case .askAgain: dialogue.answerWasSlow(now: clock.now)
    case .taken(let ahead, let isFar):
      announcements.append(status(isOnline: true))
      if isFar { events.emit(ClockFar(ahead: ahead)) }
    }
  }

  /// Versions are put right at once, and the cloud is asked.
  func watchClock() {
    guard let step = clockWatch.looked(wall: wallClock(), now: clock.now) else { return }
    events.emit(ClockSet(step: step))
    if dialogue.clockWasSet(now: clock.now), publisher != nil { ask() }
  }
}
