// Both sides of a machine's streams, seen from the machine. The running agent exchanges the rows and asks the cloud to compare; where none runs,
// `drover sync` runs one for as long as the exchange takes.

import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire
import Foundation
import Logging
import ServiceLifecycle
import Synchronization

struct EdgeSync {
  /// So long the outbox may stay as it is before the cloud is asked all the same: it says whether it is there.
  private static let stillness = Duration.seconds(3)

  private let configuration: EdgeConfiguration
  private let streams: [StreamDeclaration]
  private let began = ContinuousClock.now
  private let agent: AskingAgent

  init(_ configuration: EdgeConfiguration, machine: MachineID?, stream: StreamName?) throws {
    if let machine, machine != configuration.machine {
      throw CannotCompare(
        "this is \(configuration.machine), and it looks at its own streams alone; ask for those of \(machine) in the cloud"
      )
    }
    self.configuration = configuration
    streams = configuration.streams.filter { stream == nil || $0.name == stream }
    agent = AskingAgent(database: configuration.database)
    guard !streams.isEmpty else {
      throw CannotCompare(
        "the configuration has no stream \(stream?.text ?? ""); it has \(configuration.streams.map(\.name.text).joined(separator: ", "))"
      )
    }
  }

  /// Exchanges rows until both sides are equal, or it is clear that they do not become equal.
  func exchange(waits: Bool) async throws -> Exchange {
    let before = try figures()
    if AgentLock.worker(database: configuration.database).process != nil {
      return try await follow(since: before, waits: waits)
    }
    let errand = Errand { try await follow(since: before, waits: waits) }
    try await EdgeAgent.run(
      configuration, errand: errand, logger: makeLogger("drover sync", level: .warning))
    return try errand.result()
  }

  /// Looks once.
  /// - Parameter column: also counts the rows by its values.
  func compare(by column: String?) async throws -> [StreamStanding] {
    guard let report = try report() else { throw notAttached }
    var found: [StreamStanding] = []
    for stream in streams { found.append(try await ask(stream, local(stream, report), by: column)) }
    return found
  }

  private var notAttached: CannotCompare {
    CannotCompare("\(configuration.database) is not attached; `drover edge` attaches it when it starts")
  }

  // MARK: Following

  private struct Figures: Equatable {
    var confirmed = 0
    var applied = 0
    var waiting = 0
  }

  private func report() throws -> EdgeReport? { try SQLiteEdgeReader(path: configuration.database).report() }

  private func figures() throws -> [StreamName: Figures] { Self.figures(try report()) }

  private static func figures(_ report: EdgeReport?) -> [StreamName: Figures] {
    var figures: [StreamName: Figures] = [:]
    for stream in report?.streams ?? [] {
      guard let name = try? StreamName(stream.name) else { continue }
      figures[name] = Figures(
        confirmed: stream.confirmed, applied: stream.applied, waiting: stream.pending + stream.synced)
    }
    return figures
  }

  private func follow(since before: [StreamName: Figures], waits: Bool) async throws -> Exchange {
    var patience = SyncPatience(waits: waits)
    var progress = SyncProgress()
    var (seen, stillSince) = (before, ContinuousClock.now)
    while true {
      let report = try report()
      let now = Self.figures(report)
      if now != seen { (seen, stillSince) = (now, .now) }
      let isStill = stillSince.advanced(by: Self.stillness) <= .now
      var found: [StreamStanding] = []
      // Where the cloud says nothing about one stream, it is not asked about the others.
      var silence: String?
      for stream in streams { found.append(await look(stream, report, asksAnyhow: isStill, &silence)) }
      // What is asked takes a moment, so it is no standstill.
      if isStill { stillSince = .now }
      guard let pause = patience.next(after: found) else {
        let after = try figures()
        return Exchange(
          streams: found.map { standing in
            let name = standing.origin.stream
            let (old, new) = (before[name] ?? Figures(), after[name] ?? Figures())
            return ExchangedStream(
              standing: standing, up: max(0, new.confirmed - old.confirmed), down: max(0, new.applied - old.applied))
          })
      }
      if waits { progress.show(found) }
      try await Task.sleep(for: pause)
    }
  }

