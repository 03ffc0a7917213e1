import ArgumentParser
import DroverCore
import DroverWire
import Foundation

struct DeadShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Shows one dead letter with its content.",
    discussion: """
      Example:
        drover dead show --config cloud.yaml 7

      Bytes that are not UTF-8 are shown as hexadecimal digits.
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Print JSON.")
  var json = false
  @Argument(help: "The letter's number, as `drover dead list` shows it.")
  var id: Int64

  func run() async throws {
    let store = try DeadLetters(options, forChange: false).store
    let letter: KeptLetter?
    let content: LetterContent?
    do {
      letter = try store.letters(DeadLetterFilter(id: id), limit: 1).first
      content = try store.content(of: id)
    } catch {
      throw fail("\(error)")
    }
    guard let letter, let content else { throw fail("show: there is no dead letter \(id)") }
    if json {
      print(JSON.object(letter.members + content.members).text(pretty: true))
      return
    }
    print("\(column("id"))\(id)")
    for case let (name, .string(text)) in letter.members { print("\(column(name))\(printable(text))") }
    print("\(column("count"))\(letter.count)\n\(column("bytes"))\(letter.bytes)")
    content.print(column)
  }

  private func column(_ name: String) -> String {
    name.replacing("_", with: " ").padding(toLength: 12, withPad: " ", startingAt: 0)
  }
}

extension LetterContent {
  fileprivate func print(_ column: (String) -> String) {
    switch self {
    case .message(let raw, let isCut):
      Swift.print(isCut ? "\(column("raw"))the first \(raw.count) bytes; the rest was not kept" : "raw")
      Swift.print(Self.readable(raw))
    case .entry(let seq, let operation, let version, let key, let body, let row):
      Swift.print("\(column("seq"))\(seq)\n\(column("op"))\(operation)")
      Swift.print("\(column("version"))\(version), \(Timestamp.text(microseconds: version))")
      Swift.print("\(column("key"))\(printable(key.map(valueText).joined(separator: ", ")))")
      if let body { Swift.print("body\n\(Self.readable(body))") }
      if !row.isEmpty { Swift.print("row") }
      for field in row { Swift.print("  \(printable(field.name)) = \(printable(valueText(field.value)))") }
      if body == nil, row.isEmpty { Swift.print("\(column("row"))in its table, as it is now") }
    }
  }

  private static func readable(_ bytes: [UInt8]) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      return "not UTF-8, as hexadecimal digits:\n" + hexadecimal(bytes)
    }
    return printable(text, keeping: ["\n", "\t"])
  }
}
