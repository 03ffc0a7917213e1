// `drover schema pin`: what the store has of its streams, as the section `streams` of the cloud's configuration.

import ArgumentParser
import DroverConfiguration
import DroverCore

struct SchemaPinCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pin",
    abstract: "Prints the section `streams:` for the configuration, as the store has the streams now.",
    discussion: """
      Examples:
        drover schema pin --config cloud.yaml
        drover schema pin --config cloud.yaml --stream orders >> cloud.yaml

      No machine can change what is pinned: a schema that differs waits. The command changes nothing. Copy what it prints into the
      configuration, and restart the consumer.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: "Only this stream.")
  var stream: StreamName?

  func run() async throws {
    let pins: [StreamPin]
    do { pins = try options.cloud().reader.pins() } catch let code as ExitCode { throw code } catch {
      throw fail("schema: \(error)")
    }
    let wanted = pins.filter { stream == nil || $0.name == stream }
    guard !wanted.isEmpty else { throw fail("schema: the store has no such stream yet; there is nothing to pin") }
    print(StreamPin.yaml(wanted), terminator: "")
  }
}
