// A machine that sends bad messages at a steady rate, one kind after the other. Each kind was expensive for a consumer without limits.

import DroverCore
import DroverMQTT
import DroverWire
import Logging
import Synchronization

package enum FloodKind: String, CaseIterable, Codable, Sendable {
  case garbage
  /// Frames of ever new epochs.
  case epochs
  /// Bare deletes with long IDs.
  case deletes
  /// Two descriptions of one stream in turn.
  case schemas
  /// Frames that leave a gap each.
  case gaps
  /// All of these by turns.
  case mixed

  static let machine = "EVIL01"

  func message(_ number: Int) -> OutboundMessage {
    switch self {
    case .garbage: message("payload/nonsense", "{\"v\":1,\"epoch\":\(number)")
    case .epochs:
      message(
        "payload/nonsense",
        "{\"v\":1,\"epoch\":\"\(String(number + 1, radix: 16))\",\"after\":0,\"through\":1,\"events\":[]}")
    case .deletes:
      message("snapshot/gone", "{\"id\":\"\(String(repeating: "k", count: 5000))\(number)\",\"op\":\"delete\"}")
    case .schemas: message("schema/turn", Self.descriptions[number % 2])
    case .gaps:
      message(
        "payload/gaps",
        "{\"v\":1,\"epoch\":\"ab\",\"after\":\(2 * number + 2),\"through\":\(2 * number + 3),\"events\":[]}")
    case .mixed:
      Self.allCases[number % (Self.allCases.count - 1)].message(number)
    }
  }

  private func message(_ topic: String, _ text: String) -> OutboundMessage {
    OutboundMessage(topic: "\(Topic.prefix)\(Self.machine)/\(topic)", payload: Array(text.utf8))
  }

  private static let descriptions = ["one", "two"].map { name in
    let columns = [Column(name: "id", declaredType: "INTEGER"), Column(name: name, declaredType: "TEXT")]
    let schema = try! StreamSchema(kind: .snapshot, columns: columns, key: [0])
    return String(decoding: schema.document, as: UTF8.self)
  }
}

/// The connection that floods. Another thread starts and stops it.
final class Flood: SessionHandler, Sendable {
  /// The broker takes no more at once from one client.
  private static let mostWaiting = 500

  private struct State {
    var kind: FloodKind?
    var began = ContinuousClock.now
    var sent = 0
    var total = 0
    var waiting = 0
  }

  private let perSecond: Int
  private let state = Mutex(State())
  private let publisher = Mutex<Box?>(nil)

  /// The publisher is used on the session's thread alone.
  private struct Box: @unchecked Sendable { let publisher: any Publisher }

  init(perSecond: Int) { self.perSecond = perSecond }

  /// Sends this kind from now on; nil: nothing.
  func send(_ kind: FloodKind?) {
    state.withLock {
      $0.kind = kind
      ($0.began, $0.sent) = (.now, 0)
    }
  }

  /// Messages of the present kind so far.
  var sent: Int { state.withLock(\.sent) }
  var isConnected: Bool { publisher.withLock { $0 != nil } }

  // MARK: The session

  func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    self.publisher.withLock { $0 = Box(publisher: publisher) }
  }

  func turn(now: ContinuousClock.Instant) -> Duration {
    guard let publisher = publisher.withLock({ $0?.publisher }) else { return .milliseconds(10) }
    state.withLock { state in
      guard let kind = state.kind else { return }
      let due = Int(state.began.duration(to: now) / .seconds(1) * Double(perSecond)) - state.sent
      for _ in 0..<max(0, min(due, Self.mostWaiting - state.waiting)) {
        guard (try? publisher.publish(kind.message(state.total))) != nil else { return }
        state.sent += 1
        state.total += 1
        state.waiting += 1
      }
    }
    return .milliseconds(1)
  }

  func received(_ messages: [InboundMessage]) throws {}
  func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) { state.withLock { $0.waiting -= 1 } }
  func sessionClosed(reason: String) {
    publisher.withLock { $0 = nil }
    state.withLock { $0.waiting = 0 }
  }
  func isDrained() -> Bool { true }
  func sessionWillClose(publisher: any Publisher) {}
}
