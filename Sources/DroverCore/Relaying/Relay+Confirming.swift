// What a PUBACK and a confirmation mean: the broker has a frame, the cloud has committed it, or it is not known any more.

extension Relay {
  /// Returns the publication that the PUBACK answers, nil when it was none of the relay's.
  @discardableResult
  package mutating func acknowledged(_ token: PublishToken, reason: AcknowledgementReason, now: Instant) -> Publication?
  {
    guard var publication = inFlight.removeValue(forKey: token) else { return nil }
    unacknowledgedBytes -= publication.bytes
    guard reason == .success else {
      // A frame that is too large does not come again as it is, so there is nothing to wait for: it comes in parts, or its one event
      // becomes a dead letter and the frame an empty one.
      let isDivided = reason == .packetTooLarge && !publication.isEmpty
      // A window full of frames may be refused in one breath: that is one attempt.
      if isDivided || isHeld(stream: publication.stream, now: now) {
        giveBack(publication, notBefore: nil)
        return publication
      }
      streams[publication.stream]!.unheardAt = reason == .noMatchingSubscribers ? now : nil
      let attempt = streams[publication.stream]!.attempt + 1
      streams[publication.stream]!.attempt = attempt
      seed &+= 1
      giveBack(publication, notBefore: now.advanced(by: backoff.delay(attempt: attempt, seed: seed)))
      return publication
    }
    streams[publication.stream]!.attempt = 0
    streams[publication.stream]!.unheardAt = nil
    // All of it was confirmed before it was sent: no confirmation will speak of it again.
    if streams[publication.stream]!.confirmed.contains(publication.interval) {
      streams[publication.stream]!.outstanding.remove(publication.interval)
      outstandingEvents -= publication.events
      outstandingBytes -= publication.bytes
      return publication
    }
    publication.acknowledgedAt = now
    streams[publication.stream]!.awaiting.append(publication)
    settlement.synced[publication.stream, default: IntervalSet()].insert(publication.interval)
    if probeAt == nil { armProbe(now: now) }
    return publication
  }

  /// The cloud is asked what it holds.
  /// - Parameter question: its name; no other question has it.
  package mutating func asked(_ question: Int64) {
    questions.append((question, streams.mapValues(\.confirmed)))
    if questions.count > limits.asking.mostOpen { questions.removeFirst() }
  }

  /// Whether the cloud holds less than it had confirmed when the question was asked: it was restored to an older state.
  /// - Parameters:
  ///   - sets: what it held at some moment since then.
  ///   - question: which one it answers. One that is not known any more proves nothing.
  package func cloudWentBack(_ sets: [Int: IntervalSet], answering question: Int64) -> Bool {
    questions.last { $0.number == question }.map { lacks(sets, of: $0.confirmed) } ?? false
  }

  /// Whether the cloud seems to hold less than it has confirmed: perhaps it was restored, perhaps this was said before what was heard last, by
  /// another consumer or by a broker that kept it.
  package func isBehind(_ sets: [Int: IntervalSet]) -> Bool { lacks(sets, of: streams.mapValues(\.confirmed)) }

  func lacks(_ sets: [Int: IntervalSet], of confirmed: [Int: IntervalSet]) -> Bool {
    confirmed.contains { index, set in !set.subtracting(sets[index] ?? IntervalSet()).isEmpty }
  }

  /// Frames that the broker has may come to nothing: what is acknowledged and not confirmed is read and sent again.
  package mutating func doubt() { suspectAll() }

  /// A consumer is there: it has just said something. What waits because no consumer subscribed is sent now, but not more than once a second.
  package mutating func heardConsumer(now: Instant) {
    for index in streams.keys {
      guard let unheardAt = streams[index]!.unheardAt, let againAt = streams[index]!.againAt else { continue }
      streams[index]!.againAt = min(againAt, max(now, unheardAt.advanced(by: limits.loss.unheardDelay)))
    }
  }

  /// The cloud has committed. `sets` holds the streams that this machine knows, by number.
  /// - Parameters:
  ///   - isKept: the broker kept it for new subscribers, so it tells of a consumer that was there once.
  ///   - isAnswer: it answers the question that was asked last.
  package mutating func confirmed(
    _ sets: [Int: IntervalSet], session: String, isKept: Bool = false, isAnswer: Bool = false, now: Instant
  ) {
    readyAt = nil
    if let cloudSession {
      if cloudSession != session { suspectAll() }
    } else if !isKept {
      // A consumer that speaks for the first time had no session, so the broker kept what it acknowledged for no client.
      suspect { $0.order >= 0 }
    }
    if isAnswer, !hasAnswer {
      hasAnswer = true
      // What an earlier run had sent stood before the question in the consumer's queue, or nowhere.
      suspect { $0.order < 0 && !(sets[$0.stream]?.contains($0.interval) ?? false) }
    }
    cloudSession = session
    // In one order, here and below: the smoothed round trip depends on it, and a seed has to repeat it.
    for (index, set) in sets.sorted(by: { $0.key < $1.key }) {
      var stream = streams[index, default: Stream()]
      let fresh = set.subtracting(stream.confirmed)
      guard !fresh.isEmpty else { continue }
      stream.losses = 0
      if stream.isStopped {
        stream.isStopped = false
        stream.againAt = nil
      }
      stream.confirmed.formUnion(set)
      stream.outstanding.subtract(set)
      stream.again.subtract(set)
      settlement.confirmed[index, default: IntervalSet()].formUnion(fresh)
      settlement.fronts[index] = stream.confirmed.front
      settlement.synced[index]?.subtract(fresh)
      stream.awaiting.removeAll { publication in
        guard stream.confirmed.contains(publication.interval) else { return false }
        release(publication, now: now)
        return true
      }
      let answered = inFlight.filter { $0.value.stream == index && stream.confirmed.contains($0.value.interval) }
      for (token, publication) in answered.sorted(by: { $0.value.order < $1.value.order }) {
        release(publication, now: now)
        inFlight[token] = nil
        unacknowledgedBytes -= publication.bytes
      }
      streams[index] = stream
      mayHaveHoles = true
      probeAttempt = 0
      armProbe(now: now)
    }
  }

  // MARK: Settling

  /// Marks and forgets what has come to be since the last call; put it back with `settlementFailed` when the store could not.
  package mutating func takeSettlement() -> Settlement {
    defer { settlement = Settlement() }
    return settlement
  }

  package mutating func settlementFailed(_ failed: Settlement) {
    for (stream, set) in failed.synced { settlement.synced[stream, default: IntervalSet()].formUnion(set) }
    for (stream, set) in failed.confirmed {
      settlement.confirmed[stream, default: IntervalSet()].formUnion(set)
      settlement.synced[stream]?.subtract(set)
      settlement.fronts[stream] = max(settlement.fronts[stream] ?? 0, failed.fronts[stream] ?? 0)
    }
  }

  package var hasSettlement: Bool { !settlement.isEmpty }
}

/// What the edge's store is to write down: what the broker has acknowledged and what the cloud has confirmed, per stream.
package struct Settlement: Equatable, Sendable {
  package var synced: [Int: IntervalSet] = [:]
  package var confirmed: [Int: IntervalSet] = [:]
  /// Of streams in `confirmed`: up to where everything is.
  package var fronts: [Int: Int64] = [:]

  package init() {}
  package var isEmpty: Bool { synced.values.allSatisfy(\.isEmpty) && confirmed.values.allSatisfy(\.isEmpty) }
}
