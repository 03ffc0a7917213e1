import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire
import Foundation

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Shows where everything stands, on either side.",
    discussion: """
      Examples:
        drover status --config edge.yaml
        drover status --config cloud.yaml --json

      pending: waits for the broker. synced: acknowledged by the broker, waits for the cloud. confirmed: committed by the cloud.
      The exit status is 1 when the agent or consumer is not running, and 2 when one of its jobs no longer moves.
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let isRunning: Bool
    let database: String
    switch try options.any() {
    case .edge(let configuration):
      database = configuration.database
      isRunning = try edge(configuration)
    case .cloud(let configuration):
      let path = try configuration.sqlitePath(for: "status")
      database = path
      isRunning = try cloud(configuration, path)
    }
    guard isRunning else { throw ExitCode.failure }
    guard AgentLock.stuckJobs(database: database).isEmpty else { throw ExitCode(2) }
  }

  /// The process at work, in words.
  private func worker(_ pid: Int32?, _ database: String) -> String {
    guard let pid else { return "not running" }
    let stuck = AgentLock.stuckJobs(database: database)
      .map { "its \($0.job) has not moved for \(age($0.silence.components.seconds * 1_000_000))" }
    return (["running, process \(pid)"] + stuck).joined(separator: "; ")
  }

  private func worker(_ pid: Int32?, _ database: String) -> JSON {
    let stuck = pid == nil ? [] : AgentLock.stuckJobs(database: database).map { JSON.string($0.job) }
    return .object([
      ("running", .bool(pid != nil)), ("pid", pid.map { .integer(Int64($0)) } ?? .null), ("stuck", .array(stuck)),
    ])
  }

  private func edge(_ configuration: EdgeConfiguration) throws -> Bool {
    let report: EdgeReport?
    do { report = try EdgeReport.read(path: configuration.database) } catch { throw fail("status: \(error)") }
    let agent = AgentLock.holder(database: configuration.database)
    let now = wallClock()
    if json {
      let streams = (report?.streams ?? []).map { stream in
        JSON.object([
          ("name", .string(stream.name)), ("kind", .string(stream.kind)),
          ("table", stream.table.map { .string($0) } ?? .null),
          ("with", .array(configuration.lines(of: stream.name).map { .string($0) })),
          ("pending", .integer(Int64(stream.pending))), ("synced", .integer(Int64(stream.synced))),
          ("confirmed", .integer(Int64(stream.confirmed))),
          ("oldest_unconfirmed_seconds", stream.oldestUnconfirmed.map { .real(seconds(now - $0)) } ?? .null),
          ("backfilling", .bool(stream.isBackfilling)),
          ("resync", stream.resync.map { resync($0) } ?? .null),
        ])
      }
      print(
        JSON.object([
          ("side", "edge"), ("machine", .string(configuration.machine.text)),
          ("database", .string(configuration.database)),
          ("attached", .bool(report != nil)), ("epoch", report.map { .string($0.epoch) } ?? .null),
          ("agent", worker(agent, configuration.database)),
          ("clock_offset_seconds", report?.clockAhead.map { .real(Double($0) / 1_000_000) } ?? .null),
          ("versions_ahead_seconds", report?.versionsAhead.map { .real(seconds($0)) } ?? .null),
          ("backup", BackupStanding(configuration.database, configuration.backup).document),
          ("outbox", report.map { document($0.space, configuration.outbox.quota) } ?? .null),
          ("streams", .array(streams)), ("dead_letters", .integer(Int64(report?.deadLetters.present ?? 0))),
          ("dead_letters_replayed", .integer(Int64(report?.deadLetters.replayed ?? 0))),
          ("dead_letters_purged", .integer(Int64(report?.deadLetters.purged ?? 0))),
        ]).text(pretty: true))
      return agent != nil
    }
    print("machine \(configuration.machine)  \(configuration.database)")
    print("agent   \(worker(agent, configuration.database) as String)")
    for line in BackupStanding(configuration.database, configuration.backup).lines { print("backup  \(line)") }
    guard let report else {
      print("The database is not attached yet; `drover edge` does that when it starts.")
      return agent != nil
    }
    var table = TextTable(
      columns: ["stream", "kind", "pending", "synced", "confirmed", "oldest unconfirmed"], numeric: [2, 3, 4, 5])
    for stream in report.streams {
      let lines = configuration.lines(of: stream.name)
      table.add([
        stream.name, lines.isEmpty ? stream.kind : "\(stream.kind) with \(lines.joined(separator: ", "))",
        "\(stream.pending)", "\(stream.synced)",
        "\(stream.confirmed)\(olderRows(stream))",
        stream.oldestUnconfirmed.map { age(now - $0) } ?? "-",
      ])
    }
    print(table.text)
    if let ahead = report.clockAhead, abs(ahead) >= 1_000_000 {
      print("clock   \(age(abs(ahead))) \(ahead > 0 ? "ahead of" : "behind") the cloud")
    }
    if let ahead = report.versionsAhead {
      print("  versions are \(age(ahead)) ahead of the cloud's clock: this machine's was there once; order is kept")
    }
    for line in lines(report.space, configuration.outbox.quota) { print(line) }
    if report.deadLetters != DeadLetterFigures() { print("dead letters \(report.deadLetters.text)") }
    return agent != nil
  }

  private func document(_ space: EdgeReport.Space, _ quota: OutboxQuota) -> JSON {
    .object([
      ("bytes", .integer(space.measure.used)), ("max_bytes", quota.maxBytes.map { .integer($0) } ?? .null),
      ("free_bytes", space.measure.freeBytes.map { .integer($0) } ?? .null),
      ("free_inodes", space.measure.freeInodes.map { .integer($0) } ?? .null),
      ("closed_by", .array(space.closed.map { .string("outbox.\($0.rawValue)") })),
      ("scarce", .array(scarce(space, quota).map { .string("outbox.\($0.rawValue)") })),
      ("refused", .integer(Int64(space.refused))), ("closings", .integer(Int64(space.closings))),
      ("closed_at", space.closedAt.map { .string(Timestamp.text(microseconds: $0)) } ?? .null),
    ])
  }

  /// The limits of which four fifths are reached.
  private func scarce(_ space: EdgeReport.Space, _ quota: OutboxQuota) -> [OutboxLimit] {
    OutboxLimit.allCases.filter { space.measure.pressure(on: $0, of: quota) >= 0.8 }
  }

  private func lines(_ space: EdgeReport.Space, _ quota: OutboxQuota) -> [String] {
    var lines = ["outbox  \(byteText(space.measure.used)) of \(quota.maxBytes.map(byteText) ?? "any size")"]
    for limit in OutboxLimit.allCases {
      let measure = space.measure.text(limit, of: quota)
      if space.closed.contains(limit) {
        lines.append("  emit and drover_intake are refused: \(measure); \(limit.advice)")
      } else if scarce(space, quota).contains(limit) {
        lines.append("  room becomes scarce: \(measure); \(limit.advice)")
      }
    }
    if space.closings > 0 {
      let last = space.closedAt.map { ", last \(Timestamp.text(microseconds: $0))" } ?? ""
      lines.append("  the intake closed \(space.closings) times\(last); emit was refused \(space.refused) events")
    }
    return lines
  }

  private func olderRows(_ stream: EdgeReport.Stream) -> String {
    guard stream.isBackfilling else { return "" }
    return stream.resync.map { " (\($0.looked) of \($0.total) rows looked at once more)" } ?? " (older rows follow)"
  }

  private func resync(_ progress: ResyncProgress) -> JSON {
    .object([
      ("total", .integer(Int64(progress.total))), ("looked", .integer(Int64(progress.looked))),
      ("brought", .integer(Int64(progress.entered))), ("rate", progress.rate.map { .real($0) } ?? .null),
      ("seconds_left", progress.secondsLeft.map { .real($0) } ?? .null), ("done", .bool(progress.isDone)),
    ])
  }

  private func cloud(_ configuration: CloudConfiguration, _ path: String) throws -> Bool {
    let report: CloudReport?
    let waiting: [WaitingSchema]
    do {
      report = try CloudReport.read(path: path)
      waiting = try WaitingSchema.read(path: path)
    } catch {
      throw fail("status: \(error)")
    }
    let consumer = AgentLock.holder(database: path)
    let now = wallClock()
    let machines = report?.machines ?? []
    if json {
      let list = machines.map { machine in
        JSON.object([
          ("machine", .string(machine.name)), ("online", machine.isOnline.map { .bool($0) } ?? .null),
          ("last_heard_seconds", .real(seconds(now - machine.lastHeard))),
          ("clock_offset_seconds", machine.clockOffset.map { .real(Double($0) / 1_000_000) } ?? .null),
          ("dead_letters", .integer(Int64(machine.deadLetters))),
          (
            "streams",
            .array(
              machine.streams.map { stream in
                .object([
                  ("name", .string(stream.name)), ("rows", .integer(Int64(stream.rows))),
                  ("applied", .integer(Int64(stream.applied))), ("superseded", .integer(Int64(stream.superseded))),
                  ("refused", .integer(Int64(stream.refused))), ("lag_seconds", .real(seconds(stream.lag))),
                  ("versions_ahead_seconds", stream.ahead.map { .real(seconds($0)) } ?? .null),
                  ("last_applied_seconds", .real(seconds(now - stream.appliedAt))),
                  ("check", stream.check.map { check($0, now: now) } ?? .null),
                  (
                    "with",
                    .object(stream.lines.map { ($0.table, .integer(Int64($0.rows))) })
                  ),
                ])
              })
          ),
        ])
      }
      print(
        JSON.object([
          ("side", "cloud"), ("store", .string(path)),
          ("consumer", worker(consumer, path)),
          ("backup", BackupStanding(path, configuration.backup).document),
          ("machines", .array(list)), ("dead_letters", .integer(Int64(report?.deadLetters.present ?? 0))),
          ("dead_letters_replayed", .integer(Int64(report?.deadLetters.replayed ?? 0))),
          ("dead_letters_purged", .integer(Int64(report?.deadLetters.purged ?? 0))),
          ("dead_letters_dropped", .integer(Int64(report?.deadLetters.dropped ?? 0))),
          ("dead_letters_bytes", .integer(Int64(report?.letterBytes ?? 0))),
          ("dropped", .array((report?.dropped ?? []).map(\.document))),
          ("waiting_schemas", .array(waiting.map(\.document))),
          ("messages", .object((report?.messages ?? []).map { ($0.outcome, .integer(Int64($0.count))) })),
        ]).text(pretty: true))
      return consumer != nil
    }
    print("store        \(path)")
    print("consumer     \(worker(consumer, path) as String)")
    for line in BackupStanding(path, configuration.backup).lines { print("backup       \(line)") }
    if let report {
      print("dead letters \(report.deadLetters.text), \(byteText(Int64(report.letterBytes)))")
      if let warning = report.scarcity(configuration.deadLetters) { print("             \(warning)") }
      for dropped in report.dropped.prefix(10) {
        let origin = dropped.machine.isEmpty ? "others" : "\(dropped.machine) \(dropped.stream)"
        print(
          "             dropped for want of room: \(dropped.letters) of \(printable(origin)), reason \(dropped.reason), last \(Timestamp.text(microseconds: dropped.lastAt))"
        )
      }
    }
    var table = TextTable(
      columns: [
        "machine", "state", "heard", "clock", "stream", "rows", "lag", "superseded", "dead letters", "compared",
      ],
      numeric: [2, 3, 5, 6, 7, 8])
    for machine in machines {
      let state = machine.isOnline.map { $0 ? "online" : "offline" } ?? "-"
      let clock = machine.clockOffset.map { ($0 < 0 ? "-" : "+") + age(abs($0)) } ?? "-"
      if machine.streams.isEmpty {
        table.add([
          machine.name, state, age(now - machine.lastHeard), clock, "-", "0", "-", "0", "\(machine.deadLetters)", "-",
        ])
      }
      for (index, stream) in machine.streams.enumerated() {
        table.add([
          index == 0 ? machine.name : "", index == 0 ? state : "", index == 0 ? age(now - machine.lastHeard) : "",
          index == 0 ? clock : "", stream.name,
          "\(stream.rows)", stream.ahead.map { "\(age($0)) ahead" } ?? age(stream.lag), "\(stream.superseded)",
          "\(stream.refused)", stream.check.map { check($0, now: now) } ?? "-",
        ])
        for lines in stream.lines {
          table.add(["", "", "", "", "  with \(lines.table)", "\(lines.rows)", "", "", "", ""])
        }
      }
    }
    print(table.text)
    for schema in waiting {
      print(
        "\(schema.stream) of \(schema.machine) waits at the machine: \(printable(schema.difference)); `drover schema accept` makes the table anew"
      )
    }
    return consumer != nil
  }

  private func check(_ check: CloudReport.Check, now: Int64) -> JSON {
    .object([
      ("seconds_ago", .real(seconds(now - check.at))), ("drift", .integer(Int64(check.drift))),
      ("failure", check.failure.map { .string($0) } ?? .null),
    ])
  }

  private func check(_ check: CloudReport.Check, now: Int64) -> String {
    let result = check.failure.map { "not compared: \($0)" } ?? (check.drift == 0 ? "equal" : "\(check.drift) differ")
    return "\(result), \(age(now - check.at)) ago"
  }

  private func seconds(_ microseconds: Int64) -> Double { Double(max(0, microseconds)) / 1_000_000 }

  private func age(_ microseconds: Int64) -> String {
    switch max(0, microseconds) / 1000 {
    case let milliseconds where milliseconds < 1000: "\(milliseconds) ms"
    case let milliseconds where milliseconds < 120_000: "\(milliseconds / 1000) s"
    case let milliseconds where milliseconds < 7_200_000: "\(milliseconds / 60_000) min"
    case let milliseconds where milliseconds < 172_800_000: "\(milliseconds / 3_600_000) h"
    case let milliseconds: "\(milliseconds / 86_400_000) d"
    }
  }
}

extension CloudReport {
  /// A sentence when four fifths of the room for dead letters are taken.
  func scarcity(_ bounds: DeadLetterBounds) -> String? {
    guard letterRows >= bounds.maxCount / 5 * 4 || letterBytes >= bounds.maxBytes / 5 * 4 else { return nil }
    return
      "room for dead letters becomes scarce: \(letterRows) of \(bounds.maxCount), \(byteText(Int64(letterBytes))) of \(byteText(Int64(bounds.maxBytes))); replay or purge some"
  }
}

extension CloudReport.Dropped {
  fileprivate var document: JSON {
    .object([
      ("machine", .string(machine)), ("stream", .string(stream)), ("reason", .string(reason)),
      ("letters", .integer(Int64(letters))), ("bytes", .integer(Int64(bytes))),
      ("last_at", .string(Timestamp.text(microseconds: lastAt))),
    ])
  }
}

extension EdgeConfiguration {
  /// The tables whose rows travel with a stream's.
  fileprivate func lines(of stream: String) -> [String] {
    streams.first { $0.name.text == stream }?.table?.with.map(\.table.text) ?? []
  }
}

extension DeadLetterFigures {
  fileprivate var text: String {
    "\(present) (\(replayed) replayed, \(purged) purged\(dropped > 0 ? ", \(dropped) dropped" : ""))"
  }
}
