import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverMQTT
import DroverPostgreSQL
import DroverSQLite
import Foundation

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Checks configuration, database, broker, clock and disk, and says what to do.",
    discussion: """
      Example:
        drover doctor --config edge.yaml

      The command changes nothing. The exit status is 1 if something needs attention.
      """)

  @OptionGroup var options: ConfigurationOption

  func run() async throws {
    var findings: [Finding]
    switch try options.any() {
    case .edge(let configuration): findings = await edge(configuration)
    case .cloud(let configuration): findings = await cloud(configuration)
    }
    findings.insert(.good("config", "\(options.config) has no errors"), at: 0)
    for finding in findings {
      print(
        "\(finding.verdict.rawValue.padding(toLength: 5, withPad: " ", startingAt: 0))\(finding.subject.padding(toLength: 10, withPad: " ", startingAt: 0)) \(finding.text)"
      )
      if let advice = finding.advice { print("                -> \(advice)") }
    }
    let bad = findings.count { $0.verdict == .bad }
    let doubtful = findings.count { $0.verdict == .doubtful }
    print(bad + doubtful == 0 ? "All is well." : "\(bad) to correct, \(doubtful) to check.")
    if bad > 0 { throw ExitCode.failure }
  }

  private func edge(_ configuration: EdgeConfiguration) async -> [Finding] {
    var findings = integrity(
      configuration.database, missing: "start the app that makes its database first, or correct `database:`")
    if findings.allSatisfy({ $0.verdict == .good }) {
      findings += tables(configuration)
      findings += outbox(configuration)
      findings += WorklistCheck.findings(configuration)
    }
    findings.append(HostChecks.disk(of: configuration.database))
    findings.append(HostChecks.clock())
    if let told = BrokerCheck.ask(configuration.connection, agentOf: configuration.database) {
      findings += told + BrokerCheck.failures(ofAgentOf: configuration.database, now: wallClock())
    } else {
      let frame = configuration.frame.bytes
      findings += await BrokerCheck.run(
        configuration.connection,
        subscriptions: [Subscription(filter: Topic.confirmFilter(for: configuration.machine))],
        probe: (.reply(configuration.machine, id: "doctor"), frame), neededBytes: 2 * frame)
    }
    findings += HostChecks.hardLinks(of: configuration.database)
    let worker = AgentLock.worker(database: configuration.database)
    if worker.isElsewhere {
      findings.append(
        .bad(
          "agent", worker.text,
          "look at the agent's log: it opens the database as soon as the tables exist, and says what it waits for")
      )
    } else if let pid = worker.process {
      findings.append(.good("agent", "running, process \(pid)"))
    } else {
      findings.append(.doubtful("agent", "not running", "start `drover edge --config \(options.config)`"))
    }
    return findings
  }

  private func cloud(_ configuration: CloudConfiguration) async -> [Finding] {
    var findings = store(configuration)
    findings.append(HostChecks.clock())
    findings += await BrokerCheck.run(
      configuration.connection, subscriptions: configuration.trialSubscriptions,
      neededBytes: configuration.limits.messageBytes)
    let workers = (try? configuration.reader.workers()) ?? []
    for worker in workers {
      findings.append(.good("consumer", "running, process \(worker.process!)\(worker.host.map { " on \($0)" } ?? "")"))
    }
    if workers.isEmpty {
      findings.append(.doubtful("consumer", "not running", "start `drover cloud --config \(options.config)`"))
    }
    return findings
  }

  private func store(_ configuration: CloudConfiguration) -> [Finding] {
    guard case .sqlite(let path) = configuration.store else { return server(configuration) }
    guard FileManager.default.fileExists(atPath: path) else {
      let missing = Finding.doubtful(
        "store", "\(path) does not exist yet", "`drover cloud` makes it when it starts")
      return [missing, HostChecks.disk(of: path)]
    }
    let report = try? configuration.reader.report(.everything)
    return integrity(path, missing: "") + (report.map { letters($0, configuration) + pins($0, configuration) } ?? [])
      + blocked(configuration) + captures(configuration)
      + [HostChecks.disk(of: path)]
  }

  /// A store on a PostgreSQL server.
  private func server(_ configuration: CloudConfiguration) -> [Finding] {
    var findings: [Finding] = []
    do {
      findings = try configuration.storeRights().map { .bad("store", $0.text, $0.grant) }
      guard let report = try configuration.reader.report(.everything) else {
        let empty = Finding.doubtful(
          "store", "\(configuration.reader.name) can be read and has no tables of Drover's yet",
          "`drover cloud` makes them when it starts")
        return findings + [empty]
      }
      return findings + [.good("store", "\(configuration.reader.name) can be read")] + letters(report, configuration)
        + blocked(configuration) + captures(configuration) + pins(report, configuration)
    } catch {
      return findings + [
        .bad("store", "\(error)", "`drover cloud` needs it; nothing is lost: events wait at the machines")
      ]
    }
  }

  /// Streams that several machines share and that no pin keeps as they are.
  private func pins(_ report: CloudReport, _ configuration: CloudConfiguration) -> [Finding] {
    let pins = StreamPins(configuration.streams)
    let users = Dictionary(grouping: report.machines.flatMap { $0.streams.map(\.name) }) { SQLName($0) }
    let shared = users.filter { name, streams in
      streams.count > 1 && (try? StreamName(name.text)).map { pins[$0] } == .some(nil)
    }
    guard !shared.isEmpty else { return [] }
    let names = shared.values.map { $0[0] }.sorted().prefix(3).joined(separator: ", ")
    return [
      Finding(
        verdict: .good, subject: "pins",
        text:
          "\(shared.count) streams of several machines are not pinned, such as \(names): the first schema counts",
        advice: "drover schema pin --config \(options.config) prints what to add, so that no machine can change them")
    ]
  }

  /// Streams that wait because their sink tables cannot be written, or because the whole store is locked.
  private func blocked(_ configuration: CloudConfiguration) -> [Finding] {
    let lock = configuration.reader.storeLock().map {
      Finding.bad("store", "\(printable($0.text)), since \(Timestamp.text(microseconds: $0.since))", StoreLock.advice)
    }
    return [lock].compactMap(\.self)
      + ((try? configuration.reader.blockedSinks()) ?? []).map {
        .bad("table", "\($0.text), since \(Timestamp.text(microseconds: $0.since))", $0.blocked.advice)
      }
  }

  /// Tables from which rows go down and whose edits are not noticed.
  private func captures(_ configuration: CloudConfiguration) -> [Finding] {
    ((try? configuration.reader.captureFaults()) ?? []).map { .bad("table", $0.text, $0.advice) }
  }

  private func letters(_ report: CloudReport, _ configuration: CloudConfiguration) -> [Finding] {
    let scarcity = report.scarcity(configuration.deadLetters).map {
      Finding.doubtful("letters", $0, "at the limit, frames with events that cannot be applied stay at the edge")
    }
    let conflicts = report.scarcity(configuration.conflicts).map {
      Finding.doubtful("conflicts", $0, "at the limit, the stream with the next conflict waits at its machine")
    }
    let troubles = report.troubles(now: wallClock()).map { machine, trouble in
      Finding.bad("name", trouble.text(machine), trouble.advice)
    }
    let waits = report.machines.flatMap { machine in
      machine.waits.map { Finding.bad("stream", "\(machine.name): \(printable($0.text))", printable($0.advice)) }
    }
    return letters(report.deadLetters) + [scarcity, conflicts].compactMap(\.self) + troubles + waits
  }

  private func integrity(_ path: String, missing: String) -> [Finding] {
    do throws(EdgeStoreError) {
      let damage = try DatabaseCheck.quickCheck(path: path)
      guard damage.isEmpty else {
        return [
          .bad(
            "database", "\(path) is damaged: \(damage.prefix(3).joined(separator: "; "))",
            "stop everything that writes to it, copy it away, and restore a backup or use sqlite3's .recover")
        ]
      }
      return [.good("database", "\(path) is sound")]
    } catch .busy {
      return [.bad("database", Self.locked(path), LockHolders.advice)]
    } catch {
      return [.bad("database", "\(error)", missing.isEmpty ? "check the file and its permissions" : missing)]
    }
  }

  private static func locked(_ path: String) -> String {
    "\(path) is locked by \(LockHolders.text(of: path) ?? "another program"), so no other program can use it"
  }

  private func tables(_ configuration: EdgeConfiguration) -> [Finding] {
    configuration.streams.flatMap { declaration -> [Finding] in
      guard let table = declaration.table else { return [] }
      do throws(EdgeStoreError) {
        guard let refusal = try DatabaseCheck.refusal(of: declaration, path: configuration.database) else {
          return [.good("stream", "\(declaration.name): table \(table) can be captured")]
            + DatabaseCheck.advice(on: declaration, path: configuration.database).map { advice in
              .doubtful(
                "stream", "\(declaration.name): \(advice)",
                declaration.flow.direction.goesDown
                  ? "see docs/how-to/edit-rows-on-both-sides.md" : "see `key` in docs/configuration.md")
            }
        }
        return [
          .bad("stream", "\(declaration.name): \(refusal.reason)", refusal.advice)
        ]
      } catch .busy {
        return [.bad("stream", "\(declaration.name): \(Self.locked(configuration.database))", LockHolders.advice)]
      } catch {
        return [.bad("stream", "\(declaration.name): \(error)", "check the database")]
      }
    }
  }

  private func outbox(_ configuration: EdgeConfiguration) -> [Finding] {
    guard let report = try? configuration.reader.report() else {
      return [.doubtful("outbox", "the database is not attached yet", "`drover edge` does that when it starts")]
    }
    var findings: [Finding] = []
    if report.journalMode != "wal" {
      findings.append(
        .doubtful(
          "database", "journal mode \(report.journalMode): readers and writers wait for each other",
          "if the app allows it, PRAGMA journal_mode = WAL lets Drover read while the app writes; Drover does not change it"
        ))
    }
    let quota = configuration.outbox.quota
    for limit in OutboxLimit.allCases where report.space.measure.pressure(on: limit, of: quota) >= 0.8 {
      let measure = report.space.measure.text(limit, of: quota)
      findings.append(
        report.space.closed.contains(limit)
          ? .bad("outbox", "\(measure); emit and drover_intake are refused", limit.advice)
          : .doubtful("outbox", "\(measure); at the limit emit and drover_intake are refused", limit.advice))
    }
    findings += letters(report.deadLetters)
    findings += report.waits.map { .bad("stream", $0.text, $0.advice) }
    findings += report.troubles.filter { $0.isPresent(now: wallClock()) }.map {
      .bad("name", $0.text(configuration.machine.text), $0.advice)
    }
    let waiting = report.streams.reduce(0) { $0 + $1.pending + $1.synced }
    let oldest = report.streams.compactMap(\.oldestUnconfirmed).min()
    if let oldest, wallClock() - oldest > 600 * 1_000_000 {
      findings.append(
        .doubtful(
          "outbox",
          "\(quantity(waiting, "event")) unconfirmed, the oldest since \(Timestamp.text(microseconds: oldest))",
          "check that the agent and the consumer run; nothing is lost"))
    } else {
      findings.append(.good("outbox", "\(quantity(waiting, "event")) unconfirmed"))
    }
    return findings
  }

  private func letters(_ figures: DeadLetterFigures) -> [Finding] {
    guard figures.present > 0 else { return [] }
    return [
      .doubtful(
        "letters", quantity(figures.present, "dead letter"), "look at them: drover dead list --config \(options.config)"
      )
    ]
  }
}
