// The connections of one server: what `ConnectionSlots` decides about them is done here. Every connection's event loop and every request comes here, so a lock guards it.

import Glibc
import NIOCore
import Synchronization

final class Connections: Sendable {
  private struct State {
    var room: ConnectionSlots
    var channels: [Int: any Channel] = [:]
    var numbers: [ObjectIdentifier: Int] = [:]
  }

  /// How long a connection that has to give its place up is still listened to.
  private static let moment = TimeAmount.milliseconds(250)

  private let state: Mutex<State>

  init(_ limits: ConnectionSlots.Limits) { state = Mutex(State(room: ConnectionSlots(limits))) }

  /// Takes a new connection, and closes another soon where there is no room for both.
  func open(_ channel: any Channel) {
    let address = channel.remoteAddress?.client ?? ""
    let closing = state.withLock { state -> (any Channel)? in
      let (id, _, closing) = state.room.open(from: address)
      state.channels[id] = channel
      state.numbers[ObjectIdentifier(channel)] = id
      return closing.flatMap { state.channels[$0] }
    }
    if let closing { closing.eventLoop.scheduleTask(in: Self.moment) { self.leave(closing) } }
  }

  private func leave(_ channel: any Channel) {
    let isOver = state.withLock { state in
      state.numbers[ObjectIdentifier(channel)].map { state.room.leave($0) } ?? false
    }
    if isOver { channel.cutOff() }
  }

  /// Gives the connection's place to others; it has been refused, or is gone.
  func close(_ channel: any Channel) {
    state.withLock { state in
      guard let id = state.numbers[ObjectIdentifier(channel)] else { return }
      state.room.close(id)
      state.channels[id] = nil
      state.numbers[ObjectIdentifier(channel)] = nil
    }
  }

  /// A request with a known token begins.
  func serve(_ channel: any Channel) { change(channel) { $0.serve($1) } }

  /// The answer has been sent.
  func answered(_ channel: any Channel) { change(channel) { $0.answered($1) } }

  /// What a connection may be used for; nil when it had to give its place up.
  func admission(of channel: any Channel) -> ConnectionSlots.Admission? {
    state.withLock { state in state.numbers[ObjectIdentifier(channel)].flatMap { state.room.admission($0) } }
  }

  func isServing(_ channel: any Channel) -> Bool {
    state.withLock { state in
      state.numbers[ObjectIdentifier(channel)].map { state.room.isServing($0) } ?? false
    }
  }

  private func change(_ channel: any Channel, _ change: (inout ConnectionSlots, Int) -> Void) {
    state.withLock { state in
      if let id = state.numbers[ObjectIdentifier(channel)] { change(&state.room, id) }
    }
  }
}

extension SocketAddress {
  /// Whose limits count: an IPv4 address, or the network of an IPv6 address, because one client may have all addresses of a /64.
  var client: String {
    guard let text = ipAddress else { return "" }
    var address = in6_addr()
    guard inet_pton(AF_INET6, text, &address) == 1 else { return text }
    let bytes = withUnsafeBytes(of: address) { Array($0) }
    let mapped: [UInt8] = Array(repeating: 0, count: 10) + [0xff, 0xff]
    guard !bytes.starts(with: mapped) else { return bytes.suffix(4).map(String.init).joined(separator: ".") }
    return bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ":")
  }
}
