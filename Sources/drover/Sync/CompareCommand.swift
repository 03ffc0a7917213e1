// `drover compare`: how both sides stand, for a person who looks. It changes nothing.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverTerminal
import DroverWire

struct CompareCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Shows how many rows both sides have, by the values of a column, and whether they are in sync.",
    discussion: """
      Examples:
        drover compare --config edge.yaml
        drover compare --config edge.yaml --stream products --by lifecycle_stage
        drover compare --config cloud.yaml --machine MAH001 --by lifecycle_stage

      The command only reads. Agent and consumer have to run; without --machine the cloud looks at all machines that are online.
      --by counts the rows of each value in a column that travels. It shows up to \(GroupedRows.most) values: those whose numbers differ
      come first, then the most frequent. A column with more than \(Tally.mostValues) different values cannot be used. Values of more
      than \(Tally.longestValue) bytes are counted together.
      The exit status is 0 if both sides are in sync, 1 if rows differ or are on their way, and 2 if the sides could not be compared.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: ArgumentHelp("In the cloud: only this machine's streams.", valueName: "machine"))
  var machine: MachineID?
  @Option(help: ArgumentHelp("Only this stream.", valueName: "stream"))
  var stream: StreamName?
  @Option(help: ArgumentHelp("Count the rows by this column's values.", valueName: "column"))
  var by: String?
  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let (standings, notes): ([StreamStanding], [String]) = try await lookingAtBothSides("compare") {
      let (standings, notes): ([StreamStanding], [String]) =
        switch try options.any() {
        case .edge(let configuration):
          (try await EdgeSync(configuration, machine: machine, stream: stream).compare(by: by), [])
        case .cloud(let configuration):
          try await CloudSync(configuration, machine: machine, stream: stream).compare(by: by)
        }
      if let by, !standings.contains(where: { $0.groups != nil || $0.failure != nil }) {
        throw CannotCompare("none of these streams has a column \(printable(by)) that travels to the cloud")
      }
      return (standings, notes)
    }
    if json {
      print(
        JSON.object([
          ("equal", .bool(standings.agreement == .equal)),
          ("streams", .array(standings.map { .object($0.named + $0.members) })),
          ("notes", .array(notes.map { .string($0) })),
        ]).text(pretty: true))
    } else {
      for standing in standings { show(standing) }
      for note in notes { print(note) }
      print(standings.agreement.sentence(streams: standings))
    }
    if standings.agreement != .equal { throw standings.agreement.exitCode }
  }

  private func show(_ standing: StreamStanding) {
    let rows =
      standing.failure == nil && standing.hasTable
      ? "; \(quantity(standing.rowsAtEdge, "row")) at the edge, \(standing.rowsInCloud) in the cloud" : ""
    print("\(standing.origin.stream) of \(standing.origin.machine): \(standing.text)\(rows)")
    for advice in standing.advice { print("  -> \(advice)") }
    guard let groups = standing.groups else { return }
    if let problem = groups.problem { return print("  \(printable(problem))") }
    var table = TextTable(
      columns: ["  \(printable(groups.column))", "at the edge", "in the cloud", ""], numeric: [1, 2])
    for group in groups.groups {
      let value = group.value.map { printable(valueText($0)) } ?? "(more than \(Tally.longestValue) bytes)"
      table.add([
        "  \(value)", "\(group.atEdge)", "\(group.inCloud)", group.atEdge == group.inCloud ? "" : "differs",
      ])
    }
    if groups.leftOut > 0 {
      table.add([
        "  (\(quantity(groups.leftOut, "other value")))", "\(groups.rest.atEdge)", "\(groups.rest.inCloud)", "",
      ])
    }
    print(table.text)
  }
}
