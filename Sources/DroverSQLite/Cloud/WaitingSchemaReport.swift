// The schemas that wait, for the person who is to decide about them.

package import DroverCore
private import Foundation
import GRDB

package struct WaitingSchema: Equatable, Sendable {
  package var machine: MachineID
  package var stream: StreamName
  /// Why the sink table cannot follow it.
  package var reason: String
  /// When it was described first, microseconds since 1970.
  package var since: Int64
  /// Its columns that the sink table lacks, and the sink table's that it lacks.
  package var added: [String]
  package var missing: [String]

  /// The schemas that wait in a store; none where there is no store yet.
  /// - Throws: `CloudStoreError`.
  package static func read(path: String) throws -> [WaitingSchema] {
    guard FileManager.default.fileExists(atPath: path) else { return [] }
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(10)
      return try DatabaseQueue(path: path, configuration: configuration).read(read)
    } catch let error as DatabaseError {
      throw CloudStoreError(description: "read \(path): \(error.explanation)")
    }
  }

  private static func read(_ database: Database) throws -> [WaitingSchema] {
    guard try database.tableExists("drover_schema_waiting") else { return [] }
    return try Row.fetchAll(database, sql: "SELECT * FROM drover_schema_waiting ORDER BY machine_id, stream").compactMap
    {
      row in
      let machine = try MachineID(row["machine_id"])
      let stream = try StreamName(row["stream"])
      guard let schema = try WaitingSchemas(database: database).schema(machine: machine, stream: stream) else {
        return nil
      }
      let present = try database.catalogue(of: stream.text).map(\.name)
      let named = Set(schema.columns.map { SQLName($0.name) })
      return WaitingSchema(
        machine: machine, stream: stream, reason: row["reason"], since: row["first_at"],
        added: schema.columns.map(\.name).filter { !present.contains(SQLName($0)) },
        missing: present.filter {
          !named.contains($0) && $0 != SQLName(schema.machineColumn)
            && ($0 == SQLName(StreamSchema.rowidColumn) || !$0.text.hasPrefix("drover_"))
        }.map(\.text))
    }
  }
}
