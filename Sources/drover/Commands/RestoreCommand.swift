import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverTerminal

struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Makes a machine's database again from the cloud's tables.",
    discussion: """
      Examples:
        drover restore --config cloud.yaml --machine MAH001 --to app.db
        drover restore --config cloud.yaml --machine MAH001 --stream stock --table stock=local_stock_snapshots --to app.db

      Each captured stream becomes a table of its own name with the machine's columns, types and key, and every value as it was. Indexes,
      constraints and triggers belong to the app: if it has made its tables already, the command fills them. It changes tables that exist
      only after a question, or with --yes. Rows that the cloud does not have stay, unless --replace is given. All of it is one transaction.
      Stop the app and the agent first. Streams without a table are not restored.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: "The machine whose tables are restored.")
  var machine: MachineID
  @Option(help: ArgumentHelp("Only this stream.", valueName: "stream"))
  var stream: StreamName?
  @Option(help: ArgumentHelp("The SQLite database. It is made if it does not exist.", valueName: "file"))
  var to: String
  @Option(
    help: ArgumentHelp("A table whose name is not its stream's name. May be repeated.", valueName: "stream=table"))
  var table: [TableName] = []
  @Flag(help: "Delete rows that the cloud does not have.")
  var replace = false
  @Flag(help: "Do not ask.")
  var yes = false

  func run() async throws {
    let configuration = try options.cloud()
    let path = try configuration.sqlitePath(
      for: "restore",
      orElse:
        "a machine's rows are in PostgreSQL's tables under its machine_id, and over HTTP in /v1/export (docs/how-to/back-up-and-restore.md)"
    )
    if let agent = AgentLock.holder(database: to) {
      throw fail("restore \(to): an agent works on this database (process \(agent)); stop it first")
    }
    do {
      let restore = try MachineRestore(
        store: path, machine: machine, stream: stream, to: to,
        tables: Dictionary(table.map { ($0.stream, $0.table) }) { _, last in last })
      let plan = try restore.plan()
      let changed = plan.filter { !$0.isNew && changes($0) }
      if !changed.isEmpty, !yes {
        print(text(changed, isDone: false))
        guard
          try confirm(
            "Change \(quantity(changed.count, "table")) of \(to)?",
            "restore: \(quantity(changed.count, "table")) of \(to) would be changed")
        else {
          print("nothing was changed")
          return
        }
      }
      print(text(try restore.run(removesExtra: replace), isDone: true))
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("\(error)")
    }
  }

  /// Whether rows of it would be added, replaced or deleted.
  private func changes(_ table: RestoredTable) -> Bool {
    table.added > 0 || table.replaced > 0 || replace && table.extra > 0
  }

  private func text(_ tables: [RestoredTable], isDone: Bool) -> String {
    var table = TextTable(
      columns: ["table", "stream", "added", "replaced", "the same", replace ? "deleted" : "not in the cloud", ""],
      numeric: [2, 3, 4, 5])
    for each in tables {
      table.add([
        each.table, each.stream.text, "\(each.added)", "\(each.replaced)", "\(each.same)", "\(each.extra)",
        isDone ? (each.isNew ? "made" : changes(each) ? "filled" : "unchanged") : "would change",
      ])
    }
    return table.text
  }
}

/// `stock=local_stock_snapshots`.
struct TableName: ExpressibleByArgument {
  let stream: StreamName
  let table: String

  init?(argument: String) {
    // A stream's name may hold the sign, a table's too; the first one counts.
    let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2, !parts[1].isEmpty, let stream = StreamName(argument: parts[0]) else { return nil }
    (self.stream, table) = (stream, parts[1])
  }
}
