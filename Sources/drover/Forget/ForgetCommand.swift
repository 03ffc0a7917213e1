import ArgumentParser
import DroverConfiguration
import DroverCore
import Foundation

struct ForgetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "forget",
    abstract: "Removes a machine from the fleet for good.",
    discussion: """
      Examples:
        drover forget --config cloud.yaml --machine MAH001
        drover forget --config cloud.yaml --machine TEST --rows remove --yes

      The command clears the machine's retained messages at the broker, and removes the machine from the store, with its dead letters. Its
      rows stay unless --rows remove is given. Renamed old tables (`…_until_…`) keep their rows in any case. Stop the machine's agent first,
      or the machine is back within seconds. The consumer may be running. The command asks first; without a terminal it does nothing unless
      --yes is given.
      """)

  enum Rows: String, ExpressibleByArgument, CaseIterable {
    case keep, remove
  }

  @OptionGroup var options: ConfigurationOption
  @Option(help: "The machine.")
  var machine: MachineID
  @Option(help: "Whether its rows in the cloud's tables stay.")
  var rows = Rows.keep
  @Flag(help: "Do not ask.")
  var yes = false

  func run() async throws {
    let configuration = try options.cloud()
    do {
      guard let report = try configuration.reader.report(ReportScope(only: machine.text)) else {
        throw fail("forget: \(configuration.reader.name) is not there")
      }
      let dead = try configuration.openDeadLetters(readOnly: true).count(DeadLetterFilter(machine: machine))
      let known = report.machines.first
      guard
        try yes
          || confirm(
            "Forget \(machine)? \(account(known, dead))",
            "forget: \(machine) would be forgotten; \(account(known, dead))"
          )
      else {
        print("nothing was forgotten")
        return
      }
      let cleared = try await RetainedMessages.clear(machine, known: known?.streams.map(\.name) ?? [], configuration)
      let removed = try configuration.openStore().transaction {
        try $0.forgetMachine(machine, removesRows: rows == .remove)
      }
      let purged = dead > 0 ? try configuration.openDeadLetters().purge(DeadLetterFilter(machine: machine)) : 0
      print(
        known == nil && cleared.topics.isEmpty && purged == 0
          ? "nothing was known of \(machine)"
          : "\(machine) is forgotten: \(quantity(removed, "row")) removed, \(quantity(purged, "dead letter")) purged, \(quantity(cleared.topics.count, "retained message")) cleared"
      )
      guard cleared.failures.isEmpty else {
        throw fail(
          "forget: \(cleared.failures.joined(separator: "; ")); the broker keeps these messages, so a consumer that starts will list the machine again"
        )
      }
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("forget \(machine): \(error)")
    }
  }

  /// What it costs, for the person who is asked.
  private func account(_ known: CloudReport.Machine?, _ dead: Int) -> String {
    guard let known else { return "The store knows nothing of it." }
    let count = known.streams.reduce(0) { sum, stream in
      sum + (stream.rows ?? 0) + stream.lines.reduce(0) { $0 + ($1.rows ?? 0) }
    }
    var parts = [
      rows == .keep ? "It keeps \(quantity(count, "row")) in the cloud" : "\(quantity(count, "row")) will be removed"
    ]
    if known.conflicts > 0 {
      parts.append("\(quantity(known.conflicts, "conflict")) will be deleted with the values that lost")
    }
    if dead > 0 { parts.append("\(quantity(dead, "dead letter")) will be deleted") }
    if let waiting = known.outbox?.figures.waiting, waiting > 0 {
      parts.append("\(quantity(waiting, "event")) not confirmed at the machine")
    }
    if known.isOnline == true {
      parts.append("its agent is online: stop it first, or the machine comes back")
    }
    return parts.joined(separator: "; ") + "."
  }
}
