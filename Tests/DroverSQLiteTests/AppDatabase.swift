// What the tests of the edge stand on: a folder of their own with the app's database in it, the app as a second connection that
// waits for no lock, and what the agent reads written as lines a person can compare.

import DroverCore
import DroverSQLite
import Foundation
import GRDB
import GRDBSQLite

/// The app and its database file. The folder goes when the test lets go of it.
final class AppDatabase {
  let folder: String
  let path: String
  let connection: DatabaseQueue
  /// Holds what Drover's connections run.
  let plans: QueryPlans

  /// - Parameter parent: where the folder is made.
  init(
    _ schema: String = "", journalMode: String = "delete", in parent: URL = FileManager.default.temporaryDirectory
  ) throws {
    folder = parent.appending(path: "drover-test-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    path = folder + "/app.db"
    plans = QueryPlans(watching: folder)
    connection = try Self.connect(path)
    try run("PRAGMA journal_mode = \(journalMode)")
    try run(schema)
  }

  deinit {
    try? connection.close()
    plans.end()
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// Another connection, as an app makes it that knows nothing of Drover: what is locked fails at once.
  static func connect(_ path: String) throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.busyMode = .immediateError
    configuration.allowsUnsafeTransactions = true
    return try QueryPlans.ofTest { try DatabaseQueue(path: path, configuration: configuration) }
  }

  /// A path in the same folder.
  func file(_ name: String) -> String { folder + "/" + name }
  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: file(name)) }

  func run(_ sql: String) throws {
    try connection.inDatabase { try $0.execute(sql: sql) }
  }

  func run(_ sql: String, _ values: Value...) throws {
    try connection.inDatabase { _ = try rawRows($0, sql, values) }
  }

  /// The rows as lines: values in SQL's own spelling, with commas between.
  func lines(_ sql: String) throws -> [String] {
    try connection.inDatabase { try rawRows($0, sql) }.map(line)
  }

  func integer(_ sql: String) throws -> Int {
    try connection.inDatabase { try Int.fetchOne($0, sql: sql) }!
  }

  /// Attaches as the agent does.
  /// - Parameter settled: what was there before is brought, confirmed and forgotten, so that the test sees only what follows.
  /// - Parameter patience: how long the agent waits for a lock; short where the test holds one and expects `busy`.
  func attach(
    _ streams: [StreamDeclaration], settled: Bool = true, patience: Duration = .seconds(10),
    warn: @escaping (String) -> Void = { _ in }
  ) throws -> EdgeDatabase {
    let edge = try EdgeDatabase(path: path, declarations: streams, warn: warn, patience: patience)
    if settled {
      try edge.bringAll()
      try edge.confirmAll()
    }
    return edge
  }

  /// Why the first stream that waits does so, with what to do about it.
  func refusal(_ streams: StreamDeclaration...) throws -> String {
    try attach(streams, settled: false).waits.first.map { "\($0.reason); \($0.advice)" } ?? ""
  }

  func attach(
    _ stream: StreamDeclaration, settled: Bool = true, patience: Duration = .seconds(10)
  ) throws -> EdgeDatabase {
    try attach([stream], settled: settled, patience: patience)
  }
}

extension StreamDeclaration {
  static func table(_ name: String, kind: Kind = .snapshot, synced: String? = nil) throws -> StreamDeclaration {
    StreamDeclaration(name: try StreamName(name), kind: kind, table: name) { $0.syncedColumn = synced }
  }

  /// A batch that may be complete.
  static func batch(
    _ name: String, completeWhen: String? = nil, with: LinesDeclaration...
  ) throws -> StreamDeclaration {
    try StreamDeclaration(name: StreamName(name), kind: .batch, table: name) {
      $0.completeWhen = try completeWhen.map { try Condition(parsing: $0) }
      $0.with = with
    }
  }

  static func fed(_ name: String, kind: Kind = .payload) throws -> StreamDeclaration {
    StreamDeclaration(name: try StreamName(name), kind: kind)
  }
}

extension LinesDeclaration {
  /// - Parameter references: `column: header's column`.
  static func lines(_ table: String, _ references: KeyValuePairs<String, String> = [:]) throws -> LinesDeclaration {
    LinesDeclaration(
      table: try StreamName(table), references: references.map { Reference(column: $0.key, header: $0.value) })
  }
}

extension EdgeDatabase {
  func everything(limit: Int = 1_000_000) throws -> OutboxRead {
    try read(.fresh(after: 0, through: .max, limit: limit), maximumBytes: .max)
  }

  /// The same by an agent, which looks at its tables anew when they are not what they were.
  func looking<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch EdgeStoreError.schemaChanged {
      _ = try refresh()
      return try body()
    }
  }

  /// What waits for the broker, in the order in which it would be sent: `put 7: 7, 'pen'`, `delete 7`.
  func waiting() throws -> [String] { try everything().entries.map(line) }

  func bringAll(_ limit: Int = 1000) throws { while try backfill(limit: limit) {} }

  /// Through the last sequence number given: the whole outbox.
  func confirmAll() throws {
    let last = try everything().lastSeq
    guard last > 0 else { return }
    var settlement = Settlement()
    for number in numbers {
      settlement.confirmed[number] = [0...last]
      settlement.fronts[number] = last
    }
    try settle(settlement)
  }

  /// The broker's PUBACK for a stretch of one stream.
  func acknowledge(_ seqs: ClosedRange<Int64>, stream: Int = 1) throws {
    var settlement = Settlement()
    settlement.synced[stream] = IntervalSet([Interval(after: seqs.lowerBound - 1, through: seqs.upperBound)])
    try settle(settlement)
  }

  func acknowledgeAll() throws { try acknowledge(1...(max(1, try everything().lastSeq))) }

  private var numbers: [Int] { streams.map(\.number) }
}

