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
    do {
      let replica = try configuration.openReplica()
      let streams = try replica.streams().filter {
        (machine == nil || $0.machine.text == machine) && (stream == nil || $0.stream.text.isExactly(stream!))
      }
      guard !streams.isEmpty else {
        throw fail("check: the store knows no such stream with a table; `drover status --config` shows what it knows")
      }
      let channel = MachineChannel(configuration.connection, name: "check")
      async let connection: Void = channel.run()
      rounds = await CheckRound(replica: replica, machines: channel, isRepairing: repair).run(streams)
      channel.stop()
      await connection
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("check: \(error)")
    }
    show(rounds)
    if rounds.contains(where: { $0.failure != nil }) { throw ExitCode(2) }
    if rounds.contains(where: { $0.finding.drift > 0 }) { throw ExitCode.failure }
  }

  private func show(_ rounds: [CheckRound.Result]) {
    if json {
      return print(JSON.array(rounds.map(\.json)).text(pretty: true))
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
    print(table.text)
    let silent = CheckRound.silent(rounds)
    if !silent.isEmpty {
      print(
        "\(silent.count) of \(quantity(Set(rounds.map(\.stream.machine)).count, "machine")) did not answer: \(silent.map(\.text).joined(separator: ", "))"
      )
    }
  }
}

extension CheckRound.Result {
  fileprivate var verdict: String {
    if let failure { return "not compared: \(failure)" }
    return finding.verdict
  }

  fileprivate var json: JSON {
    .object([
      ("machine", .string(stream.machine.text)), ("stream", .string(stream.stream.text)),
      ("rows_at_edge", .integer(Int64(finding.rowsAtEdge))), ("rows_in_cloud", .integer(Int64(finding.rowsInCloud))),
      ("missing", .integer(Int64(finding.missing))), ("extra", .integer(Int64(finding.extra))),
      ("different", .integer(Int64(finding.different))), ("conflicts", .integer(Int64(finding.conflicts))),
      ("stray_lines", .integer(Int64(finding.strayLines))),
      ("on_their_way", .integer(Int64(finding.inFlight))), ("repaired", .integer(Int64(finding.repaired))),
      ("drift", .integer(Int64(finding.drift))), ("failure", failure.map { .string($0) } ?? .null),
      ("obstacles", .array(finding.obstacles.map { .string($0) })),
      ("silent", .bool(isSilent)),
    ])
  }
}
