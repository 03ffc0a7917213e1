// The queue of orders over HTTP: programs list orders, and people look at them, requeue and withdraw them.

package import DroverCore
import DroverWire
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// What the routes need of the process that serves them.
package struct WorklistSource: Sendable {
  package var names: [WorklistName]
  /// Opens the queue; used on one thread.
  package var open: @Sendable (_ forChange: Bool) throws -> any WorklistStore
  /// Microseconds since 1970.
  package var now: @Sendable () -> Int64

  package init(
    names: [WorklistName], open: @escaping @Sendable (Bool) throws -> any WorklistStore,
    now: @escaping @Sendable () -> Int64
  ) {
    self.names = names
    self.open = open
    self.now = now
  }

  package func summaries() throws -> [WorklistSummary] {
    guard !names.isEmpty else { return [] }
    let store = try open(false)
    return try names.map { try store.summary($0) }
  }
}

package enum WorklistRoutes {
  /// Most orders that one request requeues or withdraws.
  private static let mostKeys = 1000

  package static func all(_ source: WorklistSource, bodyBytes: Int) -> [Route] {
    let blocking = Blocking()
    return [
      Route(.get, "/v1/worklists") { _, _ in
        .json(try await blocking.run { .object([("worklists", .array(try source.summaries().map(\.document)))]) })
      },
      Route(.get, "/v1/worklists/{name}") { _, asking in
        let name = try name(asking, source)
        return .json(try await blocking.run { try source.open(false).summary(name).document })
      },
      Route(.get, "/v1/worklists/{name}/orders") { request, asking in
        try await list(request, try name(asking, source), source, blocking)
      },
      Route(.post, "/v1/worklists/{name}/orders") { request, asking in
        let name = try name(asking, source)
        let body = try await request.wholeBody(upTo: bodyBytes)
        return .json(
          try await blocking.run {
            let orders: [NewOrder]
            do { orders = try OrderPost.orders(body) } catch { throw Problem(.badRequest, "The body: \(error).") }
            do {
              let listed = try source.open(true).list(orders, in: name, now: source.now())
              return .object([
                ("added", .integer(Int64(listed.added))), ("replaced", .integer(Int64(listed.replaced))),
                ("known", .integer(Int64(listed.known))),
              ])
            } catch let error as InvalidOrder {
              throw Problem(.unprocessableContent, "Nothing was listed: \(error).")
            }
          })
      },
      Route(.get, "/v1/worklists/{name}/orders/{key}") { _, asking in
        let (name, key) = (try name(asking, source), try asking.part("key"))
        let order = try await blocking.run { try source.open(false).order(key, in: name) }
        guard let order else { throw Problem(.notFound, "There is no such order.") }
        return json(order.text)
      },
      action("requeue", source, blocking) { try $0.requeue($1, in: $2, now: source.now()) },
      action("withdraw", source, blocking) { try $0.withdraw($1, in: $2, now: source.now()) },
    ]
  }

  private static func list(
    _ request: Request, _ name: WorklistName, _ source: WorklistSource, _ blocking: Blocking
  ) async throws -> Response {
    let limit = try request.number("limit", in: 1...1000, default: 100)
    let machine = try request.query("machine") { try MachineID($0) }
    let state = try request.query("state") { OrderState(member: $0) }
    let after = request.uri.queryParameters["after"].map { String($0) }
    let orders = try await blocking.run {
      try source.open(false).orders(in: name, state: state, machine: machine, after: after, limit: limit)
    }
    let next = orders.count == limit ? orders.last.map { JSON.string($0.new.order.key) } ?? .null : .null
    return json("{\"orders\":[\(orders.map(\.text).joined(separator: ","))],\"next\":\(next.text())}")
  }

  private static func action(
    _ what: String, _ source: WorklistSource, _ blocking: Blocking,
    _ act: @escaping @Sendable (any WorklistStore, [String], WorklistName) throws -> [OrderAction]
  ) -> Route {
    Route(.post, "/v1/worklists/{name}/\(what)") { request, asking in
      let name = try name(asking, source)
      let keys = try keys(await request.wholeBody(upTo: 1 << 20))
      return .json(
        try await blocking.run {
          let actions = try act(source.open(true), keys, name)
          let left = actions.filter { $0.refusal != nil }
          return .object([
            ("done", .integer(Int64(actions.count - left.count))), ("left", .array(left.map(\.document))),
          ])
        })
    }
  }

  private static func keys(_ body: [UInt8]) throws -> [String] {
    do throws(WireError) {
      let elements = try JSONDocument(parsing: body).members.array("orders")
      guard (1...mostKeys).contains(elements.count) else {
        throw WireError("\"orders\" names 1 to \(mostKeys) orders by their keys")
      }
      var keys: [String] = []
      for element in elements { keys.append(try element.string()) }
      return keys
    } catch {
      throw Problem(.badRequest, "The body: \(error).")
    }
  }

  private static func name(_ asking: Asking, _ source: WorklistSource) throws -> WorklistName {
    let text = try asking.part("name")
    guard let name = source.names.first(where: { $0.text.isExactly(text) }) else {
      throw Problem(.notFound, "The configuration has no worklist of that name.")
    }
    return name
  }

  private static func json(_ text: String) -> Response {
    Response(
      status: .ok, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(string: text + "\n"))
    )
  }
}
