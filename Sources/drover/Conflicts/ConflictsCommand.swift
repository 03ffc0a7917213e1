// `drover conflicts`: edits that lost against another edit of the same row, and what a person does about them.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverTerminal
import DroverWire

struct ConflictsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "conflicts",
    abstract: "Lists, shows and resolves edits that lost a conflict, on either side.",
    discussion: """
      Examples:
        drover conflicts list --config cloud.yaml
        drover conflicts show --config cloud.yaml 7
        drover conflicts resolve --config cloud.yaml 7 --take machine

      At a machine, the agent asks the cloud for the conflicts of this machine's rows. It has to run and to be connected.

      Both sides edited a row without knowing of each other. One edit won on both sides. The value of the other one is kept here
      until a person resolves it.
      """,
    subcommands: [ConflictsListCommand.self, ConflictsShowCommand.self, ConflictsResolveCommand.self])
}

struct ConflictsListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "Lists conflicts, the oldest first.",
    discussion: """
      Example:
        drover conflicts list --config cloud.yaml --machine MAH001
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: ArgumentHelp("Only conflicts of this machine.", valueName: "machine"))
  var machine: MachineID?
  @Option(help: ArgumentHelp("Only conflicts of this stream.", valueName: "stream"))
  var stream: StreamName?
  @Option(help: ArgumentHelp("List at most this number of conflicts.", valueName: "number"))
  var limit: Int = 50
  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard limit > 0 else { throw ValidationError("--limit is a number above 0") }
  }

  func run() async throws {
    let filter = ConflictFilter(machine: machine, stream: stream)
    let (conflicts, total) = try await askingForConflicts { try await options.conflicts().first(limit, filter) }
    if json {
      return print(
        JSON.object([("total", .integer(Int64(total))), ("conflicts", .array(conflicts.map(\.document)))])
          .text(pretty: true))
    }
    guard !conflicts.isEmpty else { return print("no conflicts\(filter.description)") }
    var table = TextTable(
      columns: ["id", "decided", "machine", "stream", "row", "reason", "lost", "value"], numeric: [0])
    for conflict in conflicts {
      table.add([
        "\(conflict.id)", Timestamp.text(microseconds: conflict.at), conflict.machine.text, conflict.stream.text,
        printable(conflict.localID), conflict.lost.reason.rawValue, conflict.lost.loser.rawValue,
        conflict.lost.value.map { String(printable(conflict.text(of: $0)).prefix(60)) } ?? "a delete",
      ])
    }
    print(table.text)
    if total > conflicts.count { print("\(total - conflicts.count) more; --limit \(total) lists them too") }
  }
}

struct ConflictsShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Shows one conflict: the value that lost beside the row as it is now.",
    discussion: """
      Example:
        drover conflicts show --config cloud.yaml 7
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Print JSON.")
  var json = false
  @Argument(help: "The conflict's number, as `drover conflicts list` shows it.")
  var id: Int64

  func run() async throws {
    let found = try await askingForConflicts { try await options.conflicts().conflict(id) }
    guard let conflict = found else { throw fail("show: there is no conflict \(id)") }
    if json { return print(conflict.document.text(pretty: true)) }
    print("row \(printable(conflict.localID)) of \(conflict.stream), machine \(conflict.machine)")
    print("decided \(Timestamp.text(microseconds: conflict.at)); the edit of the \(conflict.lost.loser.rawValue) lost")
    if let problem = conflict.problem {
      print("\(problem); only keeping is possible")
    } else if conflict.hasChangedSince {
      print("the row has changed since; to resolve the conflict with the row as it is now, add --seen \(conflict.seen)")
    }
    var table = TextTable(columns: ["column", "lost", "now", ""], numeric: [])
    let differing = Set(conflict.differing)
    for (index, name) in conflict.columns.enumerated() {
      let lost = conflict.lost.value.map { printable(valueText($0[index])) } ?? "(deleted)"
      let now = conflict.present.map { printable(valueText($0[index])) } ?? (conflict.problem == nil ? "(no row)" : "?")
      table.add([printable(name), lost, now, differing.contains(index) ? "differs" : ""])
    }
    print(table.text)
  }
}

extension Conflict {
  fileprivate func text(of values: [Value]) -> String {
    zip(columns, values).map { "\($0)=\(valueText($1))" }.joined(separator: " ")
  }
}
