// The conflicts of one machine's rows, seen from the machine: its agent asks the cloud.

import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire

struct CloudConflicts: ConflictAccess {
  private static let patience = Duration.seconds(15)

  private let machine: MachineID
  private let database: String
  private let mailbox: AgentMailbox

  init(_ edge: EdgeConfiguration) {
    machine = edge.machine
    database = edge.database
    mailbox = AgentMailbox(database: edge.database)
  }

  func page(_ filter: ConflictFilter, after id: Int64, limit: Int) async throws -> ConflictPage {
    if let other = filter.machine, other != machine {
      throw fail(
        "conflicts: this is \(machine), and it sees its own conflicts alone; ask for those of \(other) in the cloud")
    }
    let request = ConflictRequest.list(stream: filter.stream, after: id, limit: min(limit, ConflictRequest.most))
    guard case .page(let total, let newest, let conflicts, let hasMore) = try await ask(request) else {
      throw unexpected
    }
    return ConflictPage(total: total, newest: newest, conflicts: conflicts, hasMore: hasMore)
  }

  func conflict(_ id: Int64) async throws -> Conflict? {
    guard case .page(_, _, let conflicts, _) = try await ask(.show(id)) else { throw unexpected }
    return conflicts.first
  }

  func resolve(_ id: Int64, take: ConflictTake, seen: ConflictSeen) async throws -> ResolveOutcome {
    guard case .outcome(let outcome) = try await ask(.resolve(id, take: take, seen: seen)) else { throw unexpected }
    return outcome
  }

  private var unexpected: any Error { fail("conflicts: the cloud gave another answer than was asked for") }

  /// Whether the agent can ask is looked up first, so that a machine that is offline says so at once.
  private func ask(_ request: ConflictRequest) async throws -> ConflictReply {
    guard AgentLock.worker(database: database).process != nil else {
      throw fail("conflicts: the cloud has them, and the agent asks for them, but it does not run; start `drover edge`")
    }
    let connection = AgentLock.connection(database: database) ?? "it has had no connection yet"
    guard connection == BrokerCheck.isConnected else {
      throw fail(
        "conflicts: the cloud has them, and the agent is not connected to the broker: \(connection); try again when it is"
      )
    }
    let id = Epoch(random: .random(in: .min ... .max)).text
    let deadline = ContinuousClock.now.advanced(by: Self.patience)
    while try !mailbox.put(request.document, id: id) {
      guard .now < deadline else { throw late() }
      try await Task.sleep(for: .milliseconds(50))
    }
    defer { mailbox.withdraw(id) }
    while .now < deadline {
      if let answer = mailbox.takeAnswer(id) {
        let reply = try ConflictReply(document: answer)
        if case .failure(let why) = reply { throw fail("conflicts: \(printable(why))") }
        return reply
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    throw late()
  }

  private func late() -> any Error {
    fail(
      "conflicts: no answer from the cloud within \(Self.patience.components.seconds) s; check with `drover status` that agent and consumer run in this release, and look at the list before you repeat a command that resolves"
    )
  }
}
