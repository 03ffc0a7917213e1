import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import Foundation

struct DetachCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detach",
    abstract: "Removes everything of Drover's from the app's database.",
    discussion: """
      Example:
        drover detach --config /etc/drover/edge.yaml

      Stop the agent first. Events that the cloud has not confirmed are lost, so with some left the command asks for --force.
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Detach even if events are not confirmed. The cloud will not get them.")
  var force = false

  func run() async throws {
    let configuration = try options.edge()
    do {
      let lock = try AgentLock(database: configuration.database)
      let report = try SQLiteEdgeReader(path: configuration.database).report()
      let waiting = report?.streams.reduce(0) { $0 + $1.pending + $1.synced } ?? 0
      guard waiting == 0 || force else {
        throw fail(
          "detach \(configuration.database): \(quantity(waiting, "event")) not confirmed; run the agent until `drover status` shows none, or add --force to lose them"
        )
      }
      _ = try EdgeDatabase.detach(path: configuration.database)
      lock.removeFile()
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("\(error)")
    }
    print("\(configuration.database): everything of Drover's is removed")
  }
}
