// `drover schema`: tables of machines that have become something else than the cloud's, and what to do with them.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverTerminal
import DroverWire

struct SchemaCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema",
    abstract: "Lists and accepts schemas that wait, and pins the schemas of streams.",
    discussion: """
      Examples:
        drover schema list --config cloud.yaml
        drover schema accept --config cloud.yaml --machine MAH001 --stream stock
        drover schema pin --config cloud.yaml

      New and dropped columns of a machine are followed automatically. Another key or kind is not, nor is a change that would affect other
      machines that use the table, such as another type or `identity`. Then the stream waits at the machine, and everything else goes on.
      """,
    subcommands: [SchemaListCommand.self, SchemaAcceptCommand.self, SchemaPinCommand.self])
}

struct SchemaListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Lists the schemas that wait, and why.")

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let reader = try options.cloud().reader
    let waiting: [WaitingSchema]
    do { waiting = try reader.waitingSchemas() } catch { throw fail("schema: \(error)") }
    if json { return print(JSON.array(waiting.map(\.document)).text(pretty: true)) }
    guard !waiting.isEmpty else { return print("no schema waits") }
    var table = TextTable(columns: ["machine", "stream", "since", "why it waits"], numeric: [])
    for schema in waiting {
      table.add([
        schema.machine.text, schema.stream.text, Timestamp.text(microseconds: schema.since),
        printable(schema.difference),
      ])
    }
    print(table.text)
  }
}

struct SchemaAcceptCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "accept", abstract: "Accepts a schema that waits, and changes the cloud's table to it.",
    discussion: """
      If the table cannot follow, it is renamed, with the time in its name, and keeps its rows; a new one is made. All rows of the
      machine's table arrive within seconds, with the events that wait. The consumer may be running.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: "The machine.")
  var machine: MachineID
  @Option(help: "The stream.")
  var stream: StreamName

  func run() async throws {
    let configuration = try options.cloud()
    do {
      // Read first: opening the store would make one.
      let waits = try configuration.reader.waitingSchemas().contains {
        $0.machine == machine && $0.stream == stream
      }
      guard waits,
        let acceptance = try configuration.openStore().transaction({ try $0.accept(machine: machine, stream: stream) })
      else {
        throw fail("schema: none of \(stream) of \(machine) waits; `drover schema list` shows those that do")
      }
      guard !acceptance.aside.isEmpty else {
        return print("\(stream) has the schema of \(machine) now; no row has changed")
      }
      print(
        "\(stream) is made again with the schema of \(machine); its old rows are in \(acceptance.aside.joined(separator: ", "))"
      )
      print("`drover check --stream \(stream) --repair` re-sends the rows of other machines, once they are connected")
    } catch let refused as AcceptanceRefused {
      throw fail(
        "schema: accept \(stream) of \(machine): \(refused); change `streams` or `limits` in \(options.config), and restart the consumer"
      )
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("schema: \(error)")
    }
  }
}

extension WaitingSchema {
  var difference: String {
    var parts = [reason]
    if !added.isEmpty { parts.append("new: \(added.joined(separator: ", "))") }
    if !missing.isEmpty { parts.append("no longer there: \(missing.joined(separator: ", "))") }
    return parts.joined(separator: "; ")
  }
}
