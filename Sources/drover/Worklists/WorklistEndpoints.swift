// What the consumer and an ERP say to each other about worklists: joined from the configuration, the store and HTTP.

import DroverConfiguration
import DroverCore
import DroverHTTP
import DroverServices
import DroverWire
import Logging
import ServiceLifecycle

struct WorklistEndpoints: Sendable {
  let board: EndpointBoard
  private let fetches: [WorklistName: OrderFetch]
  private let posts: [CompletedPost]

  /// - Parameter isOurs: whether this consumer does what one of several does.
  init(_ configuration: CloudConfiguration, isOurs: @escaping @Sendable () -> Bool, logger: Logger) {
    let hasAny = configuration.worklists.contains { $0.fetch != nil || $0.completed != nil }
    let board = EndpointBoard(memory: hasAny ? configuration.endpointMemory : nil, logger: logger)
    self.board = board
    var fetches: [WorklistName: OrderFetch] = [:]
    var posts: [CompletedPost] = []
    for (index, worklist) in configuration.worklists.enumerated() {
      let plan = worklist.plan
      if let fetch = worklist.fetch {
        fetches[plan.name] = OrderFetch(
          plan.name, fetch, endpoint: HTTPEndpoint(fetch.endpoint, caKey: "worklists[\(index)].fetch.ca"),
          openStore: { try configuration.openWorklists() }, isOurs: isOurs, wallClock: { wallClock() }, board: board,
          logger: logger)
      }
      if let completed = worklist.completed {
        posts.append(
          CompletedPost(
            plan.name, completed,
            endpoint: HTTPEndpoint(completed.endpoint, caKey: "worklists[\(index)].completed.ca"),
            openStore: { try configuration.openWorklists() },
            row: { key, machine in
              let found = try configuration.rowEditor.row(
                key, of: MachineStream(machine: machine, stream: plan.stream))
              guard let found, let values = found.row?.values else { return nil }
              return (found.table.schema, values)
            }, isOurs: isOurs, wallClock: { wallClock() }, board: board, logger: logger))
      }
    }
    self.fetches = fetches
    self.posts = posts
  }

  var services: [any Service] { Array(fetches.values) + posts }

  /// Asks the ERP for orders for a machine's request; nil where no worklist has one.
  var fetch: (@Sendable (WorklistName, MachineID, Int) async -> Void)? {
    guard !fetches.isEmpty else { return nil }
    return { [fetches] worklist, machine, limit in
      await fetches[worklist]?.demand(from: machine, limit: limit)
    }
  }
}

extension CloudConfiguration {
  /// The worklists as they are now. What cannot be read has no figures.
  func worklistHealth(_ board: EndpointBoard) -> [WorklistHealth] {
    guard !worklists.isEmpty else { return [] }
    let store = try? openWorklists(forChange: false)
    let endpoints = board.all
    return worklists.map { worklist in
      let name = worklist.plan.name
      return WorklistHealth(
        name: name, summary: try? store?.summary(name), endpoints: endpoints.filter { $0.worklist == name })
    }
  }

  /// How the endpoints of a worklist did when the consumer last noted it.
  func endpoints(of worklist: WorklistName) throws -> [EndpointStanding] {
    try endpointMemory.read().map { try EndpointNotes(parsing: $0).standings.filter { $0.worklist == worklist } } ?? []
  }
}

extension EndpointStanding {
  /// A line of `drover worklist status`.
  var line: String {
    let what = kind == .fetch ? "orders from the ERP" : "completed orders to the ERP"
    let done = kind == .fetch ? "\(quantity(added, "new order"))" : "\(quantity(posted, "order")) taken"
    let last = succeededAt.map { "last success at \(Timestamp.text(microseconds: $0))" } ?? "no success yet"
    guard let failure else { return "\(what): \(quantity(requests, "request")), \(done), \(last)" }
    let state =
      isOpen
      ? "the circuit is open after \(failuresInARow) failures" : "\(quantity(failuresInARow, "failure")) in a row"
    let next = nextAt.map { "; next attempt at \(Timestamp.text(microseconds: $0)) or later" } ?? ""
    return "\(what): \(state): \(printable(failure)); \(last)\(next)"
  }
}
