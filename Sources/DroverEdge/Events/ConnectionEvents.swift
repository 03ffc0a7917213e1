// Events about the connection, the cloud and the clock.

import DroverCore
import DroverEvents
import DroverWire
import Logging

struct ConnectionLost: AgentEvent {
  let reason: String
  var level: Logger.Level { .debug }
  /// The session logs its end.
  var text: String? { nil }
  var metric: DeliveryFailure.Kind? { .connectionLost }
}

struct SessionTaken: AgentEvent {
  let machine: MachineID
  let trouble: Trouble
  var level: Logger.Level { .warning }
  var subject: String? { "session" }
  var text: String? { "\(trouble.text(machine.text)); \(trouble.advice)" }
}

struct MachineDuplicated: AgentEvent {
  let machine: MachineID
  let trouble: Trouble
  var level: Logger.Level { .error }
  var text: String? {
    "\(trouble.text(machine.text)). Until then, what the app writes is captured and waits. \(trouble.advice)"
  }
}

struct MachineAlone: AgentEvent {
  let machine: MachineID
  var level: Logger.Level { .info }
  var text: String? { "only this machine is called \(machine) now: it goes on" }
}

// MARK: What the cloud says

struct ConfirmationUnreadable: AgentEvent {
  let topic: String
  let error: WireError
  var level: Logger.Level { .warning }
  var subject: String? { "confirm" }
  var text: String? {
    "read \(topic): \(error); it is not from a Drover consumer of this version, so the agent ignores it"
  }
}

struct ConfirmationImpossible: AgentEvent {
  let machine: MachineID
  let highest: Int64
  let reached: Int64
  var level: Logger.Level { .warning }
  var subject: String? { "impossible confirmation" }
  var text: String? {
    "read the confirmation: it covers event \(highest), and this agent has sent none above \(reached); the agent ignores it, and everything stays in the outbox. Another program than the consumer may write to \(Topic.confirm(machine).text): check the broker's ACL"
  }
}

struct CommandUnreadable: AgentEvent {
  let topic: String
  let error: WireError
  var level: Logger.Level { .warning }
  var subject: String? { "command" }
  var text: String? { "read \(topic): \(error)" }
}

struct CommandUnknown: AgentEvent {
  let name: String
  var level: Logger.Level { .warning }
  var subject: String? { "unknown command" }
  var text: String? { "command \(name.prefix(64)): this version of the agent does not know it" }
}

struct StreamHeld: AgentEvent {
  let stream: StreamName
  /// Nil where the consumer is one that gives none.
  let reason: HoldReason?
  var level: Logger.Level { .warning }
  var subject: String? { "hold \(stream) \(reason?.code ?? "")" }
  var text: String? {
    "send \(stream): it waits: \(reason?.text ?? "the cloud cannot take it now; `drover status` in the cloud says why")"
  }
}

struct CloudSilent: AgentEvent {
  var level: Logger.Level { .info }
  var text: String? {
    "the cloud does not confirm what the broker acknowledged; the agent re-sends a frame to ask. Is the consumer running?"
  }
  var metric: DeliveryFailure.Kind? { .unconfirmed }
}

// MARK: The clock

/// The wall clock is far from the cloud's.
struct ClockFar: AgentEvent {
  /// Microseconds.
  let ahead: Int64
  var level: Logger.Level { .warning }
  var text: String? {
    "clock: this machine is \(abs(ahead) / 1_000_000) s \(ahead > 0 ? "ahead of" : "behind") the cloud; set it, because reports show its times"
  }
}

struct ClockSet: AgentEvent {
  /// Microseconds.
  let step: Int64
  var level: Logger.Level { .warning }
  var subject: String? { "step" }
  var text: String? {
    "clock: it was set \(step > 0 ? "forward" : "back") by \(abs(step) / 1_000_000) s; order and delivery do not depend on it"
  }
}
