import ArgumentParser
import DroverCore
import DroverTerminal
import DroverWire

struct DeadListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "Lists dead letters, the newest first.",
    discussion: """
      Example:
        drover dead list --config cloud.yaml --stream temperature --reason conflict

      The list does not show the content of the letters; `drover dead show` does.
      """)

  @OptionGroup var options: ConfigurationOption
  @OptionGroup var which: DeadLetterOptions
  @Option(help: ArgumentHelp("List at most this number of letters.", valueName: "number"))
  var limit: Int = 50
  @Flag(help: "Print JSON.")
  var json = false

  /// A detail is a sentence; the table shows this much of it.
  private static let detailWidth = 80

  func validate() throws {
    guard limit > 0 else { throw ValidationError("--limit is a number above 0") }
  }

  func run() async throws {
    let store = try DeadLetters(options, forChange: false).store
    let (letters, total): ([KeptLetter], Int)
    do {
      (letters, total) = (try store.letters(which.filter, limit: limit), try store.count(which.filter))
    } catch {
      throw fail("\(error)")
    }
    if json {
      print(
        JSON.object([("total", .integer(Int64(total))), ("letters", .array(letters.map(\.json)))]).text(pretty: true))
      return
    }
    guard total > 0 else {
      print("no dead letters\(which.description)")
      return
    }
    var table = TextTable(
      columns: ["id", "last seen", "machine", "stream", "reason", "count", "detail"], numeric: [0, 5])
    for letter in letters {
      let detail = printable(letter.detail)
      table.add([
        "\(letter.id)", Timestamp.text(microseconds: letter.lastAt), letter.machine?.text ?? "-",
        letter.stream?.text ?? "-", letter.reason, "\(letter.count)",
        detail.count > Self.detailWidth ? detail.prefix(Self.detailWidth - 1) + "…" : detail,
      ])
    }
    print(table.text)
    if total > letters.count { print("\(total - letters.count) more; --limit \(total) lists them too") }
  }
}
