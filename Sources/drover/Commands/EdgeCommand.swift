import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverHTTP
import Logging
import ServiceLifecycle

struct EdgeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "edge",
    abstract: "Runs the edge agent: captures what the app writes and sends it to the cloud.",
    discussion: """
      Example:
        drover edge --config /etc/drover/edge.yaml

      The agent adds tables named drover_… and triggers to the app's database. `drover detach` removes them.
      SIGTERM ends the agent after the work in hand. SIGKILL is safe, too.
      """)

  @OptionGroup var options: ConfigurationOption

  func run() async throws {
    let configuration = try options.edge()
    let logger = makeLogger("drover edge", level: configuration.logLevel)
    let hangups = await HangupWatch(logger: logger) { [options] in try options.edge() }
    do {
      try await EdgeAgent.run(
        configuration,
        beside: { look in
          let services: [(any Service)?] = [configuration.httpServer(logger: logger, look: look), hangups]
          return services.compactMap(\.self)
        }, logger: logger)
    } catch {
      throw fail("\(error)")
    }
  }
}
