// Events about worklists. No line has an order's fields.

import DroverCore
import DroverEvents
import Logging

struct WorklistRefilled: AgentEvent {
  let name: StreamName
  let inserted: Int
  let left: Int
  let outcome: RefillOutcome
  var level: Logger.Level { outcome.refused.isEmpty ? .info : .warning }
  var text: String? {
    guard outcome.isTaken else {
      return
        "worklist \(name): rows have come into the table since the request, so none of the orders was inserted; they go back to the queue"
    }
    var parts = ["\(quantity(inserted, "order")) inserted"]
    if !outcome.known.isEmpty { parts.append("\(outcome.known.count) that the machine had before left out") }
    if let first = outcome.refused.first {
      parts.append("\(outcome.refused.count) refused, the first because \(first.why)")
    }
    return "worklist \(name): \(parts.joined(separator: ", ")); \(left) more wait in the cloud"
  }
}

struct WorklistOrdersLeft: AgentEvent {
  let name: StreamName
  let rows: WorklistRows
  var level: Logger.Level { .info }
  var text: String? {
    "worklist \(name): \(quantity(rows.all, "order")) \(rows.all == 1 ? "is" : "are") left in the table, \(rows.unfinished) unfinished; the agent asks for more when it is ready"
  }
}

struct WorklistGotNothing: AgentEvent {
  let name: StreamName
  let why: String
  var level: Logger.Level { .info }
  var text: String? { "worklist \(name): the cloud has no order for it: \(printable(why))" }
}

struct WorklistWaits: AgentEvent {
  let name: StreamName
  let why: String
  var level: Logger.Level { .warning }
  var subject: String? { "worklist \(name) waits: \(why)" }
  var text: String? { "worklist \(name): it waits: \(why)" }
}

struct WorklistFailed: AgentEvent {
  let name: StreamName
  let why: String
  var level: Logger.Level { .warning }
  var subject: String? { "worklist \(name): \(why)" }
  var text: String? { "worklist \(name): \(printable(why)); the agent tries again" }
}
