// One server for all tests of the process, and a database of its own for each that asks.

import DroverPostgreSQL
import DroverProcesses
import Foundation
import Synchronization
import Testing

enum TestServer {
  private static let server = Mutex<PostgreSQLServer?>(nil)
  private static let count = Atomic<Int>(0)

  static func uri(_ database: String) throws -> String {
    try server.withLock { server in
      if server == nil {
        server = try PostgreSQLServer()
        // What is global is never released, and the server's folder would stay.
        atexit { TestServer.server.withLock { $0 = nil } }
      }
      return server!.uri(database)
    }
  }

  /// An empty database, or a copy of another one.
  static func makeDatabase(copying other: TestDatabase? = nil) throws -> TestDatabase {
    QueryPlans.installed
    let name = "test\(count.add(1, ordering: .relaxed).newValue)"
    let template = other.map { " TEMPLATE \($0.name)" } ?? ""
    try Connection(PostgreSQLAddress(uri: uri("postgres"))).run("CREATE DATABASE \(name)\(template)")
    return TestDatabase(name: name, address: PostgreSQLAddress(uri: try uri(name)))
  }
}

/// A database that goes with the last who holds it.
final class TestDatabase: Sendable {
  let name: String
  let address: PostgreSQLAddress

  init(name: String, address: PostgreSQLAddress) {
    self.name = name
    self.address = address
  }

  deinit {
    do {
      try QueryPlans.check(self)
    } catch {
      Issue.record("explain the statements of \(name): \(error)")
    }
    try? Connection(PostgreSQLAddress(uri: TestServer.uri("postgres"))).run("DROP DATABASE \(name) WITH (FORCE)")
  }

  /// A connection whose statements are the test's.
  func connect() throws -> Connection {
    let connection = try Connection(address)
    connection.isWatched = false
    return connection
  }
}
