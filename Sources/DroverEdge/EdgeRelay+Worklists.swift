// Worklists: tables that the cloud refills with orders. The agent asks when a table is ready, inserts what is answered, and says what became of it.
// docs/decisions/0059-worklists.md has the rules.

import DroverCore
import DroverEvents
import DroverWire

/// The worklists of a machine, and what is known of the consumer that answers them.
struct Worklists {
  var drivers: [WorklistDriver]
  /// The streams for which the consumer has a queue; nil where it knows no worklists. The outer nil: no confirmation was heard yet.
  var served: [StreamName]??
  /// Questions that have no PUBACK yet, and whose they are.
  var inFlight: [PublishToken: Int] = [:]

  init(_ streams: [EdgeStream], limits: WorklistLimits, now: ContinuousClock.Instant) {
    drivers = streams.compactMap { stream in
      stream.declaration.worklist.map { WorklistDriver(stream, $0, limits: limits, now: now) }
    }
  }

  /// Why a worklist cannot ask; nil where it can, or while it is not known.
  func refusal(_ driver: WorklistDriver) -> String? {
    switch served {
    case nil: nil
    case .some(nil):
      "the consumer has no worklists: it is of an older release, or its configuration names none; upgrade it, or add `worklists` there"
    case .some(let names?) where !names.contains(driver.name):
      "the consumer has no worklist for stream \(driver.name); name it under `worklists` in the cloud's configuration"
    case .some: nil
    }
  }

  func canAsk(_ driver: WorklistDriver) -> Bool { served != nil && refusal(driver) == nil }

  mutating func changed(now: ContinuousClock.Instant) {
    for index in drivers.indices { drivers[index].changed(now: now) }
  }

  mutating func databaseChanged(now: ContinuousClock.Instant) {
    inFlight = [:]
    for index in drivers.indices { drivers[index].databaseChanged(now: now) }
  }

  mutating func connected(now: ContinuousClock.Instant) {
    for index in drivers.indices { drivers[index].connected(now: now) }
  }

  mutating func disconnected() {
    inFlight = [:]
    served = nil
  }
}

extension EdgeRelay {
  /// What the newest confirmation says about worklists.
  func heard(worklists names: [StreamName]?) {
    worklists.served = .some(names)
  }

  /// - Returns: whether the answer was a worklist's.
  func hear(worklistAnswer id: String, _ document: [UInt8]) -> Bool {
    guard let index = worklists.drivers.firstIndex(where: { $0.knows(id) }) else { return false }
    do throws(WireError) {
      _ = worklists.drivers[index].heard(id, try ReadWorklistReply(document: document))
    } catch {
      events.emit(WorklistFailed(name: worklists.drivers[index].name, why: "read the cloud's answer: \(error)"))
    }
    return true
  }

  /// - Returns: whether the message was a worklist's question.
  func acknowledged(worklist token: PublishToken, _ reason: AcknowledgementReason) -> Bool {
    guard let stream = worklists.inFlight.removeValue(forKey: token) else { return false }
    guard let driver = worklists.drivers.first(where: { $0.stream == stream }) else { return true }
    switch reason {
    case .success: break
    case .noMatchingSubscribers:
      events.emit(WorklistFailed(name: driver.name, why: "no consumer subscribes to the machine's questions; start it"))
    case .notAuthorised:
      events.emit(
        WorklistFailed(
          name: driver.name,
          why:
            "the broker does not authorise \(Topic.prefix)\(machine)/ask/+; allow the machine to write there in the broker's ACL"
        ))
    default: events.emit(WorklistFailed(name: driver.name, why: "the broker answered \(reason) to the question"))
    }
    return true
  }

  /// Does what is due. A lock of the app's, or a table that cannot be a worklist, stops nothing else.
  /// - Returns: how long the next turn may wait.
  func workOnLists() throws(EdgeStoreError) -> Duration {
    var wait = limits.reporting.longestRest
    for index in worklists.drivers.indices {
      let driver = worklists.drivers[index]
      if driver.pausedUntil.map({ $0 <= clock.now }) ?? true {
        worklists.drivers[index].pausedUntil = nil
        do throws(EdgeStoreError) {
          try work(index)
        } catch {
          worklists.drivers[index].pausedUntil = try pause(after: error, index)
        }
      }
      if let next = worklists.drivers[index].wait(canAsk: isAsking(index), now: clock.now) { wait = min(wait, next) }
    }
    return wait
  }

  private func pause(
    after error: EdgeStoreError, _ index: Int
  ) throws(EdgeStoreError) -> ContinuousClock.Instant {
    switch error {
    case .busy:
      housekeeping.metLock()
      reportLock(database.metLock(now: clock.now))
      return clock.now.advanced(by: limits.worklists.lockRetry)
    case .failed(let why), .noSpace(let why):
      events.emit(WorklistFailed(name: worklists.drivers[index].name, why: why))
      try? state(why, index)
      return clock.now.advanced(by: limits.worklists.errorRetry)
    case .schemaChanged, .otherDatabase, .damaged: throw error
    }
  }

  private func isAsking(_ index: Int) -> Bool {
    publisher != nil && !isStopping && !dialogue.isHeld && worklists.canAsk(worklists.drivers[index])
  }

