// One machine of a fleet: the agent's real relay over an outbox in memory, and the app that writes into it, by the clock.

import DroverCore
import DroverEdge
import DroverMQTT
import DroverSQLite
import DroverWire
import Logging

/// What all machines of a fleet have done. Used on the fleet's thread only.
final class FleetLedger {
  var made = 0
  /// Milliseconds from the making of each event to its confirmation.
  var latencies: [Double] = []
  var confirmed: Int { latencies.count }
}

final class FleetMachine: SessionHandler {
  let id: MachineID
  private let relay: EdgeRelay
  private let store: FleetStore
  private let ledger: FleetLedger
  private let topic: String
  /// The app's work: how many events are still to be made, when the next one is, and how far they lie apart.
  private var plan: (left: Int, next: ContinuousClock.Instant, period: Duration)?

  init(number: Int, ledger: FleetLedger, logger: Logger) throws {
    id = try! MachineID(Self.name(number))
    self.ledger = ledger
    topic = Topic.confirm(id).text
    store = FleetStore(number: number, now: SQLiteCloudStore.wallClock())
    relay = try EdgeRelay(
      machine: id, store: store, limits: RelayLimits(), software: "fleet", logger: logger,
      wallClock: SQLiteCloudStore.wallClock)
  }

  private static func name(_ number: Int) -> String {
    let digits = String(number + 1)
    return "FLEET" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }

  func options(port: Int) -> MQTTOptions {
    var options = MQTTOptions(host: "127.0.0.1", port: port, clientID: "drover-edge-\(id)")
    options.will = EdgeRelay.lastWill(machine: id)
    options.subscriptions = [
      Subscription(filter: Topic.confirmFilter(for: id)), Subscription(filter: Topic.commandFilter(for: id)),
    ]
    return options
  }

  /// Events at once, as of a machine that was cut off.
  func make(_ count: Int) {
    store.commit(count, version: SQLiteCloudStore.wallClock(), at: .now)
    ledger.made += count
  }

  /// Events one by one, from a moment on.
  func make(_ count: Int, from start: ContinuousClock.Instant, every period: Duration) { plan = (count, start, period) }

  private func makeDue(_ now: ContinuousClock.Instant) {
    while let due = plan, due.left > 0, due.next <= now {
      make(1)
      plan = (due.left - 1, due.next.advanced(by: due.period), due.period)
    }
  }

  // MARK: The session

  func turn(now: ContinuousClock.Instant) -> Duration {
    makeDue(now)
    let wish = relay.turn(now: now)
    guard let plan, plan.left > 0 else { return wish }
    return min(wish, max(.zero, now.duration(to: plan.next)))
  }

  func received(_ messages: [InboundMessage]) throws {
    try relay.received(messages)
    let now = ContinuousClock.now
    for message in messages where message.topic == topic {
      guard let confirmation = try? Confirmation(document: message.payload), confirmation.epoch == store.epoch,
        let through = confirmation.streams[store.streams[0].name]?.front
      else { continue }
      store.confirm(through: through) { ledger.latencies.append($0.duration(to: now) / .milliseconds(1)) }
    }
  }

  func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    relay.sessionOpened(info, publisher: publisher)
  }

  func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) { relay.acknowledged(token, reason: reason) }
  func sessionClosed(reason: String) { relay.sessionClosed(reason: reason) }
  func isDrained() -> Bool { relay.isDrained() }
  func sessionWillClose(publisher: any Publisher) { relay.sessionWillClose(publisher: publisher) }
}
