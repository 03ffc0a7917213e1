// An MQTT broker in memory, with the semantics on which Drover rests or which betray it: persistent sessions with a queue and a flight,
// QoS 1 with PUBACK and DUP, retained messages, wills, reasons, queues that overflow in silence, and a memory that may be lost.

import DroverCore

/// One connection of a client. What is on the wire in either direction is lost when it ends.
final class Link: Publisher {
  enum ToBroker {
    case publish(PublishToken, OutboundMessage)
    case puback(Int)
    case disconnect
  }

  enum ToClient {
    case message(InboundMessage, packetID: Int)
    case puback(PublishToken, AcknowledgementReason)
  }

  let client: String
  fileprivate let will: OutboundMessage?
  fileprivate(set) var isOpen = true
  /// The client's process is gone: nothing that it still does leaves it.
  var isDead = false
  var toBroker: [ToBroker] = []
  var toClient: [ToClient] = []
  /// Nothing moves before this.
  var stalledUntil: ContinuousClock.Instant?
  private var tokens: Int32 = 0
  var onPublish: (OutboundMessage) -> Void = { _ in }

  fileprivate init(client: String, will: OutboundMessage?) {
    self.client = client
    self.will = will
  }

  func publish(_ message: OutboundMessage) throws(PublishError) -> PublishToken {
    guard isOpen, !isDead else { throw .notConnected }
    tokens += 1
    let token = PublishToken(rawValue: tokens)
    toBroker.append(.publish(token, message))
    onPublish(message)
    return token
  }
}

final class SimulatedBroker {
  private struct Message {
    var topic: String
    var payload: [UInt8]
    var contentType: String?
    var isRetained = false
    /// Who published it: it does not come back to him where he asked for that.
    var publisher: String
  }

  private struct Session {
    let client: String
    var subscriptions: [Subscription] = []
    var queue: [Message] = []
    var flight: [(packetID: Int, message: Message)] = []
    var packetIDs = 0

    mutating func fly(_ message: Message) -> Int {
      packetIDs += 1
      flight.append((packetIDs, message))
      return packetIDs
    }

    func wants(_ message: Message) -> Bool {
      subscriptions.contains { $0.matches(message.topic) && !($0.noLocal && message.publisher == client) }
    }
  }

  struct Subscription {
    var filter: String
    var noLocal = false

    /// [MQTT 5, 4.7.1]
    func matches(_ topic: String) -> Bool {
      let filter = filter.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      let levels = topic.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      for (index, part) in filter.enumerated() {
        if part.elementsEqual("#".utf8) { return true }
        guard index < levels.count else { return false }
        if !part.elementsEqual("+".utf8), !part.elementsEqual(levels[index]) { return false }
      }
      return filter.count == levels.count
    }
  }

  /// What a broker writes to its disk.
  private struct State {
    var sessions: [String: Session] = [:]
    var retained: [String: Message] = [:]
  }

  private let chance: Chance
  private let trace: Trace
  private let queueLimit: Int
  private let flightLimit: Int
  private let hasReasons: Bool
  private var state = State()
  private var saved = State()
  private var links: [String: Link] = [:]

  init(chance: Chance, trace: Trace, queueLimit: Int, flightLimit: Int, hasReasons: Bool) {
    self.chance = chance
    self.trace = trace
    self.queueLimit = queueLimit
    self.flightLimit = flightLimit
    self.hasReasons = hasReasons
  }

  // MARK: Connections

  /// CONNECT with clean start false, CONNACK, SUBSCRIBE and SUBACK in one. What is retained comes with every SUBSCRIBE.
  func connect(_ client: String, subscriptions: [Subscription], will: OutboundMessage?) -> (Link, SessionInfo) {
    if let old = links[client] { cut(old) }
    let isPresent = state.sessions[client] != nil
    var session = state.sessions[client] ?? Session(client: client)
    session.subscriptions = subscriptions
    let link = Link(client: client, will: will)
    for (packetID, message) in session.flight {
      link.toClient.append(.message(inbound(message, isDuplicate: true), packetID: packetID))
    }
    for (_, message) in state.retained.sorted(by: { $0.key < $1.key }) where session.wants(message) {
      session.queue.append(message)
    }
    state.sessions[client] = session
    links[client] = link
    return (link, SessionInfo(sessionPresent: isPresent, protocolLevel: hasReasons ? 5 : 4))
  }

