// The app's database: what to do about locks, errors and files that are replaced; new epochs; marks and forgets; and what is looked at now and then.

import DroverCore
import DroverEvents
import DroverWire

extension EdgeRelay {
  // MARK: Errors

  /// Returns how long the next turn may wait.
  func react(to reaction: DatabaseWatch.Reaction, _ error: EdgeStoreError) -> Duration {
    switch reaction {
    case .retry(let delay, let lockedFor):
      reportLock(lockedFor)
      return delay
    case .retryAndTell(let delay):
      events.emit(StoreFailed(error: error))
      sayAway()
      return delay
    case .refresh: return refresh()
    case .leave(let reason): return leave(because: reason)
    case .end(let text):
      onFatal(text)
      return limits.database.errorRetry
    }
  }

  private func refresh() -> Duration {
    do throws(EdgeStoreError) {
      if try store.refresh() {
        makeEncoders()
        if publisher != nil { announceSchemas() }
      }
      if store.hasBackfill { relay.backfillNeeded() }
      return .zero
    } catch {
      let reaction = database.refreshFailed(error, now: clock.now)
      guard case .retryAndTell(let delay) = reaction else { return react(to: reaction, error) }
      events.emit(RefreshFailed(error: error))
      return delay
    }
  }

  func reportLock(_ length: Duration?) {
    if let length { events.emit(DatabaseLocked(length: length, holders: store.lockHolders())) }
  }

  // MARK: Epochs

  /// The database is not the one that the relay knows. Nothing that is known of it counts any more.
  private func leave(because reason: String) -> Duration {
    dialogue.databaseLeft(because: reason)
    unsendable = []
    division.databaseChanged()
    responder.databaseChanged()
    worklists.databaseChanged(now: clock.now)
    return .zero
  }

  /// While no database can be attached, the agent does not report to the cloud that all is well.
  private func sayAway() {
    guard dialogue.epoch.isAway, !isAwayReported, let publisher else { return }
    isAwayReported = true
    _ = try? publisher.publish(status(isOnline: false))
  }

  /// The relay forgets what it knew: in the new epoch nothing is sent and nothing is confirmed yet.
  func stepEpoch(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    switch dialogue.epochStep(now: now, wall: wallClock()) {
    case .none: return
    case .begin(let end):
      try store.startEpoch(because: end.text)
      dialogue.epochBegan()
    case .finish: break
    }
    relay = try Self.makeRelay(store, limits, seed: random(), now: clock.now)
    dialogue.epochFinished()
    isAwayReported = false
    settling.settled()
    worklists.databaseChanged(now: clock.now)
    makeEncoders()
    begin(sessionPresent: true, patience: .zero)
  }

  func makeEncoders() {
    encoders = [:]
    let run = store.runs.newest?.number ?? 0
    for stream in store.streams {
      encoders[stream.number] = FrameEncoder(
        epoch: store.epoch, run: run, stream: stream, lineage: store.lineage(stream: stream.number))
    }
  }

  // MARK: Reading and writing

  func look() throws(EdgeStoreError) {
    if hint.take() { commits.hinted() }
    let hasChanged = try store.hasChanged()
    commits.looked(found: hasChanged)
    guard hasChanged else { return }
    relay.news()
    worklists.changed(now: clock.now)
    housekeeping.committed()
    if store.hasBackfill { relay.backfillNeeded() }
  }

  func settle(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    guard settling.isDue(hasSettlement: relay.hasSettlement, isStopping: isStopping, now: now) else { return }
    let settlement = relay.takeSettlement()
    do throws(EdgeStoreError) {
      try store.settle(settlement)
      settling.settled()
    } catch {
      relay.settlementFailed(settlement)
      throw error
    }
  }

  /// Events that no consumer accepts become dead letters.
  func moveUnsendable() throws(EdgeStoreError) {
    while let event = unsendable.first {
      do throws(EdgeStoreError) {
        _ = try store.moveToDeadLetters(event)
      } catch .noSpace(let reason) {
        // It may be neither lost nor set aside, so its stream waits until there is room.
        relay.held(
          stream: event.stream, interval: Interval(after: event.seq - 1, through: event.seq),
          until: clock.now.advanced(by: limits.waiting.spaceDelay))
        events.emit(DeadLettersFull(stream: event.stream, reason: reason))
      }
      unsendable.removeFirst()
    }
  }

  // MARK: Now and then

  /// What the store is to know of clock and disk. A disk that is full must not keep events from being sent, which is what empties it.
  func maintain(now: ContinuousClock.Instant) throws(EdgeStoreError) {
    do throws(EdgeStoreError) {
      if let news = clockWatch.news {
        try store.note(news)
        clockWatch.toldStore()
      }
      for (kind, trouble) in troubleNews {
        try store.note(trouble, kind)
        troubleNews[kind] = nil
      }
      if housekeeping.isSpaceDue(now: now) { try store.watchSpace() }
      try tellStanding(now: now)
      if housekeeping.isRepairDue(hasWaits: !store.waits.isEmpty, now: now) { throw .schemaChanged }
    } catch {
      switch error {
      case .busy:
        housekeeping.metLock()
        reportLock(database.metLock(now: clock.now))
      case .failed, .noSpace: events.emit(MaintenanceFailed(error: error))
      case .schemaChanged, .otherDatabase, .damaged: throw error
      }
    }
  }
}
