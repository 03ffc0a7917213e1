// One PostgreSQL server for all tests of the process, and a database of its own for each pair.

import DroverCore
import DroverPostgreSQL
import DroverProcesses
import DroverSimulation
import Foundation
import Synchronization
import Testing

final class PostgreSQLPairCloud: PairCloud {
  private static let server = Mutex<PostgreSQLServer?>(nil)
  private static let count = Atomic<Int>(0)
  private let name: String
  let address: PostgreSQLAddress
  private var client: Connection?
  private var other: Connection?

  private static func uri(_ database: String) throws -> String {
    try server.withLock { server in
      if server == nil {
        server = try PostgreSQLServer()
        // What is global is never released, and the server's folder would stay.
        atexit { PostgreSQLPairCloud.server.withLock { $0 = nil } }
      }
      return server!.uri(database)
    }
  }

  init() throws {
    name = "pair\(Self.count.add(1, ordering: .relaxed).newValue)"
    try Connection(PostgreSQLAddress(uri: Self.uri("postgres"))).run("CREATE DATABASE \(name)")
    address = PostgreSQLAddress(uri: try Self.uri(name))
    _ = try PostgreSQLCloudStore(address)
  }

  deinit {
    client = nil
    other = nil
    for database in [name, "\(name)_copy"] {
      try? Connection(PostgreSQLAddress(uri: Self.uri("postgres"))).run(
        "DROP DATABASE IF EXISTS \(database) WITH (FORCE)")
    }
  }

  var isPostgreSQL: Bool { true }
  func openStore(now: @escaping () -> Int64) throws -> any CloudStore {
    try PostgreSQLCloudStore(address, work: .alone, now: now)
  }
  func editor() -> any RowEditor { PostgreSQLRowEditor(address) }
  func conflicts() throws -> any ConflictStore { try PostgreSQLConflicts(address) }
  func run(_ sql: String) throws { try connect().run(sql) }

  private func connect() throws -> Connection {
    if let client { return client }
    client = try Connection(address)
    client!.isWatched = false
    return client!
  }

  func integers(_ sql: String) throws -> [Int64] {
    let rows = try connect().query(sql, isKept: false)
    return (0..<rows.count).map { rows.integer($0, 0) }
  }

  func runAside(_ sql: String) throws {
    if other == nil { other = try Connection(address) }
    try other!.run(sql)
  }

  func backUp() throws { try copy(name, to: "\(name)_copy") }
  func restore() throws { try copy("\(name)_copy", to: name) }

  private func copy(_ source: String, to copy: String) throws {
    client = nil
    other = nil
    let server = try Connection(PostgreSQLAddress(uri: Self.uri("postgres")))
    try server.run("DROP DATABASE IF EXISTS \(copy) WITH (FORCE)")
    // The server may not have noticed yet that the last connection is gone.
    try server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '\(source)'")
    try server.run("CREATE DATABASE \(copy) TEMPLATE \(source)")
  }
}

/// Where a test runs.
enum CloudStoreKind: CaseIterable, CustomTestStringConvertible {
  case sqlite, postgreSQL

  var testDescription: String { self == .sqlite ? "SQLite" : "PostgreSQL" }

  func make(_ folder: String) throws -> any PairCloud {
    switch self {
    case .sqlite: try SQLitePairCloud(folder: folder)
    case .postgreSQL: try PostgreSQLPairCloud()
    }
  }
}
