// `drover conflicts`: edits that lost against another edit of the same row, and what a person does about them.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverTerminal
import DroverWire

struct ConflictsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "conflicts",
    abstract: "Lists, shows and resolves edits that lost a conflict.",
    discussion: """
      Examples:
        drover conflicts list --config cloud.yaml
        drover conflicts show --config cloud.yaml 7
        drover conflicts resolve --config cloud.yaml 7 --take machine

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
    let (conflicts, total) = try reading {
      let store = try options.cloud().openConflicts()
      return (
        try store.conflicts(machine: machine, stream: stream, after: 0, limit: limit), try store.conflictCount()
      )
    }
    if json {
      let listed = JSON.array(conflicts.map { .object($0.members) })
      return print(JSON.object([("total", .integer(Int64(total))), ("conflicts", listed)]).text(pretty: true))
    }
    guard !conflicts.isEmpty else { return print("no conflicts") }
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
    if conflicts.count == limit, total > limit { print("\(total) conflicts in all; --limit lists more") }
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
    let found = try reading { try options.cloud().openConflicts().conflict(id) }
    guard let conflict = found else { throw fail("show: there is no conflict \(id)") }
    if json { return print(JSON.object(conflict.members).text(pretty: true)) }
    print("row \(printable(conflict.localID)) of \(conflict.stream), machine \(conflict.machine)")
    print("decided \(Timestamp.text(microseconds: conflict.at)); the edit of the \(conflict.lost.loser.rawValue) lost")
    if conflict.hasChangedSince { print("the row has changed since") }
    var table = TextTable(columns: ["column", "lost", "now", ""], numeric: [])
    for (index, name) in conflict.columns.enumerated() {
      let lost = conflict.lost.value.map { printable(valueText($0[index])) } ?? "(deleted)"
      let now = conflict.present.map { printable(valueText($0[index])) } ?? "(no row)"
      table.add([printable(name), lost, now, lost == now ? "" : "differs"])
    }
    print(table.text)
  }
}

struct ConflictsResolveCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resolve",
    abstract: "Resolves a conflict: keeps the row, or writes the value that lost.",
    discussion: """
      Examples:
        drover conflicts resolve --config cloud.yaml 7 --take cloud
        drover conflicts resolve --config cloud.yaml 7 --take both

      --take names the side whose value the row gets. If that side won, the row stays as it is. If it lost, its value is written into
      the row, and the machine gets it. --take both keeps the row and inserts the other value under a new key; it works only if both
      sides made a new row under one key. Nothing is done if the row has changed since the command looked at it.
      """)

  /// Whose value the row gets.
  enum Take: String, ExpressibleByArgument, CaseIterable {
    case cloud
    case machine
    case both
  }

  @OptionGroup var options: ConfigurationOption
  @Option(help: "Whose value the row gets: cloud, machine or both.")
  var take: Take
  @Argument(help: "The conflict's number, as `drover conflicts list` shows it.")
  var id: Int64

  func run() async throws {
    let outcome = try reading { () throws -> ResolveOutcome in
      let store = try options.cloud().openConflicts(forChange: true)
      guard let conflict = try store.conflict(id) else { return .unknown }
      let choice: ConflictChoice =
        take == .both ? .both : take.rawValue == conflict.lost.loser.rawValue ? .takeLost : .keep
      return try store.resolve(id, choice, seen: conflict.present)
    }
    switch outcome {
    case .resolved: print("conflict \(id) is resolved")
    case .unknown: throw fail("resolve: there is no conflict \(id)")
    case .changed:
      throw fail("resolve \(id): the row has changed in this moment, and nothing was done; look at it again and repeat")
    case .refused(let reason): throw fail("resolve \(id): \(reason); nothing was done")
    }
  }
}

/// What the store says as an error of the command.
private func reading<Result>(_ body: () throws -> Result) throws -> Result {
  do {
    return try body()
  } catch let code as ExitCode {
    throw code
  } catch {
    throw fail("\(error)")
  }
}

extension Conflict {
  fileprivate func text(of values: [Value]) -> String {
    zip(columns, values).map { "\($0)=\(valueText($1))" }.joined(separator: " ")
  }

  fileprivate var members: [(String, JSON)] {
    func row(_ values: [Value]?) -> JSON {
      values.map { .object(zip(columns, $0).map { ($0, .string(valueText($1))) }) } ?? .null
    }
    return [
      ("id", .integer(id)), ("machine", .string(machine.text)), ("stream", .string(stream.text)),
      ("row", .string(localID)), ("decided", .string(Timestamp.text(microseconds: at))),
      ("reason", .string(lost.reason.rawValue)), ("lost", .string(lost.loser.rawValue)), ("value", row(lost.value)),
      ("present", row(present)), ("changed_since", .bool(hasChangedSince)),
    ]
  }
}