  /// What waits at the machine is known here, so the cloud is asked only when nothing does.
  private func look(
    _ stream: StreamDeclaration, _ report: EdgeReport?, asksAnyhow: Bool, _ silence: inout String?
  ) async -> StreamStanding {
    var standing = StreamStanding(origin(stream))
    do {
      guard let report else { throw notAttached }
      standing = try local(stream, report)
      guard standing.failure == nil, standing.underway == 0 || asksAnyhow else { return standing }
      standing.failure = silence
      return silence == nil ? try await ask(stream, standing, by: nil) : standing
    } catch let error as AskingAgent.NoAnswer {
      silence = error.description
    } catch {
      standing.failure = "\(error)"
      return standing
    }
    standing.failure = silence
    return standing
  }

  // MARK: One stream

  private func origin(_ stream: StreamDeclaration) -> MachineStream {
    MachineStream(machine: configuration.machine, stream: stream.name)
  }

  /// What the machine knows of it.
  private func local(_ stream: StreamDeclaration, _ report: EdgeReport) throws -> StreamStanding {
    var standing = StreamStanding(origin(stream))
    standing.hasTable = stream.table != nil
    if let wait = report.waits.first(where: { $0.stream == stream.name }) {
      standing.failure = "\(wait.text); \(wait.advice)"
    }
    if let found = report.streams.first(where: { $0.name.isExactly(stream.name.text) }) {
      standing.underway = found.pending + found.synced + (found.isBackfilling ? 1 : 0)
    } else {
      standing.underway = 1
    }
    if standing.underway > 0 {
      standing.finding = "\(quantity(standing.underway, "row")) to go up"
    }
    standing.letters = try EdgeDeadLetters(
      path: configuration.database, machine: configuration.machine, readOnly: true
    ).count(DeadLetterFilter(stream: stream.name))
    return standing
  }

  /// What the cloud says of it, with what the machine knows.
  private func ask(
    _ stream: StreamDeclaration, _ local: StreamStanding, by column: String?
  ) async throws -> StreamStanding {
    let elapsed = Int64(began.duration(to: .now) / .microseconds(1))
    let request = CompareRequest(stream: stream.name, column: column, elapsed: elapsed)
    let document = try await agent.ask(request.document)
    var standing = local
    switch try CompareReply(document: document, of: local.origin) {
    case .working: break
    case .failure(let why):
      standing.failure =
        why.hasPrefix("\"ask\" is ")
        ? "the consumer is of an earlier release and does not compare for machines; upgrade it, or run the command in the cloud"
        : printable(why)
    case .unknown(let conflicts, let letters):
      standing.conflicts = conflicts
      standing.letters += letters
      if local.hasTable {
        standing.failure = "the cloud does not know the stream yet: the machine has not described its table"
      }
    case .standing(let found):
      standing = found
      standing.letters += local.letters
      standing.hasTable = local.hasTable
      if local.failure != nil { standing.failure = local.failure }
    }
    return standing
  }
}

/// Shows what is on its way, while a person waits.
struct SyncProgress {
  private static let interval = Duration.seconds(2)
  private var shown = ""
  private var at = ContinuousClock.now

  mutating func show(_ found: [StreamStanding]) {
    guard at.advanced(by: Self.interval) <= .now else { return }
    at = .now
    let text = found.filter { $0.agreement != .equal }.map { "\($0.origin.stream) of \($0.origin.machine): \($0.text)" }
      .prefix(10).joined(separator: "\n")
    guard text != shown, !text.isEmpty else { return }
    shown = text
    FileHandle.standardError.write(Data("\(text)\n".utf8))
  }
}

/// What an agent is run for.
private final class Errand<Outcome: Sendable>: Service {
  private let body: @Sendable () async throws -> Outcome
  private let outcome = Mutex<Swift.Result<Outcome, any Error>?>(nil)

  init(_ body: @escaping @Sendable () async throws -> Outcome) { self.body = body }

  func run() async throws {
    do {
      let done = try await cancelWhenGracefulShutdown { try await self.body() }
      outcome.withLock { $0 = .success(done) }
    } catch {
      outcome.withLock { $0 = .failure(error) }
    }
  }

  /// - Throws: what the errand threw, or that the agent ended before it.
  func result() throws -> Outcome {
    guard let outcome = outcome.withLock({ $0 }) else { throw CannotCompare("the agent ended before the exchange") }
    if case .failure(let error) = outcome, error is CancellationError { throw CannotCompare("interrupted") }
    return try outcome.get()
  }
}
