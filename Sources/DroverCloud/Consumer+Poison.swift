// What a message that ends the process may cost: `PoisonWatch` decides, and here it is done. While the last consumer ended in order this is one
// write to the store at the beginning and one at the end.

import DroverCore
import DroverEvents

extension Consumer {
  /// Processes messages in the pieces that the watch wants.
  func process(_ messages: [InboundMessage]) throws {
    let watch = try beginWatch()
    guard watch.isCareful, !hasEnded else { return try commitAll(messages) }
    let known = messages.map(Self.known)
    if watch.isConcerned(by: known) { concernedAt = nil }
    for piece in watch.pieces(of: known) {
      switch piece {
      case .free(let places): try commitAll(places.map { messages[$0] })
      case .noted(let places):
        let digests = places.map { known[$0].digest }
        self.watch!.take(digests)
        try store.setNote(noteName, self.watch!.note)
        var after = self.watch!
        after.survived(digests)
        try commitAll(places.map { messages[$0] }, note: after.note)
        self.watch = after
      case .poison(let place):
        var after = self.watch!
        after.survived([known[place].digest])
        try setAside(messages[place], note: after.note)
        self.watch = after
      }
    }
  }

  private func commitAll(_ messages: [InboundMessage], note: String? = nil) throws {
    listen(to: messages)
    var left = messages
    while !left.isEmpty { left = try commit(left, note: note) }
  }

  private static func known(_ message: InboundMessage) -> PoisonWatch.Message {
    var digest = Digest()
    digest.combine(.text(message.topic))
    digest.combine(.blob(message.payload[...]))
    return PoisonWatch.Message(
      digest: digest.state, isDuplicate: message.isDuplicate, isRetained: message.isRetained)
  }

  /// A dead letter without another look at the message, its topic included.
  private func setAside(_ message: InboundMessage, note: String) throws {
    var group = MessageGroup()
    try store.transaction { transaction in
      group = MessageGroup()
      let added = try transaction.addDeadLetter(
        DeadLetter(
          topic: message.topic, machine: nil, stream: nil, reason: .poison,
          detail: "it was in the consumer's hands alone when the process died, \(PoisonWatch.deaths) times",
          raw: message.payload[...]))
      group.note(added, .poison, machine: nil)
      try transaction.count([.deadLetter: 1])
      try transaction.setNote(noteName, note)
    }
    events.emit(PoisonSetAside(topic: message.topic))
    report(group)
  }

  /// The watch over what the last consumer left; from now on the store says that this one is at work.
  private func beginWatch() throws -> PoisonWatch {
    if let watch { return watch }
    let begun = PoisonWatch(note: try store.note(noteName))
    try store.setNote(noteName, begun.note)
    if begun.isCareful {
      events.emit(LastConsumerDied())
    }
    watch = begun
    return begun
  }

  /// The careful time ends when nothing that was delivered before has come for a while.
  func calmDown(now: ContinuousClock.Instant) {
    guard watch?.isCareful == true else { return }
    guard publisher != nil, let concernedAt else {
      concernedAt = now
      return
    }
    guard concernedAt.advanced(by: PoisonWatch.calm) <= now else { return }
    var calm = watch!
    calm.calmDown()
    do {
      try store.setNote(noteName, calm.note)
      watch = calm
    } catch {
      self.concernedAt = now
    }
  }

  /// The process ends in order.
  func endWatch() {
    guard !hasEnded, watch != nil else { return }
    do {
      try store.setNote(noteName, nil)
      hasEnded = true
    } catch {
      events.emit(OrderlyEndNotNoted(error: error))
    }
  }
}
