// One connection to PostgreSQL over libpq: statements that are prepared once, binary values both ways, COPY. Nothing waits for ever: each
// statement has a deadline here, for a server or a network that is silent, and the server has one of its own.

private import CPostgreSQL
private import DroverCore
private import Glibc

/// Where the store is.
package struct PostgreSQLAddress: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
  /// A connection URI, as libpq reads it: https://www.postgresql.org/docs/current/libpq-connect.html, section "Connection URIs".
  let uri: String
  /// nil: what the URI, ~/.pgpass or the server's own rules say.
  let password: String?

  package init(uri: String, password: String? = nil) {
    self.uri = uri
    self.password = password
  }

  package var description: String { "a PostgreSQL database" }

  /// Server and database, for errors and logs: without the user, and without what libpq cannot read.
  package var subject: String {
    guard let options = PQconninfoParse(uri, nil) else { return "PostgreSQL" }
    defer { PQconninfoFree(options) }
    func value(_ keyword: String) -> String? {
      var option = options
      while let name = option.pointee.keyword, String(cString: name) != keyword { option += 1 }
      return option.pointee.val.map { String(cString: $0) }
    }
    guard let database = value("dbname") else { return "PostgreSQL" }
    guard let host = value("host"), !host.isEmpty else { return database }
    return "\(Self.servers(host, ports: value("port") ?? ""))/\(database)"
  }

  /// Each host with its port: libpq has both in lists, of which that of the ports may have one for all, and empty places where the usual one is meant.
  private static func servers(_ hosts: String, ports: String) -> String {
    let (hosts, ports) = (
      hosts.split(separator: ",", omittingEmptySubsequences: false),
      ports.split(separator: ",", omittingEmptySubsequences: false)
    )
    return hosts.enumerated().map { index, host in
      let port = ports.count == 1 ? ports[0] : index < ports.count ? ports[index] : ""
      return port.isEmpty ? "\(host)" : "\(host):\(port)"
    }.joined(separator: ",")
  }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

