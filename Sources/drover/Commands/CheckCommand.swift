import ArgumentParser
import DroverCloud
import DroverConfiguration
import DroverCore
import DroverServices
import DroverTerminal
import DroverWire

struct CheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Compares the cloud's tables with the machines' tables, and repairs differences.",
    discussion: """
      Examples:
        drover check --config cloud.yaml
        drover check --config cloud.yaml --machine MAH001 --stream stock --repair

      The command asks the agents, many at a time, so they must be connected. Only digests of rows travel. A row that is on its way does
      not count as a difference. With --repair each machine re-sends the rows that differ, because the machine is right. A fact with
      other values in the cloud is a conflict and is never overwritten. Streams without a table are not compared.
      Of streams with `direction: both` the output says for each row that differs on which side the newer edit is: at the edge, in the
      cloud, on both sides, or on neither. Edits that are on their way are no difference, and --repair does not touch them. Rows of
      `direction: down` are compared with what the cloud says they should be, and --repair sends the cloud's rows down again.
      The exit status is 1 if rows differ at the end, and 2 if a stream could not be compared.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: ArgumentHelp("Only this machine's streams.", valueName: "machine"))
  var machine: String?
  @Option(help: ArgumentHelp("Only this stream.", valueName: "stream"))
  var stream: String?
  @Flag(help: "Re-send the rows that differ.")
  var repair = false
  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let configuration = try options.cloud()
    let rounds: [CheckRound.Result]
    let unreadable: [UnreadableStream]
    do {
      let replica = try configuration.openReplica()
      let channel = MachineChannel(configuration.connection, name: "check")
      async let connection: Void = channel.run()
      defer { channel.stop() }
      unreadable = try await Redescription(replica: replica, machines: channel).run(isWanted)
      let streams = try replica.streams().filter { isWanted($0.origin) }
      guard !streams.isEmpty || !unreadable.isEmpty else {
        throw fail("check: the store knows no such stream with a table; `drover status --config` shows what it knows")
      }
      rounds = await CheckRound(replica: replica, machines: channel, isRepairing: repair).run(streams)
      channel.stop()
      await connection
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("check: \(error)")
    }
    show(rounds, unreadable)
    if !unreadable.isEmpty || rounds.contains(where: { $0.failure != nil }) { throw ExitCode(2) }
    if rounds.contains(where: { $0.finding.drift > 0 }) { throw ExitCode.failure }
  }

  private func isWanted(_ origin: MachineStream) -> Bool {
    (machine == nil || origin.machine.text == machine) && (stream == nil || origin.stream.text.isExactly(stream!))
  }

  private func show(_ rounds: [CheckRound.Result], _ unreadable: [UnreadableStream]) {
    if json {
      let broken = unreadable.map { DriftFinding().json(of: $0.origin, failure: $0.reason, isSilent: false) }
      return print(
        JSON.array(
          rounds.map { $0.finding.json(of: $0.stream.origin, failure: $0.failure, isSilent: $0.isSilent) } + broken
        ).text(pretty: true))
    }
    var table = TextTable(
      columns: [
        "machine", "stream", "at the edge", "in the cloud", "missing", "extra", "different", "conflicts",
        "stray lines", "on their way", "repaired", "result",
      ], numeric: [2, 3, 4, 5, 6, 7, 8, 9, 10])
    for round in rounds {
      let finding = round.finding
      table.add([
        round.stream.machine.text, round.stream.stream.text, "\(finding.rowsAtEdge)", "\(finding.rowsInCloud)",
        "\(finding.missing)", "\(finding.extra)", "\(finding.different)", "\(finding.conflicts)",
        "\(finding.strayLines)", "\(finding.inFlight)",
        "\(finding.repaired)", round.verdict,
      ])
    }
    for stream in unreadable {
      table.add(
        [stream.origin.machine.text, stream.origin.stream.text] + [String](repeating: "-", count: 9)
          + ["not compared: \(stream.reason)"])
    }
    print(table.text)
    for round in rounds { name(round.finding, of: round.stream.origin) }
    let silent = CheckRound.silent(rounds)
    if !silent.isEmpty {
      print(
        "\(silent.count) of \(quantity(Set(rounds.map(\.stream.machine)).count, "machine")) did not answer: \(silent.map(\.text).joined(separator: ", "))"
      )
    }
  }
}

extension CheckCommand {
  /// Rows of a stream that are named in the text.
  private static let mostNamed = 20

  private func name(_ finding: DriftFinding, of stream: MachineStream) {
    for row in finding.rows.prefix(Self.mostNamed) {
      print("\(stream.stream) of \(stream.machine), row \(row.id): \(row.newer.text)")
    }
    let left = finding.differingRows - min(finding.rows.count, Self.mostNamed)
    if left > 0 {
      print("\(stream.stream) of \(stream.machine): \(left) more; --json names the first \(DriftFinding.mostRows)")
    }
  }
}

extension CheckRound.Result {
  fileprivate var verdict: String {
    if let failure { return "not compared: \(failure)" }
    return finding.verdict
  }
}

extension DriftFinding {
  fileprivate func json(of origin: MachineStream, failure: String?, isSilent: Bool) -> JSON {
    .object([
      ("machine", .string(origin.machine.text)), ("stream", .string(origin.stream.text)),
      ("rows_at_edge", .integer(Int64(rowsAtEdge))), ("rows_in_cloud", .integer(Int64(rowsInCloud))),
      ("missing", .integer(Int64(missing))), ("extra", .integer(Int64(extra))),
      ("different", .integer(Int64(different))), ("conflicts", .integer(Int64(conflicts))),
      ("stray_lines", .integer(Int64(strayLines))), ("on_their_way", .integer(Int64(inFlight))),
      ("repaired", .integer(Int64(repaired))), ("drift", .integer(Int64(drift))),
      ("failure", failure.map { .string($0) } ?? .null), ("obstacles", .array(obstacles.map { .string($0) })),
      ("silent", .bool(isSilent)),
      (
        "rows",
        .array(rows.map { .object([("id", .string($0.id)), ("newer", .string($0.newer.rawValue))]) })
      ),
      ("rows_left_out", .integer(Int64(differingRows - rows.count))),
    ])
  }
}
