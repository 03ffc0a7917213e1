// A client's session with the broker, as DroverMQTT's SessionLoop lives it: turn, send, read a batch, hand it over, and acknowledge it
// only then. Which of these happens next, and how much of it, is the simulation's choice.

import DroverCore

final class SimulatedClient {
  let id: String
  private let broker: SimulatedBroker
  private let subscriptions: [SimulatedBroker.Subscription]
  private let will: OutboundMessage?
  /// The running process, nil while there is none.
  private(set) var handler: (any SessionHandler)?
  private(set) var link: Link?
  /// Told of everything that is published.
  var onPublish: (OutboundMessage) -> Void = { _ in }

  init(
    id: String, broker: SimulatedBroker, subscriptions: [SimulatedBroker.Subscription], will: OutboundMessage? = nil
  ) {
    self.id = id
    self.broker = broker
    self.subscriptions = subscriptions
    self.will = will
  }

  var isConnected: Bool { link?.isOpen ?? false }

  func run(_ handler: any SessionHandler) { self.handler = handler }

  /// SIGKILL.
  func kill() {
    handler = nil
    if let link { broker.cut(link) }
    link = nil
  }

  func connect() {
    guard let handler else { return }
    noticeEnd()
    guard link == nil else { return }
    let (link, info) = broker.connect(id, subscriptions: subscriptions, will: will)
    link.onPublish = onPublish
    self.link = link
    handler.sessionOpened(info, publisher: link)
  }

  /// Returns how long it wishes to sleep.
  @discardableResult func turn(now: ContinuousClock.Instant) -> Duration {
    noticeEnd()
    return handler?.turn(now: now) ?? .seconds(1)
  }

  /// Reads up to so many packets and hands them over. False when there were none.
  @discardableResult func hear(atMost count: Int) -> Bool {
    noticeEnd()
    guard let handler, let link, !link.toClient.isEmpty else { return false }
    let packets = link.toClient.prefix(count)
    link.toClient.removeFirst(packets.count)
    var messages: [InboundMessage] = []
    var packetIDs: [Int] = []
    for packet in packets {
      switch packet {
      case .puback(let token, let reason): handler.acknowledged(token, reason: reason)
      case .message(let message, let packetID):
        messages.append(message)
        packetIDs.append(packetID)
      }
    }
    guard !messages.isEmpty else { return true }
    do {
      try handler.received(messages)
      guard !link.isDead else { return true }
      for packetID in packetIDs { link.toBroker.append(.puback(packetID)) }
    } catch {
      broker.cut(link)
      noticeEnd()
    }
    return true
  }

  /// The last word and DISCONNECT, after SIGTERM.
  func leave() {
    if let handler, let link, link.isOpen {
      handler.sessionWillClose(publisher: link)
      link.toBroker.append(.disconnect)
      while broker.take(link) {}
    }
    kill()
  }

  private func noticeEnd() {
    guard let ended = link, !ended.isOpen else { return }
    link = nil
    handler?.sessionClosed(reason: "the simulation ended it")
  }
}
