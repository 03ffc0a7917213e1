// Frames that may be lost: holes below what is confirmed, frames that were overtaken, silence, and sessions that broker or cloud forgot.

extension Relay {
  /// What is missing below something confirmed, and in no frame or lane, will not come by itself: nothing was left in it, or it was in a
  /// message that is gone. It is closed, because the front of what is confirmed stands before it.
  mutating func findHoles() {
    guard mayHaveHoles else { return }
    mayHaveHoles = false
    for index in streams.keys {
      var holes = IntervalSet(streams[index]!.confirmed.gaps)
      guard !holes.isEmpty else { continue }
      holes.subtract(unread)
      holes.subtract(streams[index]!.outstanding)
      streams[index]!.again.formUnion(holes)
    }
  }

  /// Frames acknowledged before one that is confirmed, and still not confirmed after a grace period, are lost: the broker delivers
  /// in order. The grace grows while a stream's frames are lost and nothing of it is confirmed: perhaps the cloud takes none of them, as at its
  /// bound for dead letters. Returns how long to wait for the next such judgement.
  mutating func findLost(now: Instant) -> Duration? {
    let shortest = max(limits.loss.shortestGrace, roundTrip * 4)
    var next: Instant?
    for index in streams.keys {
      let stream = streams[index]!
      let grace = max(shortest, min(limits.loss.longestGrace, shortest * (1 << min(stream.losses, 6))))
      let late = stream.awaiting.filter { $0.order < highestConfirmedOrder }
      if !late.isEmpty {
        let lost = late.filter { $0.acknowledgedAt!.advanced(by: grace) <= now }
        if lost.isEmpty {
          next = earlier(next, late.map { $0.acknowledgedAt!.advanced(by: grace) }.min()!)
        } else {
          let orders = Set(lost.map(\.interval))
          streams[index]!.awaiting.removeAll { orders.contains($0.interval) }
          streams[index]!.losses += 1
          self.lost += lost
          for publication in lost { giveBack(publication, notBefore: nil) }
        }
      }
      if let againAt = stream.againAt, againAt > now, !stream.again.isEmpty { next = earlier(next, againAt) }
    }
    if let due = probeAt {
      if due <= now { probe(now: now) }
      if let probeAt { next = earlier(next, probeAt) }
    }
    return next.map { max(.zero, now.duration(to: $0)) }
  }

  /// Silence: the cloud may be away, or the last frames may be lost. One frame is sent again, ever more rarely; its
  /// confirmation shows what became of the others. More than one where an earlier run left more than the window holds: there
  /// would be no room to read it.
  mutating func probe(now: Instant) {
    probeAt = nil
    repeat {
      let oldest = streams.values.compactMap(\.awaiting.first)
        .min { ($0.publishedAt, $0.order, $0.stream) < ($1.publishedAt, $1.order, $1.stream) }
      guard let oldest else { return }
      streams[oldest.stream]!.awaiting.removeFirst()
      lost.append(oldest)
      giveBack(oldest, notBefore: nil)
    } while outstandingEvents >= limits.window.events || outstandingBytes >= limits.window.bytes
    probeAttempt += 1
    probes += 1
    armProbe(now: now)
  }

  mutating func armProbe(now: Instant) {
    guard streams.values.contains(where: { !$0.awaiting.isEmpty }) || !inFlight.isEmpty else {
      probeAt = nil
      return
    }
    let delay = limits.loss.firstProbe * (1 << min(probeAttempt, 5))
    probeAt = now.advanced(by: min(delay, limits.loss.longestProbe))
  }

  /// Everything acknowledged and unconfirmed may be gone.
  mutating func suspectAll() { suspect { _ in true } }

  mutating func suspect(_ isSuspect: (Publication) -> Bool) {
    for index in streams.keys {
      let lost = streams[index]!.awaiting.filter(isSuspect)
      streams[index]!.awaiting.removeAll(where: isSuspect)
      for publication in lost { giveBack(publication, notBefore: nil) }
    }
  }

  /// - Parameter notBefore: before this the stream is not read again; nil leaves that as it is.
  mutating func giveBack(_ publication: Publication, notBefore: Instant?) {
    outstandingEvents -= publication.events
    outstandingBytes -= publication.bytes
    var stream = streams[publication.stream]!
    stream.outstanding.remove(publication.interval)
    var missing = IntervalSet(CollectionOfOne(publication.interval))
    missing.subtract(stream.confirmed)
    stream.again.formUnion(missing)
    if let notBefore { stream.againAt = notBefore }
    streams[publication.stream] = stream
  }

  mutating func release(_ publication: Publication, now: Instant) {
    largestConfirmed = max(largestConfirmed, publication.bytes)
    if !publication.isEmpty { confirmedEvents += publication.events }
    outstandingEvents -= publication.events
    outstandingBytes -= publication.bytes
    guard publication.order >= 0 else { return }
    highestConfirmedOrder = max(highestConfirmedOrder, publication.order)
    let trip = publication.publishedAt.duration(to: now)
    roundTrip = roundTrip * 7 / 8 + trip / 8
    pace.confirmed(publication.events, after: trip, now: now)
  }

  func earlier(_ a: Instant?, _ b: Instant) -> Instant { a.map { min($0, b) } ?? b }
}
