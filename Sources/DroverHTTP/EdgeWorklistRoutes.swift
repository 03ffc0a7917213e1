// A machine's worklists over HTTP: what is in the table and why no orders come, and what a person does about it.

import DroverCore
import DroverWire
import Hummingbird

enum EdgeWorklistRoutes {
  /// Most rows of one answer: a refill has no more.
  private static let mostRows = WorklistDeclaration.mostOrders

  /// - Parameters:
  ///   - desk: nil where the configuration has no worklist.
  ///   - look: has the agent look at the database now.
  static func all(_ desk: any WorklistDesk, _ blocking: Blocking, look: @escaping @Sendable () -> Void) -> [Route] {
    [
      Route(.get, "/v1/worklists/{name}") { _, asking in
        let name = try asking.part("name")
        return .json(
          try await blocking.run {
            let report = try report(name, desk)
            return report.document(batches: try desk.rows(of: report.name, limit: mostRows))
          })
      },
      Route(.post, "/v1/worklists/{name}/trigger") { _, asking in
        let name = try asking.part("name")
        let found = try await blocking.run {
          let report = try report(name, desk)
          try desk.trigger(report.name)
          return report
        }
        look()
        return .json(
          .object([("state", "looking"), ("waits", found.waits.map { .string($0) } ?? .null)]), status: .accepted)
      },
      Route(.post, "/v1/worklists/{name}/clear") { _, asking in
        let name = try asking.part("name")
        let (removed, unfinished) = try await blocking.run { try desk.clear(try report(name, desk).name) }
        look()
        return .json(
          .object([
            ("deleted_count", .integer(Int64(removed))), ("unfinished", .array(unfinished.map { .string($0) })),
          ]))
      },
    ]
  }

  private static func report(_ name: String, _ desk: any WorklistDesk) throws -> WorklistReport {
    guard let report = try desk.reports().first(where: { $0.name.text.isExactly(name) }) else {
      throw Problem(.notFound, "The machine has no such worklist.")
    }
    return report
  }
}
