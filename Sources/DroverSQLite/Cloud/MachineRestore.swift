// A machine's lost database from the replica: all of its streams that have a table, and the tables of their lines, in one transaction of the
// database that is filled.

package import DroverCore
private import CSQLite
private import Foundation
import GRDB

package final class MachineRestore {
  private let cloud: DatabaseQueue
  private let path: String
  private let streams: [ReplicatedStream]
  /// The names of tables that are not called like their stream.
  private let tables: [StreamName: String]

  /// - Parameters:
  ///   - store: the cloud's database, which is only read.
  ///   - path: the database that is filled, and made where there is none.
  ///   - stream: only this one.
  ///   - tables: the names of tables that are not called like their stream.
  /// - Throws: `CloudStoreError`.
  package init(store: String, machine: MachineID, stream: StreamName?, to path: String, tables: [StreamName: String])
    throws
  {
    self.path = path
    self.tables = tables
    guard FileManager.default.fileExists(atPath: store) else {
      throw CloudStoreError(description: "open \(store): there is no store yet; `drover cloud` makes it when it starts")
    }
    let streams = try SQLiteReplica(path: store).streams().filter {
      $0.machine == machine && (stream == nil || $0.stream == stream)
    }.flatMap { [$0] + $0.linesAsStreams }
    self.streams = streams
    guard !streams.isEmpty else {
      throw CloudStoreError(
        description:
          "restore \(machine)\(stream.map { " \($0)" } ?? ""): the store knows no such stream with a table; `drover status --config` shows what it knows"
      )
    }
    if let other = tables.keys.first(where: { name in !streams.contains { $0.stream == name } }) {
      throw CloudStoreError(description: "restore \(machine): it has no stream \(other) with a table")
    }
    cloud = try Self.open(store, "drover restore from", readOnly: true)
  }

  private static func open(_ path: String, _ label: String, readOnly: Bool) throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    // Restore the machine's rows as they were, in any order.
    configuration.foreignKeysEnabled = false
    configuration.readonly = readOnly
    configuration.label = label
    do {
      return try DatabaseQueue(path: path, configuration: configuration)
    } catch let error as DatabaseError {
      throw CloudStoreError(description: "open \(path): \(error.explanation)")
    }
  }

  /// What `run` would do; makes and changes nothing.
  package func plan() throws -> [RestoredTable] {
    let target =
      FileManager.default.fileExists(atPath: path)
      ? try Self.open(path, "drover restore", readOnly: true) : try DatabaseQueue()
    return try access { try cloud.read { cloud in try target.read { try restores(cloud, $0).map { try $0.plan() } } } }
  }

  /// Fills the tables, all or none, durably. Triggers do not fire: neither the app's own nor Drover's.
  /// - Parameter removesExtra: rows that the cloud lacks go.
  package func run(removesExtra: Bool) throws -> [RestoredTable] {
    FileModes.make(path)
    let target = try Self.open(path, "drover restore", readOnly: false)
    return try access {
      try cloud.read { cloud in
        try target.inDatabase { target in
          guard drover_sqlite3_disable_triggers(target.sqliteConnection) == SQLITE_OK else {
            throw CloudStoreError(
              description: "restore \(path): this SQLite library cannot switch triggers off for one connection")
          }
          var results: [RestoredTable] = []
          try target.inTransaction(.immediate) {
            results = try restores(cloud, target).map { try $0.run(removesExtra: removesExtra) }
            return .commit
          }
          return results
        }
      }
    }
  }

  private func restores(_ cloud: Database, _ target: Database) throws -> [TableRestore] {
    try streams.map {
      try TableRestore($0, table: tables[$0.stream] ?? $0.stream.text, cloud: cloud, target: target)
    }
  }

  private func access<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as DatabaseError {
      throw CloudStoreError(description: "restore \(path): \(error.explanation); nothing of it was changed")
    }
  }
}

extension ReplicatedStream {
  /// The tables of its lines, which stand in the store as streams' own do.
  fileprivate var linesAsStreams: [ReplicatedStream] {
    schema.lines.map { ReplicatedStream(machine: machine, stream: $0.table, schema: $0.rows, isOnline: isOnline) }
  }
}
