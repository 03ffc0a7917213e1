// What people do with orders in the cloud's queue.

import ArgumentParser
import DroverConfiguration
import DroverCore

struct WorklistRequeueCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "requeue",
    abstract: "In the cloud: puts orders into the queue again, also orders that a machine has.",
    discussion: """
      Examples:
        drover worklist requeue --config cloud.yaml 4711
        drover worklist requeue --config cloud.yaml --in-doubt --machine MAH001

      No order is queued again by itself once a machine has it. Look at the machine first: if it has worked on the order, requeuing
      makes it a second time. A complete order is never requeued.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: ArgumentHelp("The worklist. It may be left out if there is only one.", valueName: "name"))
  var worklist: StreamName?
  @Flag(help: "All orders in doubt: their machine was restored to an earlier state.")
  var inDoubt = false
  @Option(help: ArgumentHelp("With --in-doubt: only orders of this machine.", valueName: "machine"))
  var machine: MachineID?
  @Flag(help: "Do not ask.")
  var yes = false
  @Argument(help: "The orders' keys.")
  var orders: [String] = []

  func validate() throws {
    guard orders.isEmpty == inDoubt else { throw ValidationError("name orders by their keys, or give --in-doubt") }
    guard machine == nil || inDoubt else { throw ValidationError("--machine goes with --in-doubt") }
  }

  func run() async throws {
    try QueueView(options.queue("requeue")).requeue(
      worklist, orders, isInDoubt: inDoubt, machine: machine, yes: yes)
  }
}

struct WorklistWithdrawCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "withdraw",
    abstract: "In the cloud: takes orders out of the queue.",
    discussion: """
      Example:
        drover worklist withdraw --config cloud.yaml 4711 4712

      An order that a machine has is cleared there: `drover worklist clear` with the machine's configuration.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: ArgumentHelp("The worklist. It may be left out if there is only one.", valueName: "name"))
  var worklist: StreamName?
  @Flag(help: "Do not ask.")
  var yes = false
  @Argument(help: "The orders' keys.")
  var orders: [String]

  func run() async throws { try QueueView(options.queue("withdraw")).withdraw(worklist, orders, yes: yes) }
}

extension ConfigurationOption {
  fileprivate func queue(_ command: String) throws -> CloudConfiguration {
    guard case .cloud(let configuration) = try any() else {
      throw fail(
        "worklist \(command): the queue is in the cloud; run the command there, with the cloud's configuration")
    }
    return configuration
  }
}
