// `drover schema`: tables of machines that have become something else than the cloud's, and what to do with them.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverTerminal
import DroverWire

struct SchemaCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema",
    abstract: "Lists, accepts and pins what streams are in the cloud.",
    discussion: """
      Examples:
        drover schema list --config cloud.yaml
        drover schema accept --config cloud.yaml --machine MAH001 --stream stock
        drover schema pin --config cloud.yaml

      A machine's new and dropped columns are followed without a word. Another key or kind is not, nor is what would change a table for other
      machines that use it, such as another type or `identity`: the stream waits at the machine, and everything else goes on.
      """,
    subcommands: [SchemaListCommand.self, SchemaAcceptCommand.self, SchemaPinCommand.self])
}

struct SchemaListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Shows the schemas that wait, and what is different.")

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
    commandName: "accept", abstract: "Lets the cloud's table follow a schema that waits.",
    discussion: """
      Where the table cannot follow, it keeps its rows under a name with the time, and is made anew. What waits at the machine arrives within seconds, and with it all rows of
      its table. The consumer may be running.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: "Whose schema.")
  var machine: MachineID
  @Option(help: "Of which stream.")
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
        return print("\(stream) is as \(machine) has it now; no row has changed")
      }
      print(
        "\(stream) is made anew as \(machine) has it; its rows until now are in \(acceptance.aside.joined(separator: ", "))"
      )
      print("`drover check --stream \(stream) --repair` has other machines' rows sent again, once they are connected")
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
