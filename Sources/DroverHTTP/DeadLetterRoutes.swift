// The cloud's dead letters: to look at them, to send them again and to give them up; and the rows from the cloud that are dead letters at machines.

import DroverCore
import DroverWire
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Synchronization

enum DeadLetterRoutes {
  static func all(_ source: CloudSource, _ blocking: Blocking) -> [Route] {
    let replays = Replays()
    return [
      Route(.get, "/v1/dead-letters") { request, _ in try await list(request, source, blocking) },
      Route(.delete, "/v1/dead-letters") { request, _ in try await purge(request, source, blocking) },
      Route(.get, "/v1/dead-letters/{id}") { _, asking in
        let id = try id(asking)
        let found: JSON? = try await blocking.run {
          let store = try source.letters(false)
          guard let letter = try store.letters(DeadLetterFilter(id: id), limit: 1).first,
            let content = try store.content(of: id)
          else { return nil }
          return .object(letter.members + content.members)
        }
        guard let found else { throw missing(id) }
        return .json(found)
      },
      Route(.delete, "/v1/dead-letters/{id}") { _, asking in
        let id = try id(asking)
        let count = try await blocking.run { try source.letters(true).purge(DeadLetterFilter(id: id)) }
        guard count > 0 else { throw missing(id) }
        return Response(status: .noContent)
      },
      Route(.post, "/v1/dead-letters/{id}/replay") { _, asking in
        let id = try id(asking)
        let exists = try await blocking.run {
          try source.letters(false).count(DeadLetterFilter(id: id)) > 0
        }
        guard exists else { throw missing(id) }
        if let reason = try await replays.alone({ try await source.replay(id) }) { throw Problem(.conflict, reason) }
        return .json(.object([("id", .integer(id)), ("state", "taken")]))
      },
      Route(.get, "/v1/refused-rows") { request, _ in
        let filter = try refusals(request)
        let after = try request.query("after") { Int64($0).flatMap { $0 >= 0 ? $0 : nil } } ?? 0
        let limit = try request.number("limit", in: 1...1000, default: 100)
        let found = try await blocking.run { try source.reader.refusals(filter, after: after, limit: limit) }
        return .json(
          .object([
            ("total", .integer(Int64(found.total))), ("unnamed", .integer(Int64(found.unnamed))),
            ("rows", .array(found.rows.map(\.json))),
            ("next", found.rows.count < limit ? .null : .string("\(found.rows.last!.id)")),
          ]))
      },
      Route(.post, "/v1/refused-rows/retry") { request, _ in
        let filter = try refusals(request)
        let outcome = try await replays.alone { try await source.retry(filter) }
        return .json(
          .object([
            ("taken", .integer(Int64(outcome.taken))),
            (
              "left",
              .array(
                outcome.left.map { row, why in
                  .object([
                    ("machine", .string(row.machine.text)), ("stream", .string(row.row.stream.text)),
                    ("id", .string(row.row.localID)), ("why", .string(why)),
                  ])
                })
            ),
          ]))
      },
    ]
  }

  private static func refusals(_ request: Request) throws -> RefusalFilter {
    RefusalFilter(
      machine: try request.query("machine") { try MachineID($0) },
      stream: try request.query("stream") { try StreamName($0) }, localID: try request.query("id") { $0 })
  }

  private static func id(_ asking: Asking) throws -> Int64 {
    guard let id = Int64(try asking.part("id")), id > 0 else {
      throw Problem(.notFound, "A dead letter is named by a number.")
    }
    return id
  }

  private static func missing(_ id: Int64) -> Problem { Problem(.notFound, "There is no dead letter \(id).") }

  private static func filter(_ request: Request) throws -> DeadLetterFilter {
    DeadLetterFilter(
      machine: try request.query("machine") { try MachineID($0) },
      stream: try request.query("stream") { try StreamName($0) },
      reason: try request.query("reason") { DeadLetterReason(rawValue: $0) },
      through: try request.query("through") { Int64($0).flatMap { $0 >= 0 ? $0 : nil } })
  }

  private static func list(_ request: Request, _ source: CloudSource, _ blocking: Blocking) async throws -> Response {
    var filter = try filter(request)
    let total = filter
    filter.behind = try request.query("after") { DeadLetterFilter.Place(cursor: $0) }
    let limit = try request.number("limit", in: 1...1000, default: 100)
    return .json(
      try await blocking.run { [filter] in
        let store = try source.letters(false)
        let letters = try store.letters(filter, limit: limit)
        return .object([
          ("total", .integer(Int64(try store.count(total)))), ("newest", .integer(try store.newest())),
          ("letters", .array(letters.map(\.json))),
          ("next", letters.count < limit ? .null : .string(DeadLetterFilter.Place(letters.last!).cursor)),
        ])
      })
  }

  /// Only with `through`: newer letters are not deleted.
  private static func purge(_ request: Request, _ source: CloudSource, _ blocking: Blocking) async throws -> Response {
    let filter = try filter(request)
    guard filter.through != nil else {
      throw Problem(
        .badRequest, "through is needed: the list's newest, so that newer letters are not deleted.")
    }
    let count = try await blocking.run { try source.letters(true).purge(filter) }
    return .json(.object([("purged", .integer(Int64(count)))]))
  }
}

/// One replay at a time: each is a client of the broker under the same name.
private final class Replays: Sendable {
  private let isBusy = Mutex(false)

  func alone<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
    let mayRun = isBusy.withLock { isBusy in
      defer { isBusy = true }
      return !isBusy
    }
    guard mayRun else {
      throw Problem(
        .serviceUnavailable, "Another letter is being replayed; try again when that is answered.",
        headers: [.retryAfter: "1"])
    }
    defer { isBusy.withLock { $0 = false } }
    return try await body()
  }
}

extension DeadLetterFilter.Place {
  fileprivate init(_ letter: KeptLetter) { self.init(lastAt: letter.lastAt, id: letter.id) }

  fileprivate init?(cursor: String) {
    let parts = cursor.split(separator: "-").compactMap { Int64($0) }
    guard parts.count == 2 else { return nil }
    self.init(lastAt: parts[0], id: parts[1])
  }

  fileprivate var cursor: String { "\(lastAt)-\(id)" }
}
