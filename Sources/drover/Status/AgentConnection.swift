// How the agent's connection to the broker stands, and what has gone wrong on it: the agent notes it in its lock file, so that no one has to
// connect to the broker in order to see it.

import DroverCore
import DroverSQLite
import DroverWire

struct AgentConnection {
  /// nil where no agent runs, or it has had no connection yet.
  let standing: String?
  let failures: [DeliveryFailure]

  init(database: String) {
    standing = AgentLock.connection(database: database)
    failures = AgentLock.failures(database: database)
  }

  func lines(now: Int64) -> [String] {
    [standing.map { "broker  \($0)" }].compactMap(\.self)
      + failures.map { failure in
        "failed  \(failure.kind.text): \(failure.count) \(failure.count == 1 ? "time" : "times") since the agent started, last \(ageText(now - failure.last)) ago"
      }
  }

  /// Members of the status document.
  func members(now: Int64) -> [(String, JSON)] {
    [
      ("broker", standing.map { .string($0) } ?? .null),
      (
        "failures",
        .array(
          failures.map { failure in
            .object([
              ("what", .string(failure.kind.rawValue)), ("count", .integer(Int64(failure.count))),
              ("last_seconds", .real(Double(max(0, now - failure.last)) / 1_000_000)),
            ])
          })
      ),
    ]
  }
}
