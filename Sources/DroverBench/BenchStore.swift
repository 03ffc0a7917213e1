// The cloud's database as the benchmark sees it: where the consumer finds it, what is in it, and how fast a bare loop writes the same rows.

import DroverCore
import DroverPostgreSQL
import DroverProcesses
import DroverSQLite

protocol BenchStore: Sendable {
  var name: String { get }
  /// For the consumer's `store:`.
  var line: String { get }
  /// Looks into it as another program does.
  func watch() throws -> any CloudWatch
  /// Edits its tables as any SQL client does.
  func editor() throws -> any CloudEditor
  /// The yardstick: nothing but upserts of a table's rows, in transactions of 1,000. Returns how long it took.
  func upsertAll(of app: BenchApp, _ table: String) throws -> Duration
}

protocol CloudWatch {
  /// Whether a table has any row; false where it is not made yet.
  func hasRows(_ table: String) throws -> Bool
  /// The rows of one machine behind an ID, by ID; none where the table is not made yet.
  func ids(in table: String, of machine: MachineID, after id: Int64) throws -> [Int64]
}

protocol CloudEditor {
  /// Runs a statement in a transaction of its own.
  func run(_ sql: String) throws
}

extension BenchWatch: CloudWatch {}
extension PostgreSQLWatch: CloudWatch {}
extension BenchEditor: CloudEditor {}
extension PostgreSQLEditor: CloudEditor {}

func makeBenchStore(_ store: Bench.Store, _ folder: TemporaryFolder) throws -> any BenchStore {
  switch store {
  case .sqlite: SQLiteBenchStore(folder: folder)
  case .ownPostgreSQL: try PostgreSQLBenchStore(server: PostgreSQLServer(isDurable: true))
  case .postgresql(let address, let uri): PostgreSQLBenchStore(address: address, line: uri)
  }
}

struct SQLiteBenchStore: BenchStore {
  let folder: TemporaryFolder
  let name = "sqlite"

  /// In a folder of its own, as on another host: the agent watches its database's.
  var file: String { folder.file("cloud/cloud.db") }
  var line: String { "sqlite:\(file)" }
  func watch() throws -> any CloudWatch { try BenchWatch(path: file) }
  func editor() throws -> any CloudEditor { try BenchEditor(path: file) }
  func upsertAll(of app: BenchApp, _ table: String) throws -> Duration {
    try app.upsertAll(of: table, into: folder.file("yardstick.db"))
  }
}

struct PostgreSQLBenchStore: BenchStore {
  private let server: PostgreSQLServer?
  private let address: PostgreSQLAddress
  let line: String
  let name = "postgresql"

  init(address: PostgreSQLAddress, line: String) {
    server = nil
    self.address = address
    self.line = line
  }

  init(server: PostgreSQLServer) {
    self.server = server
    line = server.uri()
    address = PostgreSQLAddress(uri: server.uri())
  }

  func watch() throws -> any CloudWatch { try PostgreSQLWatch(address) }
  func editor() throws -> any CloudEditor { try PostgreSQLEditor(address) }
  func upsertAll(of app: BenchApp, _ table: String) throws -> Duration {
    var yardstick = try PostgreSQLYardstick(address, columns: BenchApp.columns)
    let start = ContinuousClock.now
    try app.read(table) { try yardstick.upsert($0) }
    try yardstick.end()
    return start.duration(to: .now)
  }
}
