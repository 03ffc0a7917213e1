// Events about the app's database.

import DroverCore
import DroverEvents
import Logging

struct DatabaseLocked: AgentEvent {
  let length: Duration
  /// The programs that hold it, where that is known.
  let holders: String?
  var level: Logger.Level { .warning }
  var text: String? {
    "work on the outbox: the database has been locked for \(ageText(length)) by \(holders ?? "another program"), and the agent waits for it; end its open transaction, or that program, and see that it does not set PRAGMA locking_mode = EXCLUSIVE; nothing is lost"
  }
}

struct DatabaseFreed: AgentEvent {
  let length: Duration
  var level: Logger.Level { .info }
  var text: String? { "work on the outbox: the database is free again after \(ageText(length))" }
}

struct StoreFailed: AgentEvent {
  let error: EdgeStoreError
  var level: Logger.Level { .error }
  var subject: String? { "store" }
  var text: String? { "work on the outbox: \(error); the agent tries again in a second" }
  var metric: DeliveryFailure.Kind? { .store }
}

struct RefreshFailed: AgentEvent {
  let error: EdgeStoreError
  var level: Logger.Level { .error }
  var subject: String? { "refresh" }
  var text: String? { "look at the tables: \(error); the agent tries again in a second" }
}

struct MaintenanceFailed: AgentEvent {
  let error: EdgeStoreError
  var level: Logger.Level { .error }
  var subject: String? { "look around" }
  var text: String? { "look at clock and disk: \(error)" }
}

struct DeadLettersFull: AgentEvent {
  let stream: Int
  let reason: String
  var level: Logger.Level { .error }
  var subject: String? { "no room \(stream)" }
  var text: String? { "\(reason); its stream waits until there is space" }
}

/// A fact whose row was gone before it could be sent.
struct RowVanished: AgentEvent {
  let stream: StreamName
  var level: Logger.Level { .warning }
  var subject: String? { "vanished \(stream)" }
  var text: String? {
    "send \(stream): a row was replaced or removed past the triggers before it was sent; nothing of it is left to send"
  }
}
