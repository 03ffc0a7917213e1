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
    let side = try DeadLetters(options, forChange: false)
    let (letters, total): ([KeptLetter], Int)
    var refused: RefusalList?
    do {
      let store = side.store
      (letters, total) =
        which.meansLetters ? (try store.letters(which.filter, limit: limit), try store.count(which.filter)) : ([], 0)
      if let cloud = try side.cloud(which), let filter = which.refusals {
        refused = try cloud.reader.refusals(filter, after: 0, limit: limit)
      }
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("\(error)")
    }
    if json {
      let members: [(String, JSON)] = [
        ("total", .integer(Int64(total))), ("letters", .array(letters.map(\.json))),
      ]
      print(JSON.object(members + (refused.map { [("at_machines", $0.json)] } ?? [])).text(pretty: true))
      return
    }
    if total > 0 { show(letters, total) }
    if let refused, refused.total + refused.unnamed > 0 {
      if total > 0 { print("") }
      show(refused)
    } else if total == 0 {
      print("no dead letters\(which.description)")
    }
  }

  private func show(_ refused: RefusalList) {
    print("rows from the cloud that machines refuse; an edit that the machine's table takes clears them")
    var table = TextTable(
      columns: ["last tried", "machine", "stream", "row", "reason", "tries", "cause"], numeric: [5])
    for kept in refused.rows {
      table.add([
        Timestamp.text(microseconds: kept.row.last), kept.machine.text, kept.row.stream.text,
        Self.cut(printable(kept.row.localID)), printable(kept.row.reason), "\(kept.row.tries)",
        Self.cut(printable(kept.row.cause)),
      ])
    }
    print(table.text)
    if refused.total > refused.rows.count {
      print("\(refused.total - refused.rows.count) more; --limit \(refused.total) lists them too")
    }
    if refused.unnamed > 0 {
      print(
        "\(quantity(refused.unnamed, "more row")) beyond those that the machines name; `drover dead list` there shows them"
      )
    }
  }

  private static func cut(_ text: String) -> String {
    text.count > detailWidth ? text.prefix(detailWidth - 1) + "…" : text
  }

  private func show(_ letters: [KeptLetter], _ total: Int) {
    var table = TextTable(
      columns: ["id", "last seen", "machine", "stream", "reason", "count", "detail"], numeric: [0, 5])
    for letter in letters {
      table.add([
        "\(letter.id)", Timestamp.text(microseconds: letter.lastAt), letter.machine?.text ?? "-",
        letter.stream?.text ?? "-", letter.reason, "\(letter.count)",
        Self.cut(printable(letter.detail)),
      ])
    }
    print(table.text)
    if total > letters.count { print("\(total - letters.count) more; --limit \(total) lists them too") }
  }
}