package final class Connection {
  /// How long a statement may take, in seconds, that reads a whole table or writes it anew.
  private static let patienceWithWholeTables = 3600

  private let handle: OpaquePointer
  /// The server's process that serves this connection, as it says itself.
  private(set) var backend: Int64 = 0
  /// Server and database, for errors and logs.
  package let subject: String
  private var names: [ExactText: String] = [:]
  /// How long an answer may take, in seconds; the server gives a statement up after 25.
  package var patience = 30
  /// What statements are for, where they do not say: an error begins with it.
  var purpose = "write to"

  /// Whether its statements are reported to `StatementWatch`.
  package var isWatched = true

  /// A server keeps a plan for each; more different statements than this are no working set.
  private static let mostStatements = 2000

  /// Connects, and settles what the server has to know of this client.
  package convenience init(_ address: PostgreSQLAddress) throws {
    try self.init(reaching: address)
    // Before anything is set that another client would get with the server's connection.
    try refuseSharing(address)
    try run(Self.settings)
  }

  /// Connects, and sets nothing.
  init(reaching address: PostgreSQLAddress) throws {
    try Self.check(address.uri)
    // What stands later wins, so the first four are defaults for the URI.
    var options = [
      ("connect_timeout", "10"), ("keepalives_idle", "30"), ("tcp_user_timeout", "30000"),
      ("application_name", "drover"),
      ("dbname", address.uri), ("client_encoding", "UTF8"),
    ]
    if let password = address.password { options.append(("password", password)) }
    var keywords = options.map { UnsafePointer(strdup($0.0)) } + [nil]
    var values = options.map { UnsafePointer(strdup($0.1)) } + [nil]
    defer { for text in keywords + values { free(UnsafeMutablePointer(mutating: text)) } }
    guard let handle = PQconnectdbParams(&keywords, &values, 1) else { fatalError("no memory for a connection") }
    self.handle = handle
    subject = address.subject
    guard PQstatus(handle) == CONNECTION_OK else {
      throw PostgreSQLError(operation: "connect to", subject: subject, cause: message(), state: failedState())
    }
    // Notices quote their subject, and no program reads them.
    PQsetNoticeProcessor(handle, { _, _ in }, nil)
    PQsetnonblocking(handle, 1)
    let version = PQserverVersion(handle)
    guard version >= 130_000 else {
      throw PostgreSQLError(
        operation: "connect to", subject: subject,
        cause: "the server is of version \(version / 10_000), and 13 is needed",
        state: "0A000")
    }
  }

  deinit { PQfinish(handle) }

  /// libpq quotes what it cannot read, and that may be the password: the text is cut at the first quote.
  private static func check(_ uri: String) throws {
    var message: UnsafeMutablePointer<CChar>?
    let options = PQconninfoParse(uri, &message)
    defer {
      PQconninfoFree(options)
      PQfreemem(message)
    }
    guard options == nil else { return }
    throw PostgreSQLError(
      operation: "connect to", subject: "PostgreSQL",
      cause:
        "libpq cannot read the URI: \(text(message).prefix { $0 != "\"" }.split(whereSeparator: \.isNewline).joined())…",
      state: "22023")
  }

  /// All work is by key, and a plan that reads a whole table because it was empty a minute ago would be wrong for hours.
  private static let settings = """
    SET statement_timeout = '25s';
    SET lock_timeout = '20s';
    SET idle_in_transaction_session_timeout = '60s';
    SET default_transaction_isolation = 'read committed';
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;
    -- A plan without the values is made once, when a table may have no rows yet, and then kept.
    SET plan_cache_mode = force_custom_plan;
    -- A PUBACK tells the broker to forget: what it stands for has to survive a power loss.
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
    """

  package var isLost: Bool { PQstatus(handle) != CONNECTION_OK }
  /// Waits for a notice of `LISTEN`, and takes all that have come.
  func hasNotice(within patience: Duration) -> Bool {
    var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
    guard poll(&descriptor, 1, Int32(patience / .milliseconds(1))) > 0, PQconsumeInput(handle) == 1 else {
      return false
    }
    var hasCome = false
    while let notice = PQnotifies(handle) {
      PQfreemem(notice)
      hasCome = true
    }
    return hasCome
  }

  /// Whether the server says that a transaction is open, perhaps one that has failed.
  var isInTransaction: Bool { PQtransactionStatus(handle) != PQTRANS_IDLE }

  // MARK: Statements

  /// Runs statements without parameters.
  package func run(_ sql: String, operation: String? = nil) throws {
    let operation = operation ?? purpose
    StatementWatch.note(sql, on: self)
    guard PQsendQuery(handle, sql) == 1 else { throw failure(nil, operation) }
    _ = try results(operation)
  }

  /// Runs what may take long because it looks at every row of a table.
  func change(_ sql: String) throws { try patiently { try run(sql) } }

  /// Waits longer within a transaction, for statements that look at every row of a table.
  func patiently<Result>(_ body: () throws -> Result) throws -> Result {
    let usual = patience
    patience = Self.patienceWithWholeTables
    defer { patience = usual }
    try run("SET LOCAL statement_timeout = '\(patience)s'")
    let result = try body()
    try run("SET LOCAL statement_timeout = '25s'")
    return result
  }

  /// Runs one statement.
  /// - Parameter isKept: whether it is prepared when it comes first and stays so. What gives other columns each time must not.
  @discardableResult
  package func query(
    _ sql: String, _ parameters: [Parameter] = [], operation: String? = nil, isKept: Bool = true
  ) throws -> Rows {
    let operation = operation ?? purpose
    let name = isKept ? try prepared(sql, parameters, operation) : ""
    if !isKept { try prepare(sql, as: name, parameters, operation) }
    var pointers: [UnsafePointer<CChar>?] = []
    var lengths: [Int32] = []
    // Each parameter's bytes stand in one buffer, so that one pointer is enough for all.
    var bytes: [UInt8] = []
    bytes.reserveCapacity(parameters.reduce(1) { $0 + ($1.bytes?.count ?? 0) })
    var offsets: [Int?] = []
    for parameter in parameters {
      offsets.append(parameter.bytes == nil ? nil : bytes.count)
      bytes += parameter.bytes ?? []
      lengths.append(Int32(parameter.bytes?.count ?? 0))
    }
    bytes.append(0)
    let formats = [Int32](repeating: 1, count: parameters.count)
    let isSent = bytes.withUnsafeBytes { buffer in
      pointers = offsets.map { offset in
        offset.map { buffer.baseAddress!.advanced(by: $0).assumingMemoryBound(to: CChar.self) }
      }
      return PQsendQueryPrepared(handle, name, Int32(parameters.count), pointers, lengths, formats, 1)
    }
    guard isSent == 1 else { throw failure(nil, operation) }
    return try results(operation)
  }

  private func prepared(_ sql: String, _ parameters: [Parameter], _ operation: String) throws -> String {
    if let name = names[ExactText(sql)] { return name }
    if names.count >= Self.mostStatements { try forgetStatements() }
    let name = "d\(names.count)"
    try prepare(sql, as: name, parameters, operation)
    names[ExactText(sql)] = name
    return name
  }

  /// - Parameter name: "" for the statement that the next one of this name replaces.
  private func prepare(_ sql: String, as name: String, _ parameters: [Parameter], _ operation: String) throws {
    StatementWatch.note(sql, parameters.map(\.type), on: self)
    guard PQsendPrepare(handle, name, sql, Int32(parameters.count), parameters.map(\.type)) == 1 else {
      throw failure(nil, operation)
    }
    _ = try results(operation)
  }

  /// After a table has changed the server refuses to give other columns than it gave before.
  func forgetStatements() throws {
    names = [:]
    try run("DEALLOCATE ALL")
  }

  /// Runs a COPY … FROM STDIN (FORMAT binary).
  func copy(_ sql: String, _ data: [UInt8]) throws {
    guard PQsendQuery(handle, sql) == 1 else { throw failure(nil, "copy to") }
    let deadline = deadline()
    try waitForResult(deadline, "copy to")
    let begun = PQgetResult(handle)
    defer { PQclear(begun) }
    guard PQresultStatus(begun) == PGRES_COPY_IN else { throw failure(begun, "copy to", drains: true) }
    let piece = 1 << 20
    var index = 0
    while index < data.count {
      let end = min(data.count, index + piece)
      let sent = data[index..<end].withUnsafeBytes {
        PQputCopyData(handle, $0.baseAddress!.assumingMemoryBound(to: CChar.self), Int32($0.count))
      }
      switch sent {
      case 1: index = end
      case 0: try wait(for: Int16(POLLOUT) | Int16(POLLIN), deadline, "copy to")
      default: throw failure(nil, "copy to")
      }
    }
    while true {
      let ended = PQputCopyEnd(handle, nil)
      if ended == 1 { break }
      guard ended == 0 else { throw failure(nil, "copy to") }
      try wait(for: Int16(POLLOUT), deadline, "copy to")
    }
    _ = try results("copy to")
  }

  // MARK: Poolers

  /// Refuses a pooler that lends a server's connection to one client after the other: locks, settings and prepared statements belong to the
  /// server's connection. The server's own process number is not the one that a pooler tells its client.
  private func refuseSharing(_ address: PostgreSQLAddress) throws {
    backend = try askBackend()
    guard backend != Int64(PQbackendPID(handle)) else { return }
    // One that is kept for this client serves no other at the same time. A pool that is full makes the other wait, and is none that shares.
    guard let other = try? Connection(reaching: address) else { return }
    other.patience = 2
    guard let another = try? other.askBackend() else { return }
    let again = try askBackend()
    guard another != backend, again == backend else { throw PostgreSQLError.shared(subject) }
  }

  private func askBackend() throws -> Int64 {
    guard PQsendQuery(handle, "SELECT pg_backend_pid()") == 1 else { throw failure(nil, "open") }
    let number = try results("open").text(0, 0)
    guard let number = Int64(number) else {
      throw PostgreSQLError(operation: "open", subject: subject, cause: "what answers is no PostgreSQL", state: "0A000")
    }
    return number
  }

  // MARK: Waiting

  /// The last of the results that a statement gives; all of them are taken, or the next could not be sent.
  private func results(_ operation: String) throws -> Rows {
    let deadline = deadline()
    var last: OpaquePointer?
    var error: PostgreSQLError?
    while true {
      try waitForResult(deadline, operation)
      guard let result = PQgetResult(handle) else { break }
      let status = PQresultStatus(result)
      if status != PGRES_COMMAND_OK, status != PGRES_TUPLES_OK, error == nil { error = failure(result, operation) }
      PQclear(last)
      last = result
    }
    if let error {
      PQclear(last)
      throw error
    }
    guard let last else { throw failure(nil, operation) }
    return Rows(last)
  }

  private func deadline() -> ContinuousClock.Instant { .now.advanced(by: .seconds(patience)) }

  private func waitForResult(_ deadline: ContinuousClock.Instant, _ operation: String) throws {
    while true {
      let flushed = PQflush(handle)
      guard flushed >= 0 else { throw failure(nil, operation) }
      if flushed == 0, PQisBusy(handle) == 0 { return }
      try wait(for: Int16(POLLIN) | (flushed == 1 ? Int16(POLLOUT) : 0), deadline, operation)
      guard PQconsumeInput(handle) == 1 else { throw failure(nil, operation) }
    }
  }

  private func wait(for events: Int16, _ deadline: ContinuousClock.Instant, _ operation: String) throws {
    let left = ContinuousClock.now.duration(to: deadline)
    var descriptor = pollfd(fd: PQsocket(handle), events: events, revents: 0)
    let ready =
      left > .zero ? poll(&descriptor, 1, Int32(clamping: left.components.seconds * 1000 + 1)) : 0
    guard ready == 0 else { return }
    // The statement may be under way still: the connection is of no use any more, and the socket must not be either.
    shutdown(PQsocket(handle), Int32(SHUT_RDWR))
    _ = PQconsumeInput(handle)
    throw PostgreSQLError(
      operation: operation, subject: subject, cause: "no answer for \(patience) s", state: nil)
  }

  // MARK: Errors

  private func failure(_ result: OpaquePointer?, _ operation: String, drains: Bool = false) -> PostgreSQLError {
    let state = result.flatMap { PQresultErrorField($0, Int32(UInt8(ascii: "C"))) }.map { String(cString: $0) }
    let primary = result.flatMap { PQresultErrorField($0, Int32(UInt8(ascii: "M"))) }.map { String(cString: $0) }
    if drains { while let rest = PQgetResult(handle) { PQclear(rest) } }
    if let state, PostgreSQLError.tellsOfSharing(state) { return .shared(subject) }
    return PostgreSQLError(operation: operation, subject: subject, cause: primary ?? message(), state: state)
  }

  /// What libpq says of the connection, in one line.
  private func message() -> String {
    let text = Self.text(PQerrorMessage(handle))
    return text.split(whereSeparator: \.isNewline).joined(separator: " ").trimmed
  }

  /// libpq keeps no code of a refused connection, and its text is the server's: what can be told apart by it is.
  private func failedState() -> String? {
    let text = Self.text(PQerrorMessage(handle))
    if text.contains("certificate") || text.contains("SSL error") || text.contains("does not support SSL") {
      return "08001"
    }
    if text.contains("does not exist") { return text.contains("database") ? "3D000" : "28000" }
    if text.contains("authentication") || text.contains("no password") || text.contains("pg_hba.conf") {
      return "28P01"
    }
    return text.contains("too many") ? "53300" : nil
  }

  private static func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String {
    pointer.map { String(cString: $0) } ?? ""
  }
}

extension String {
  fileprivate var trimmed: String {
    String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}