  /// The connection ends without DISCONNECT: the broker says the will.
  func cut(_ link: Link) {
    guard link.isOpen else { return }
    // What had left the client may have arrived, though its PUBACK never will.
    let arrived = chance.below(link.toBroker.count + 1, for: .disconnect)
    for packet in link.toBroker.prefix(arrived) { _ = answer(packet, of: link) }
    close(link)
    if let will = link.will {
      distribute(will, from: link.client)
    }
  }

  private func close(_ link: Link) {
    link.isOpen = false
    link.toBroker = []
    link.toClient = []
    if links[link.client] === link { links[link.client] = nil }
  }

  var openLinks: [Link] { links.values.sorted { $0.client < $1.client } }

  // MARK: Packets

  /// Takes the next packet of a connection. False when there is none.
  func take(_ link: Link) -> Bool {
    guard link.isOpen, !link.toBroker.isEmpty else { return false }
    let packet = link.toBroker.removeFirst()
    if let answer = answer(packet, of: link) {
      if chance.happens(.disconnectBeforePuback) {
        trace("broker: the connection of \(link.client) ends before PUBACK")
        cut(link)
      } else {
        link.toClient.append(answer)
      }
    }
    return true
  }

  private func answer(_ packet: Link.ToBroker, of link: Link) -> Link.ToClient? {
    switch packet {
    case .puback(let packetID):
      state.sessions[link.client]?.flight.removeAll { $0.packetID == packetID }
      return nil
    case .disconnect:
      close(link)
      return nil
    case .publish(let token, let message):
      if chance.happens(.quota) {
        trace("broker: over quota, \(message.topic) of \(link.client)")
        return .puback(token, hasReasons ? .quotaExceeded : .success)
      }
      let subscribers = distribute(message, from: link.client)
      return .puback(token, subscribers == 0 && hasReasons ? .noMatchingSubscribers : .success)
    }
  }

  /// Moves one message into a client's flight. False when there is none or no room.
  func deliver(_ link: Link) -> Bool {
    guard link.isOpen, var session = state.sessions[link.client], !session.queue.isEmpty,
      session.flight.count < flightLimit
    else { return false }
    let message = session.queue.removeFirst()
    let packetID = session.fly(message)
    state.sessions[link.client] = session
    link.toClient.append(.message(inbound(message, isDuplicate: false), packetID: packetID))
    return true
  }

  private func inbound(_ message: Message, isDuplicate: Bool) -> InboundMessage {
    InboundMessage(
      topic: message.topic, payload: message.payload, isRetained: message.isRetained, isDuplicate: isDuplicate,
      contentType: message.contentType)
  }

  /// Returns how many sessions want it.
  @discardableResult func distribute(_ outbound: OutboundMessage, from client: String) -> Int {
    var message = Message(
      topic: outbound.topic, payload: outbound.payload, contentType: outbound.contentType, publisher: client)
    var wanted = 0
    for name in state.sessions.keys.sorted() where state.sessions[name]!.wants(message) {
      wanted += 1
      if chance.happens(.drop) {
        trace("broker: drops \(message.topic) for \(name)")
        continue
      }
      for _ in 0..<(chance.happens(.duplicate) ? 2 : 1) {
        let count = state.sessions[name]!.queue.count
        guard count < queueLimit else {
          trace("broker: the queue of \(name) is full, \(message.topic) is dropped")
          break
        }
        // Frames may come in any order from a cluster; what is retained keeps its own, or its last would not be the newest.
        let isShuffled = !outbound.isRetained && chance.happens(.reorder)
        let place = isShuffled ? chance.below(count + 1, for: .reorder) : count
        state.sessions[name]!.queue.insert(message, at: place)
      }
    }
    if outbound.isRetained {
      message.isRetained = true
      state.retained[message.topic] = message.payload.isEmpty ? nil : message
    }
    return wanted
  }

  // MARK: Its memory

  func save() { saved = state }

  func restart(older: Bool) {
    for link in openLinks { close(link) }
    state = older ? saved : State()
    if !older { saved = State() }
  }

  func forgetSession(of client: String) {
    if let link = links[client] { cut(link) }
    state.sessions[client] = nil
  }

  /// Nothing is on its way to or from anybody who is connected.
  var isQuiet: Bool {
    links.values.allSatisfy { link in
      link.toBroker.isEmpty && link.toClient.isEmpty && state.sessions[link.client]?.queue.isEmpty ?? true
        && state.sessions[link.client]?.flight.isEmpty ?? true
    }
  }
}
