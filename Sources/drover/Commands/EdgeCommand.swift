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
    var isRenamed = true
    while isRenamed {
      isRenamed = try await work(
        try await MachineNameWait.configuration(of: options, logger: makeLogger("drover edge", level: .info)))
    }
  }

  /// Works until a signal ends it, or the machine has another name.
  /// - Returns: whether it has.
  private func work(_ configuration: EdgeConfiguration) async throws -> Bool {
    let logger = makeLogger("drover edge", level: configuration.logLevel)
    let hangups = await HangupWatch(logger: logger) { [options] in try options.edge() }
    let name = configuration.naming.map { _ in
      MachineNameWatch(options: options, machine: configuration.machine, logger: logger)
    }
    do {
      try await EdgeAgent.run(
        configuration,
        beside: { look in
          let services: [(any Service)?] = [configuration.httpServer(logger: logger, look: look), hangups]
          return services.compactMap(\.self)
        }, errand: name, logger: logger)
    } catch {
      throw fail("\(error)")
    }
    return name?.isRenamed ?? false
  }
}
