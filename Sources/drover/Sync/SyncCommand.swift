// `drover sync`: one full exchange now, and whether both sides are equal after it.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverTerminal
import DroverWire

struct SyncCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sync",
    abstract: "Exchanges rows in both directions now, and says whether both sides are equal.",
    discussion: """
      Examples:
        drover sync --config edge.yaml --wait
        drover sync --config edge.yaml --stream products
        drover sync --config cloud.yaml --machine MAH001 --wait

      At a machine, the running agent exchanges the rows. If none runs, the command runs one until the exchange is over. In the cloud,
      the consumer and the agents have to run; without --machine the command looks at all machines that are online.
      The command gives rows that are on their way 15 seconds. With --wait it waits until everything has arrived in both directions.
      It ends earlier if the other side does not answer.

      At the end it compares both sides as `drover check` does. The exit status is 0 if both sides are equal, 1 if rows differ or are
      still on their way, and 2 if the sides could not be compared.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: ArgumentHelp("In the cloud: only this machine's streams.", valueName: "machine"))
  var machine: MachineID?
  @Option(help: ArgumentHelp("Only this stream.", valueName: "stream"))
  var stream: StreamName?
  @Flag(help: "Wait until everything has arrived in both directions.")
  var wait = false
  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let exchange = try await lookingAtBothSides("sync") {
      switch try options.any() {
      case .edge(let configuration):
        try await EdgeSync(configuration, machine: machine, stream: stream).exchange(waits: wait)
      case .cloud(let configuration):
        try await CloudSync(configuration, machine: machine, stream: stream).exchange(waits: wait)
      }
    }
    if json { print(exchange.json.text(pretty: true)) } else { show(exchange) }
    if exchange.agreement != .equal { throw exchange.agreement.exitCode }
  }

  private func show(_ exchange: Exchange) {
    var table = TextTable(
      columns: ["machine", "stream", "up", "down", "new conflicts", "dead letters", "result"], numeric: [2, 3, 4, 5])
    for stream in exchange.streams {
      let standing = stream.standing
      table.add([
        standing.origin.machine.text, standing.origin.stream.text, "\(stream.up)", "\(stream.down)",
        "\(standing.newConflicts)", "\(standing.letters)", standing.text,
      ])
    }
    print(table.text)
    for note in exchange.notes { print(note) }
    for line in exchange.streams.map(\.standing).adviceLines { print(line) }
    print(exchange.agreement.sentence(streams: exchange.streams.map(\.standing)))
  }
}

extension [StreamStanding] {
  /// What a person can do, each named with its stream if there are several.
  var adviceLines: [String] {
    flatMap { standing in
      standing.advice.map { "\(count > 1 ? "\(standing.origin.stream) of \(standing.origin.machine): " : "")\($0)" }
    }
  }
}

extension Agreement {
  func sentence(streams: [StreamStanding]) -> String {
    let count = streams.count { $0.agreement != .equal }
    return self == .equal
      ? "Both sides are equal."
      : "\(count) of \(quantity(streams.count, "stream")) \(count == 1 ? "is" : "are") not in sync."
  }
}

extension Exchange {
  fileprivate var json: JSON {
    .object([
      ("equal", .bool(agreement == .equal)),
      (
        "streams",
        .array(
          streams.map { stream in
            .object(
              stream.standing.named + [("up", .integer(Int64(stream.up))), ("down", .integer(Int64(stream.down)))]
                + stream.standing.members)
          })
      ), ("notes", .array(notes.map { .string($0) })),
    ])
  }
}

extension StreamStanding {
  /// Members that say which stream it is, and what to make of it.
  var named: [(String, JSON)] {
    [
      ("machine", .string(origin.machine.text)), ("stream", .string(origin.stream.text)),
      ("agreement", .string(agreement.rawValue)), ("advice", .array(advice.map { .string($0) })),
    ]
  }
}
