// Events about the session, the confirmations and the machines.

import DroverCore
import DroverEvents
import Logging

struct SessionNotOpened: ConsumerEvent {
  let error: any Error
  var level: Logger.Level { .error }
  var text: String? { "open the session: \(error); confirmations wait for the next message" }
}

struct SessionTaken: ConsumerEvent {
  let trouble: Trouble
  var level: Logger.Level { .warning }
  var subject: String? { "session" }
  var text: String? { "\(trouble.text(nil)); \(trouble.advice)" }
}

// MARK: What the consumer publishes

struct PublishRefused: ConsumerEvent {
  let topic: Topic
  let reason: AcknowledgementReason
  let user: String?
  var level: Logger.Level { .warning }
  var subject: String? { "confirm \(reason)" }
  var text: String? {
    let why =
      reason == .notAuthorised
      ? "\(user.map { "user \($0)" } ?? "a client without a user name") is not authorised on it; check the broker's ACL"
      : "the broker answered \(reason)"
    return "publish on \(topic): \(why); the machine forgets nothing without it"
  }
}

struct ConfirmationFailed: ConsumerEvent {
  let machine: MachineID
  /// Machines besides this one.
  let others: Int
  let error: any Error
  var level: Logger.Level { .warning }
  var subject: String? { "confirm" }
  var text: String? { "confirm to \(machine) and \(others) others: \(error)" }
}

// MARK: Machines

struct MachineConnected: ConsumerEvent {
  let machine: MachineID
  let isOnline: Bool
  var level: Logger.Level { .info }
  var text: String? { "\(machine) is \(isOnline ? "online" : "offline")" }
}

struct MachineDuplicated: ConsumerEvent {
  let machine: MachineID
  let trouble: Trouble
  var level: Logger.Level { .error }
  var text: String? { "\(trouble.text(machine.text)). \(trouble.advice)" }
}

struct MachineAlone: ConsumerEvent {
  let machine: MachineID
  var level: Logger.Level { .info }
  var text: String? { "only one machine is called \(machine) now: its events are applied again" }
}

struct VersionsAhead: ConsumerEvent {
  let origin: MachineStream
  let version: Int64
  var level: Logger.Level { .warning }
  var subject: String? { "ahead \(origin.machine)" }
  var text: String? {
    "versions of \(origin.stream) of \(origin.machine) are ahead of the clock here, the newest is from \(Timestamp.text(microseconds: version)): the clock there was wrong, or the one here is; the order is kept"
  }
}
