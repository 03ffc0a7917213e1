// The command line: one executable, one subcommand for each thing a person wants done.

import ArgumentParser

@main
struct Drover: AsyncParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "drover",
    abstract:
      "Carries the events of a machine's SQLite database to the cloud over MQTT. Nothing is lost, and nothing arrives twice.",
    discussion: """
      On the machine:   drover edge --config edge.yaml
      In the cloud:     drover cloud --config cloud.yaml
      On either side:   drover status --config FILE, drover watch --config FILE,
                        drover doctor --config FILE, drover dead list --config FILE,
                        drover compare --config FILE, drover sync --config FILE
      """,
    version: version,
    subcommands: [
      EdgeCommand.self, CloudCommand.self, EmitCommand.self, StatusCommand.self, WatchCommand.self, TailCommand.self,
      DoctorCommand.self,
      DeadCommand.self, ConflictsCommand.self, WorklistCommand.self,
      SyncCommand.self, CompareCommand.self, CheckCommand.self, ResyncCommand.self, BackupCommand.self,
      RestoreCommand.self, RebuildCommand.self,
      SchemaCommand.self, ForgetCommand.self, DetachCommand.self, BenchCommand.self, SimulateFleetCommand.self,
    ])
}

/// The one option that every command takes.
struct ConfigurationOption: ParsableArguments, Sendable {
  @Option(
    name: .long, help: ArgumentHelp("The configuration file (docs/configuration.md lists its keys).", valueName: "file")
  )
  var config: String
}