extension IntervalSet: ExpressibleByArrayLiteral {
  package init(arrayLiteral elements: ClosedRange<Int64>...) {
    self.init(elements.map { Interval(after: max(0, $0.lowerBound - 1), through: $0.upperBound) })
  }
}

// MARK: Values as a person writes them

func line(_ values: some Sequence<Value>) -> String { values.map(line).joined(separator: ", ") }

func line(_ value: Value) -> String {
  switch value {
  case .null: "NULL"
  case .integer(let integer): String(integer)
  case .real(let real): String(describing: real)
  case .text(let bytes):
    if let text = String(validating: bytes, as: UTF8.self) { "'\(text)'" } else { "text " + hexadecimal(bytes) }
  case .blob(let bytes): "x'\(hexadecimal(bytes))'"
  }
}

func line(_ entry: OutboxEntry) -> String {
  switch entry.content {
  case .none: "delete \(line(entry.key))"
  case .row(let values):
    (["put \(line(entry.key)): \(line(values))"] + entry.lines.joined().map { "[\(line($0))]" }).joined(separator: " ")
  case .json(let body): "event \(line(entry.key)): \(String(decoding: body, as: UTF8.self))"
  }
}

private func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

// MARK: SQLite without anything in between

/// Runs one statement and reads its rows as SQLite has them, invalid UTF-8 and NUL included.
@discardableResult
func rawRows(_ database: Database, _ sql: String, _ values: [Value] = []) throws -> [[Value]] {
  let connection = database.sqliteConnection!
  var statement: OpaquePointer?
  guard sqlite3_prepare_v2(connection, sql, -1, &statement, nil) == SQLITE_OK else { throw failure(connection, sql) }
  defer { sqlite3_finalize(statement) }
  let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
  for (index, value) in values.enumerated() {
    let position = Int32(index + 1)
    switch value {
    case .null: sqlite3_bind_null(statement, position)
    case .integer(let integer): sqlite3_bind_int64(statement, position, integer)
    case .real(let real): sqlite3_bind_double(statement, position, real)
    case .text(let bytes):
      let text = Array(bytes) + [0]
      text.withUnsafeBytes {
        _ = sqlite3_bind_text(
          statement, position, $0.baseAddress!.assumingMemoryBound(to: CChar.self), Int32(bytes.count), transient)
      }
    case .blob(let bytes):
      let blob = Array(bytes) + [0]
      blob.withUnsafeBytes {
        _ = sqlite3_bind_blob(statement, position, $0.baseAddress!, Int32(bytes.count), transient)
      }
    }
  }
  var rows: [[Value]] = []
  while true {
    switch sqlite3_step(statement) {
    case SQLITE_ROW: rows.append((0..<sqlite3_column_count(statement)).map { rawValue(statement, $0) })
    case SQLITE_DONE: return rows
    default: throw failure(connection, sql)
    }
  }
}

private func rawValue(_ statement: OpaquePointer?, _ column: Int32) -> Value {
  func bytes(_ start: UnsafeRawPointer?) -> ArraySlice<UInt8> {
    ArraySlice(
      UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : Int(sqlite3_column_bytes(statement, column))))
  }
  switch sqlite3_column_type(statement, column) {
  case SQLITE_INTEGER: return .integer(sqlite3_column_int64(statement, column))
  case SQLITE_FLOAT: return .real(sqlite3_column_double(statement, column))
  case SQLITE_TEXT: return .text(bytes(sqlite3_column_text(statement, column)))
  case SQLITE_BLOB: return .blob(bytes(sqlite3_column_blob(statement, column)))
  default: return .null
  }
}

private func failure(_ connection: OpaquePointer, _ sql: String) -> DatabaseError {
  DatabaseError(
    resultCode: ResultCode(rawValue: sqlite3_extended_errcode(connection)),
    message: String(cString: sqlite3_errmsg(connection)),
    sql: sql)
}

// MARK: An app in another language

struct PythonFailure: Error { let output: String }

enum Python {
  /// Runs a script in a process of its own; `sys.argv[1:]` are the arguments. Returns what it printed.
  @discardableResult
  static func run(_ script: String, _ arguments: String...) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "-c", "import sqlite3, sys\n" + script] + arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: readToEnd(output.fileHandleForReading.fileDescriptor), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw PythonFailure(output: text) }
    return text.trimmingCharacters(in: .newlines)
  }

  /// The first line that a process prints.
  static func readLine(_ output: Pipe) -> String {
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while true {
      let count = read(output.fileHandleForReading.fileDescriptor, &byte, 1)
      if count == 1, byte != UInt8(ascii: "\n") { line.append(byte) } else if count >= 0 || errno != EINTR { break }
    }
    return String(decoding: line, as: UTF8.self)
  }

  /// FileHandle gives up when a signal interrupts it.
  private static func readToEnd(_ descriptor: Int32) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count > 0 { bytes += buffer[..<count] } else if count == 0 || errno != EINTR { return bytes }
    }
  }
}
