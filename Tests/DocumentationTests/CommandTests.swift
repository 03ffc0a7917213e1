// What the pages and the messages tell people to type has to exist. The program itself says what there is.

import Foundation
import Testing

@Suite struct CommandTests {
  /// Each command with its subcommands, such as `dead list`, and its options.
  private let options: [String: Set<String>]

  init() async throws {
    options = try await Program.commands()
  }

  @Test func `every command and option that a page names is there`() {
    for page in Repository.pages {
      for (number, text) in page.lines.enumerated() {
        for line in Self.commands(in: text, isCode: page.isCode(number)) {
          check(line, "\(page.path):\(number + 1)")
        }
      }
    }
  }

  @Test func `every command that a file of settings, a script or a message names is there`() throws {
    let files =
      ["Makefile", "compose.yaml", "Dockerfile"] + Repository.files(in: "broker")
      + Repository.files(in: "Sources", endings: [".swift", ".yaml"])
    for path in files {
      for place in try Repository.occurrences(of: "`drover ", in: path, while: { !"`\n\\".utf8.contains($0) }) {
        // A message that is put together at run time is not read beyond the first value.
        check(String(place.text.dropFirst()), "\(path):\(place.line)")
      }
    }
  }

  @Test func `every target of make that a page names is there`() throws {
    let targets = Set(
      try Repository.text("Makefile").split(separator: "\n").compactMap { $0.firstMatch(of: /^([a-z-]+):/)?.output.1 })
    for page in Repository.pages {
      for (number, line) in page.lines.enumerated() {
        for match in line.matches(of: page.isCode(number) ? /(?:^|\$ )make ([a-z-]+)/ : /`make ([a-z-]+)/) {
          #expect(targets.contains(match.output.1), "\(page.path):\(number + 1): make \(match.output.1)")
        }
      }
    }
  }

  @Test func `the packages that a page installs are those of the image`() throws {
    let image = try Repository.text("Dockerfile")
    let lists = image.matches(of: /no-install-recommends ([^\\]*)\\/).map {
      Set($0.output.1.split(separator: " ").filter { $0 != "ca-certificates" && !$0.hasPrefix("python") })
    }
    let build = try #require(lists.first { $0.contains("pkg-config") })
    let run = try #require(lists.first { $0.contains("libpq5") })
    var compared = 0
    for page in Repository.pages {
      for (number, line) in page.lines.enumerated() where line.contains("apt-get install ") && line.contains(" lib") {
        let named = Set(line.split(separator: " "))
        let needed = named.contains("pkg-config") ? build : run
        compared += 1
        #expect(needed.isSubset(of: named), "\(page.path):\(number + 1): lacks \(needed.subtracting(named))")
      }
    }
    #expect(compared >= 4)
    let script = try Repository.text("scripts/install-packages")
    for package in build { #expect(script.contains(package), "scripts/install-packages lacks \(package)") }
  }

  /// In code every line is a command; in prose, what stands in backticks.
  private static func commands(in line: Substring, isCode: Bool) -> [String] {
    if isCode {
      return line.matches(of: /(?:^|[\s\/"(])drover ([a-z][^#|;&<>]*)/).map { "drover \($0.output.1)" }
    }
    return line.matches(of: /`(?:[^`]*\s)?(drover [a-z][^`]*)`/).map { String($0.output.1) }
  }

  private func check(_ line: String, _ place: String) {
    let words = line.split(separator: " ").dropFirst().map {
      $0.trimmingCharacters(in: CharacterSet(charactersIn: ",.:\"')"))
    }
    guard let first = words.first else { return }
    // `drover dead list|show` names several.
    for alternative in first.split(separator: "|").map(String.init) {
      guard options[alternative] != nil else {
        Issue.record("\(place): `\(line)`: no such command")
        continue
      }
      var command = alternative
      if words.count > 1, options.keys.contains(where: { $0.hasPrefix("\(alternative) ") }), !words[1].hasPrefix("-") {
        for sub in words[1].split(separator: "|") {
          command = "\(alternative) \(sub)"
          #expect(options[command] != nil, "\(place): `\(line)`: no such command")
        }
      }
      for word in words where word.hasPrefix("--") {
        let option = String(word.prefix { $0 != "=" })
        #expect(options[command]?.contains(option) == true, "\(place): `\(line)`: no option \(option)")
      }
    }
  }
}
