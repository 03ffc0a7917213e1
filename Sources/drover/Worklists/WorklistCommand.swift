// `drover worklist`: tables at machines that the cloud refills with orders.

import ArgumentParser
import DroverConfiguration
import DroverCore

struct WorklistCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worklist",
    abstract: "Shows the queue of orders, and requeues and withdraws orders.",
    discussion: """
      Examples:
        drover worklist status --config cloud.yaml
        drover worklist requeue --config cloud.yaml 4711

      A worklist is a table at a machine that the cloud refills with orders when it is ready for them.
      """,
    subcommands: [WorklistStatusCommand.self, WorklistRequeueCommand.self, WorklistWithdrawCommand.self])
}

struct WorklistStatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Shows the orders of a worklist, and why no more come.",
    discussion: """
      Examples:
        drover worklist status --config cloud.yaml
        drover worklist status --config cloud.yaml mo_batch --json
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Print JSON.")
  var json = false
  @Argument(help: "The worklist. Without it all are shown.")
  var worklist: StreamName?

  func run() async throws {
    switch try options.any() {
    case .edge: throw fail("worklist status: this is a machine's configuration; run it with the cloud's")
    case .cloud(let configuration): try QueueView(configuration).show(worklist, json: json)
    }
  }
}
