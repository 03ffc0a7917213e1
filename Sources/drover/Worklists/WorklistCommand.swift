// `drover worklist`: tables at machines that the cloud refills with orders.

import ArgumentParser
import DroverConfiguration
import DroverCore

struct WorklistCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worklist",
    abstract:
      "Shows worklists and their queues. At a machine: asks for orders now, and clears the table. In the cloud: requeues and withdraws orders.",
    discussion: """
      Examples:
        drover worklist status --config edge.yaml
        drover worklist trigger --config edge.yaml
        drover worklist clear --config edge.yaml mo_batch
        drover worklist status --config cloud.yaml
        drover worklist requeue --config cloud.yaml 4711

      A worklist is a table at a machine that the cloud refills with orders when it is ready for them.
      """,
    subcommands: [
      WorklistStatusCommand.self, WorklistTriggerCommand.self, WorklistClearCommand.self, WorklistRequeueCommand.self,
      WorklistWithdrawCommand.self,
    ])
}

struct WorklistStatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Shows the orders of a worklist, and why no more come.",
    discussion: """
      Examples:
        drover worklist status --config edge.yaml
        drover worklist status --config edge.yaml mo_batch --json
        drover worklist status --config cloud.yaml
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Print JSON.")
  var json = false
  @Argument(help: "The worklist. Without it all are shown.")
  var worklist: StreamName?

  func run() async throws {
    switch try options.any() {
    case .edge(let configuration): try MachineWorklists(configuration).show(worklist, json: json)
    case .cloud(let configuration): try QueueView(configuration).show(worklist, json: json)
    }
  }
}

struct WorklistTriggerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trigger",
    abstract: "At a machine: has the agent look now whether the table is ready for orders.",
    discussion: """
      Example:
        drover worklist trigger --config edge.yaml

      The agent asks for orders only if the table is ready.
      """)

  @OptionGroup var options: ConfigurationOption
  @Argument(help: "The worklist. It may be left out if there is only one.")
  var worklist: StreamName?

  func run() async throws {
    switch try options.any() {
    case .edge(let configuration): try MachineWorklists(configuration).trigger(worklist)
    case .cloud: throw notInTheCloud("trigger")
    }
  }
}

struct WorklistClearCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clear",
    abstract: "At a machine: removes all rows of the table, and says which orders were unfinished.",
    discussion: """
      Example:
        drover worklist clear --config edge.yaml mo_batch

      Finished orders that were not sent yet still reach the cloud. The unfinished ones do not come again by themselves: the cloud lists
      them as withdrawn. The agent then asks for the next orders.
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Do not ask.")
  var yes = false
  @Argument(help: "The worklist. It may be left out if there is only one.")
  var worklist: StreamName?

  func run() async throws {
    switch try options.any() {
    case .edge(let configuration): try MachineWorklists(configuration).clear(worklist, yes: yes)
    case .cloud: throw notInTheCloud("clear")
    }
  }
}

private func notInTheCloud(_ what: String) -> any Error {
  fail("worklist \(what): this is a cloud's configuration; run the command at the machine, with its own")
}
