import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverTerminal
import DroverWire
import Foundation

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Shows what waits, what is confirmed and what is wrong, on either side.",
    discussion: """
      Examples:
        drover status --config edge.yaml
        drover status --config cloud.yaml --json

      pending    events that wait for the broker
      synced     events that the broker has acknowledged and that wait for the cloud
      confirmed  events that the cloud has committed

      The exit status is 1 if the agent or the consumer is not running, and 2 if one of its jobs no longer moves.
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let worker: Worker
    switch try options.any() {
    case .edge(let configuration): worker = try edge(configuration)
    case .cloud(let configuration): worker = try cloud(configuration)
    }
    guard worker.process != nil else { throw ExitCode.failure }
    guard worker.isMoving else { throw ExitCode(2) }
  }

  private func edge(_ configuration: EdgeConfiguration) throws -> Worker {
    let report: EdgeReport?
    do { report = try configuration.reader.report() } catch { throw fail("status: \(error)") }
    let worker = AgentLock.worker(database: configuration.database)
    let now = wallClock()
    if json {
      print(configuration.statusDocument(report, worker, now: now).text(pretty: true))
      return worker
    }
    print("machine \(configuration.machine)  \(configuration.database)")
    print("agent   \(worker.text)")
    for line in AgentConnection(database: configuration.database).lines(now: now) { print(line) }
    for line in BackupStatus(configuration.database, configuration.backup).lines { print("backup  \(line)") }
    guard let report else {
      print("The database is not attached yet; `drover edge` does that when it starts.")
      return worker
    }
    var table = TextTable(
      columns: ["stream", "kind", "pending", "synced", "confirmed", "oldest unconfirmed"], numeric: [2, 3, 4, 5])
    for stream in report.streams {
      let lines = configuration.lines(of: stream.name)
      table.add([
        stream.name, lines.isEmpty ? stream.kind : "\(stream.kind) with \(lines.joined(separator: ", "))",
        "\(stream.pending)", "\(stream.synced)",
        "\(stream.confirmed)\(olderRows(stream))",
        stream.oldestUnconfirmed.map { ageText(now - $0) } ?? "-",
      ])
    }
    print(table.text)
    for stream in report.streams where stream.overwritten > 0 {
      print(
        "\(stream.name)  \(quantity(stream.overwritten, "edit")) made here; its rows come from the cloud, which replaces them"
      )
    }
    for list in report.worklists {
      let rows = list.rows.map { "\(quantity($0.all, "row")), \($0.unfinished) unfinished" } ?? "no table"
      print("worklist \(list.name)  \(rows)\(list.waits.map { "; \(printable($0))" } ?? "")")
    }
    if let ahead = report.clockAhead, abs(ahead) >= 1_000_000 {
      print("clock   \(ageText(abs(ahead))) \(ahead > 0 ? "ahead of" : "behind") the cloud")
    }
    if let ahead = report.versionsAhead {
      print(
        "  versions are \(ageText(ahead)) ahead of the cloud's clock, because this machine's clock was wrong once; the order is kept"
      )
    }
    for line in lines(report.space, configuration.outbox.quota) { print(line) }
    for wait in report.waits { print("\(wait.text) (since \(ageText(now - wait.since)))\n  \(wait.advice)") }
    for trouble in report.troubles where trouble.isPresent(now: now) {
      print("\(trouble.text(configuration.machine.text))\n  \(trouble.advice)")
    }
    if report.deadLetters != DeadLetterFigures() { print("dead letters \(report.deadLetters.text)") }
    if let conflicts = AgentLock.conflicts(database: configuration.database), conflicts > 0 {
      print("conflicts \(conflicts) in the cloud, as it said last; `drover conflicts list` shows them")
    }
    return worker
  }

  private func lines(_ space: EdgeReport.Space, _ quota: OutboxQuota) -> [String] {
    var lines = ["outbox  \(byteText(space.measure.used)) of \(quota.maxBytes.map(byteText) ?? "any size")"]
    for limit in OutboxLimit.allCases {
      let measure = space.measure.text(limit, of: quota)
      if space.closed.contains(limit) {
        lines.append("  emit and drover_intake are refused: \(measure); \(limit.advice)")
      } else if space.scarce(of: quota).contains(limit) {
        lines.append("  space becomes scarce: \(measure); \(limit.advice)")
      }
    }
    if space.closings > 0 {
      let last = space.closedAt.map { ", last \(Timestamp.text(microseconds: $0))" } ?? ""
      lines.append(
        "  the intake closed \(quantity(space.closings, "time"))\(last); emit was refused \(quantity(space.refused, "event"))"
      )
    }
    return lines
  }

  private func olderRows(_ stream: EdgeReport.Stream) -> String {
    guard stream.isBackfilling else { return "" }
    return stream.resync.map { " (\($0.looked) of \($0.total) rows read again)" } ?? " (older rows follow)"
  }

  private func cloud(_ configuration: CloudConfiguration) throws -> Worker {
    let overview: CloudOverview
    do { overview = try CloudOverview(configuration.reader) } catch { throw fail("status: \(error)") }
    let (report, waiting, worker) = (overview.report, overview.waiting, overview.worker)
    let now = wallClock()
    if json {
      print(configuration.statusDocument(overview, now: now).text(pretty: true))
      return worker
    }
    print("store        \(overview.store)")
    if let lock = overview.lock {
      print("             \(printable(lock.text)), since \(Timestamp.text(microseconds: lock.since))")
      print("             \(StoreLock.advice)")
    }
    for worker in overview.workers.isEmpty ? [worker] : overview.workers { print("consumer     \(worker.text)") }
    for line in configuration.backupStanding?.lines ?? [] { print("backup       \(line)") }
    if let report {
      print("dead letters \(report.deadLetters.text), \(byteText(Int64(report.letterBytes)))")
      if let warning = report.scarcity(configuration.deadLetters) { print("             \(warning)") }
      for dropped in report.dropped.prefix(10) {
        let origin = dropped.machine.isEmpty ? "others" : "\(dropped.machine) \(dropped.stream)"
        print(
          "             dropped because the limit was reached: \(dropped.letters) of \(printable(origin)), reason \(dropped.reason), last \(Timestamp.text(microseconds: dropped.lastAt))"
        )
      }
    }
    for line in report?.conflictLines(configuration.conflicts) ?? [] { print(line) }
    if let report, report.refusedRows > 0 {
      print(
        "refused rows \(report.refusedRows) from the cloud\(report.names(\.refusedRows)); `drover dead list` shows them"
      )
    }
    var table = TextTable(
      columns: [
        "machine", "state", "heard", "clock", "waiting", "oldest", "reported", "dead letters", "stream", "rows",
        "lag", "superseded", "refused", "compared",
      ],
      numeric: [2, 3, 4, 5, 6, 7, 9, 10, 11, 12])
    for machine in report?.machines ?? [] {
      let of = cells(machine, now: now)
      if machine.streams.isEmpty { table.add(of + ["-", "0", "-", "0", "0", "-"]) }
      for (index, stream) in machine.streams.enumerated() {
        let lag: String = stream.ahead.map { "\(ageText($0)) ahead" } ?? stream.lag.map(ageText) ?? "-"
        table.add(
          (index == 0 ? of : of.map { _ in "" }) + [
            stream.name, stream.rows.map { "\($0)" } ?? "-",
            lag,
            "\(stream.superseded)", "\(stream.refused)", stream.check.map { check($0, now: now) } ?? "-",
          ])
        for lines in stream.lines {
          table.add(of.map { _ in "" } + ["  with \(lines.table)", lines.rows.map { "\($0)" } ?? "-", "", "", "", ""])
        }
      }
    }
    print(table.text)
    for (machine, trouble) in report?.troubles(now: now) ?? [] {
      print("\(printable(trouble.text(machine)))\n  \(trouble.advice)")
    }
    for machine in report?.machines ?? [] {
      for wait in machine.waits {
        print(
          "\(wait.stream) of \(machine.name) waits at the machine: \(printable(wait.reason)) (since \(ageText(now - wait.since)))\n  \(printable(wait.advice))"
        )
      }
      for overrun in machine.overruns {
        print(
          "\(machine.name) was beyond limits.\(overrun.budget): \(overrun.count) set aside, last \(ageText(now - overrun.lastAt)) ago"
        )
      }
    }
    for sink in overview.blocked {
      print(
        "\(printable(sink.text)), since \(Timestamp.text(microseconds: sink.since)), tried \(quantity(sink.tries, "time")), last \(ageText(now - sink.last)) ago\n  \(printable(sink.blocked.advice))"
      )
    }
    for schema in waiting {
      print(
        "\(schema.stream) of \(schema.machine) waits at the machine: \(printable(schema.difference)); see `drover schema list` and `accept`"
      )
    }
    return worker
  }

  /// What is known of the machine itself.
  private func cells(_ machine: CloudReport.Machine, now: Int64) -> [String] {
    [
      machine.name, machine.isOnline.map { $0 ? "online" : "offline" } ?? "-", ageText(now - machine.lastHeard),
      machine.clockOffset.map { ($0 < 0 ? "-" : "+") + ageText(abs($0)) } ?? "-",
      machine.outbox.map { "\($0.figures.waiting)" } ?? "-", machine.oldestUnconfirmed(now: now).map(ageText) ?? "-",
      machine.outbox.map { "\(ageText(now - $0.at)) ago" } ?? "-", letters(machine),
    ]
  }

  private func letters(_ machine: CloudReport.Machine) -> String {
    let atEdge = machine.outbox?.figures.deadLetters ?? 0
    return "\(machine.deadLetters)\(atEdge > 0 ? " and \(atEdge) at the machine" : "")"
  }

  private func check(_ check: CloudReport.Check, now: Int64) -> String {
    "\(check.text), \(ageText(now - check.at)) ago"
  }
}

extension CloudReport {
  /// How many machines are named; the others are counted.
  private static var machinesNamed: Int { 5 }

  /// Whose something is, the most first.
  fileprivate func names(_ count: (Machine) -> Int) -> String {
    let those = machines.filter { count($0) > 0 }.sorted { count($0) > count($1) }
    let names = those.prefix(Self.machinesNamed).map { "\($0.name) \(count($0))" }
    let others = those.count > names.count ? ["\(quantity(those.count - names.count, "other machine"))"] : []
    return names.isEmpty ? "" : ": " + (names + others).joined(separator: ", ")
  }

  /// What waits for a person, and whose it is. Nothing where there has been none.
  fileprivate func conflictLines(_ bounds: ConflictBounds) -> [String] {
    guard conflicts != ConflictFigures() else { return [] }
    return ["conflicts    \(conflicts.present) (\(conflicts.resolved) resolved)\(names(\.conflicts))"]
      + (scarcity(bounds).map { ["             \($0)"] } ?? [])
  }

  /// A sentence when four fifths of the space for conflicts are taken.
  func scarcity(_ bounds: ConflictBounds) -> String? {
    bounds.scarcity(
      all: ConflictUse(count: conflicts.present, bytes: conflicts.bytes),
      of: machines.map { ($0.name, ConflictUse(count: $0.conflicts, bytes: $0.conflictBytes)) })
  }

  /// A sentence when four fifths of the room for dead letters are taken.
  func scarcity(_ bounds: DeadLetterBounds) -> String? {
    guard letterRows >= bounds.maxCount / 5 * 4 || letterBytes >= bounds.maxBytes / 5 * 4 else { return nil }
    return
      "space for dead letters becomes scarce: \(letterRows) of \(bounds.maxCount), \(byteText(Int64(letterBytes))) of \(byteText(Int64(bounds.maxBytes))); replay or purge some"
  }
}

extension EdgeConfiguration {
  /// The tables whose rows travel with a stream's.
  func lines(of stream: String) -> [String] {
    streams.first { $0.name.text.isExactly(stream) }?.with.map(\.table.text) ?? []
  }
}

extension DeadLetterFigures {
  fileprivate var text: String {
    "\(present) (\(replayed) replayed, \(purged) purged\(dropped > 0 ? ", \(dropped) dropped" : ""))"
  }
}
