// Edits that lost a conflict: to look at them, and to resolve one or many. Who resolves one says how they saw the row (`If-Match`, or `seen` in a list), and
// nothing is done if it is another one by then.

import DroverCore
import DroverWire
import HTTPTypes
import Hummingbird
import HummingbirdCore

enum ConflictRoutes {
  /// Conflicts are read in parts of so many, and an answer ends behind the part with which it has this many bytes.
  private static let part = 20
  private static let answerBytes = 1 << 20
  /// Most conflicts that one request resolves.
  private static let most = 1000
  private static let bodyBytes = 1 << 20

  static func all(_ source: CloudSource, _ blocking: Blocking) -> [Route] {
    [
      Route(.get, "/v1/conflicts") { request, _ in try await list(request, source, blocking) },
      Route(.get, "/v1/conflicts/{id}") { _, asking in
        let id = try id(asking)
        guard let conflict = try await blocking.run({ try source.conflicts(false).conflict(id) }) else {
          throw missing(id)
        }
        return .json(conflict.document, headers: [.eTag: "\"\(conflict.seen)\""])
      },
      Route(.post, "/v1/conflicts/{id}/resolve") { request, asking in
        let id = try id(asking)
        let seen = try tag(request)
        let take = try await body(request) { members throws(WireError) in try members.take() }
        switch try await blocking.run({ try source.conflicts(true).resolve(id, take: take, seen: .named(seen)) }) {
        case .resolved: return .json(.object([("id", .integer(id)), ("state", "resolved")]))
        case .unknown: throw missing(id)
        case .changed:
          throw Problem(.preconditionFailed, "The row has changed, and nothing was done; look at it again.")
        case .refused(let reason): throw Problem(.conflict, sentence(reason))
        }
      },
      Route(.post, "/v1/conflicts/resolve") { request, _ in try await resolveMany(request, source, blocking) },
    ]
  }

  private static func list(_ request: Request, _ source: CloudSource, _ blocking: Blocking) async throws -> Response {
    let limit = try request.number("limit", in: 1...1000, default: 100)
    let machine = try request.query("machine") { try MachineID($0) }
    let stream = try request.query("stream") { try StreamName($0) }
    let after = try request.query("after") { Int64($0).flatMap { $0 >= 0 ? $0 : nil } } ?? 0
    return .json(
      try await blocking.run {
        let store = try source.conflicts(false)
        var listed: [JSON] = []
        var (last, bytes, hasMore) = (after, 0, true)
        while hasMore, listed.count < limit, bytes < answerBytes {
          let wanted = min(part, limit - listed.count)
          let found = try store.conflicts(machine: machine, stream: stream, after: last, limit: wanted)
          hasMore = found.count == wanted
          last = found.last?.id ?? last
          for conflict in found {
            listed.append(conflict.document)
            bytes += conflict.weight
          }
        }
        return .object([
          ("total", .integer(Int64(try store.conflictCount(machine: machine, stream: stream)))),
          ("conflicts", .array(listed)), ("next", hasMore && !listed.isEmpty ? .string("\(last)") : .null),
        ])
      })
  }

  private static func resolveMany(
    _ request: Request, _ source: CloudSource, _ blocking: Blocking
  ) async throws -> Response {
    let order = try await body(request) { members throws(WireError) in try ConflictOrder(members, most: most) }
    return .json(
      try await blocking.run {
        let store = try source.conflicts(true)
        var (resolved, left) = (0, [JSON]())
        for (id, seen) in order.conflicts {
          let why: String
          switch try store.resolve(id, take: order.take, seen: .named(seen)) {
          case .resolved:
            resolved += 1
            continue
          case .unknown: why = "There is no such conflict."
          case .changed: why = "The row has changed; look at it again."
          case .refused(let reason): why = sentence(reason)
          }
          left.append(.object([("id", .integer(id)), ("why", .string(why))]))
        }
        return .object([("resolved", .integer(Int64(resolved))), ("left", .array(left))])
      })
  }

  // MARK: What is asked

  private static func id(_ asking: Asking) throws -> Int64 {
    guard let id = Int64(try asking.part("id")), id > 0 else {
      throw Problem(.notFound, "A conflict is named by a number.")
    }
    return id
  }

  private static func missing(_ id: Int64) -> Problem { Problem(.notFound, "There is no conflict \(id).") }

  private static func sentence(_ reason: String) -> String {
    reason.prefix(1).uppercased() + reason.dropFirst() + "; nothing was done."
  }

  private static func tag(_ request: Request) throws -> String {
    guard let header = request.headers[.ifMatch] else {
      throw Problem(
        .preconditionRequired, "If-Match is needed: the ETag of the conflict, or its seen, as you looked at it.")
    }
    return header.hasPrefix("\"") && header.hasSuffix("\"") && header.count > 1
      ? String(header.dropFirst().dropLast()) : header
  }

  private static func body<Result>(
    _ request: Request, _ read: (JSONDocument.Members) throws(WireError) -> Result
  ) async throws -> Result {
    let bytes = try await request.wholeBody(upTo: bodyBytes)
    do throws(WireError) {
      return try read(try JSONDocument(parsing: bytes).members)
    } catch {
      throw Problem(.badRequest, "The body: \(error).")
    }
  }
}

/// What many conflicts are to become.
private struct ConflictOrder {
  let take: ConflictTake
  let conflicts: [(id: Int64, seen: String)]

  init(_ members: JSONDocument.Members, most: Int) throws(WireError) {
    take = try members.take()
    let elements = try members.array("conflicts")
    guard (1...most).contains(elements.count) else { throw WireError("\"conflicts\" names 1 to \(most) conflicts") }
    var conflicts: [(id: Int64, seen: String)] = []
    for element in elements {
      let each = try element.members()
      conflicts.append((try each.integer("id", in: 1 ... .max), try each.string("seen")))
    }
    self.conflicts = conflicts
  }
}

extension JSONDocument.Members {
  fileprivate func take() throws(WireError) -> ConflictTake {
    guard let take = ConflictTake(rawValue: try string("take")) else {
      throw WireError("\"take\" is cloud, machine or both")
    }
    return take
  }
}

extension Conflict {
  /// About as many bytes as its values have in JSON.
  fileprivate var weight: Int {
    200
      + [lost.value, present].compactMap(\.self).joined().reduce(0) { sum, value in
        switch value {
        case .null, .integer, .real: sum + 10
        case .text(let bytes): sum + bytes.count
        case .blob(let bytes): sum + bytes.count * 4 / 3
        }
      }
  }
}

extension HTTPField.Name {
  fileprivate static let ifMatch = Self("If-Match")!
}