  private func work(_ index: Int) throws(EdgeStoreError) {
    let stream = worklists.drivers[index].stream
    try look(at: index)
    while let outcome = worklists.drivers[index].noted.first {
      try store.noted(worklist: stream, outcome)
      worklists.drivers[index].noted.removeFirst()
      worklists.drivers[index].changed(now: clock.now)
    }
    if let answer = worklists.drivers[index].answer, let open = worklists.drivers[index].open {
      try act(on: answer, to: open, index)
      try look(at: index)
    }
    if let refusal = worklists.refusal(worklists.drivers[index]) { try state(refusal, index) }
    guard isAsking(index), let publisher else { return }
    try say(index, publisher)
    switch worklists.drivers[index].pace.step(now: clock.now) {
    case .wait: break
    case .look: try ask(index, publisher)
    case .repeatRequest:
      if let open = worklists.drivers[index].open { publish(open, index, publisher) }
    }
    try state(nil, index)
  }

  private func look(at index: Int) throws(EdgeStoreError) {
    guard worklists.drivers[index].isCountDue(now: clock.now) else { return }
    let standing = try store.standing(worklist: worklists.drivers[index].stream)
    worklists.drivers[index].counted(standing, now: clock.now)
  }

  /// Keeps why a worklist does not ask, where people look.
  private func state(_ why: String?, _ index: Int) throws(EdgeStoreError) {
    guard worklists.drivers[index].statedWait != .some(why) else { return }
    try store.note(worklist: worklists.drivers[index].stream, waits: why)
    worklists.drivers[index].statedWait = .some(why)
    if let why { events.emit(WorklistWaits(name: worklists.drivers[index].name, why: why)) }
  }

  // MARK: Asking

  private func ask(_ index: Int, _ publisher: any Publisher) throws(EdgeStoreError) {
    let driver = worklists.drivers[index]
    guard driver.declaration.isEnabled else { return }
    do throws(EdgeStoreError) {
      guard
        let request = try store.openRequest(
          worklist: driver.stream, new: RefillID(random: random()), now: wallClock())
      else { return reportLeft(index) }
      worklists.drivers[index].reported = nil
      worklists.drivers[index].opened(request, now: clock.now)
      publish(request, index, publisher)
    } catch {
      // It is looked at again after the pause.
      worklists.drivers[index].pace.triggered(now: clock.now)
      throw error
    }
  }

  private func reportLeft(_ index: Int) {
    let driver = worklists.drivers[index]
    guard let rows = driver.standing?.rows, rows.all > 0, driver.reported != rows else { return }
    worklists.drivers[index].reported = rows
    events.emit(WorklistOrdersLeft(name: driver.name, rows: rows))
  }

  private func publish(_ request: RefillID, _ index: Int, _ publisher: any Publisher) {
    let question = WorklistRequest.orders(worklists.drivers[index].request(request))
    send(question, as: request.text, index, publisher)
  }

  private func say(_ index: Int, _ publisher: any Publisher) throws(EdgeStoreError) {
    let id = RefillID(random: random()).text
    guard let outcome = worklists.drivers[index].outcome(saidAs: id, now: clock.now) else { return }
    send(.outcome(outcome, stream: worklists.drivers[index].name), as: id, index, publisher)
  }

  /// What the connection does not take now is said again later.
  private func send(_ question: WorklistRequest, as id: String, _ index: Int, _ publisher: any Publisher) {
    let driver = worklists.drivers[index]
    do throws(PublishError) {
      let token = try publisher.publish(
        OutboundMessage(
          topic: Topic.ask(machine, id: id).text, payload: question.document, contentType: "application/json"))
      worklists.inFlight[token] = driver.stream
    } catch {
      events.emit(WorklistFailed(name: driver.name, why: "send the question to the cloud: \(error)"))
    }
  }

  // MARK: Answers

  private func act(
    on answer: ReadWorklistReply, to request: RefillID, _ index: Int
  ) throws(EdgeStoreError) {
    let (stream, name) = (worklists.drivers[index].stream, worklists.drivers[index].name)
    switch answer {
    case .orders(let orders, let left):
      let outcome = try store.refill(
        worklist: stream, request: request, orders: orders, left: left, now: wallClock())
      guard let outcome else { break }
      let inserted = outcome.isTaken ? orders.count - outcome.refused.count - outcome.known.count : 0
      worklists.drivers[index].reportedReason = nil
      worklists.drivers[index].closed(wasKnown: outcome.isTaken && outcome.known.count == orders.count, now: clock.now)
      events.emit(WorklistRefilled(name: name, inserted: inserted, left: left, outcome: outcome))
    case .nothing(let why):
      try store.close(worklist: stream, request: request, why: "no order: \(why)", now: wallClock())
      worklists.drivers[index].closed(wasKnown: false, now: clock.now)
      guard worklists.drivers[index].reportedReason != why else { break }
      worklists.drivers[index].reportedReason = why
      events.emit(WorklistGotNothing(name: name, why: why))
    case .closed:
      try store.close(
        worklist: stream, request: request, why: "the cloud knew this request; another one follows", now: wallClock())
      worklists.drivers[index].closed(wasKnown: true, now: clock.now)
    case .failure(let why):
      events.emit(WorklistFailed(name: name, why: "the cloud cannot answer: \(why)"))
      worklists.drivers[index].answer = nil
    // The next answer has the orders, and the request is repeated until then.
    case .working, .noted: worklists.drivers[index].answer = nil
    }
  }
}
