// The conflicts of one machine's rows, seen from the machine: its agent asks the cloud.

import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire

struct CloudConflicts: ConflictAccess {
  private let machine: MachineID
  private let agent: AskingAgent

  init(_ edge: EdgeConfiguration) {
    machine = edge.machine
    agent = AskingAgent(database: edge.database)
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

  private func ask(_ request: ConflictRequest) async throws -> ConflictReply {
    let document: [UInt8]
    do {
      document = try await agent.ask(request.document)
    } catch let error as AskingAgent.NoAnswer {
      let advice =
        if case .resolve = request { "; look at the list before you repeat a command that resolves" } else { "" }
      throw fail("conflicts: \(error)\(advice)")
    }
    let reply = try ConflictReply(document: document)
    if case .failure(let why) = reply { throw fail("conflicts: \(printable(why))") }
    return reply
  }
}
