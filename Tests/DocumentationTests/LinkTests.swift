// A page had linked an anchor that did not exist, called one decision by the number of another, and had a table that a
// blank line cut in two. These tests read every page.

import Foundation
import Testing

@Suite struct LinkTests {
  @Test func `every link leads to a page and a heading that exist`() throws {
    for page in Repository.pages {
      for link in page.links where !link.target.contains("://") && !link.target.hasPrefix("mailto:") {
        let parts = link.target.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let file = parts[0].isEmpty ? page.path : Repository.resolve(String(parts[0]), from: page.path)
        let place = "\(page.path):\(link.line): \(link.target)"
        guard let file, Repository.exists(file) else {
          Issue.record("\(place) leads to nothing")
          continue
        }
        guard parts.count == 2 else { continue }
        #expect(Repository.anchors[file]?.contains(String(parts[1])) == true, "\(place): no such heading")
      }
    }
  }

  @Test func `a link that names a decision leads to that decision`() {
    for page in Repository.pages {
      for link in page.links {
        guard let number = link.text.firstMatch(of: /[Dd]ecision (\d+)/)?.output.1 else { continue }
        let name = link.target.split(separator: "/").last ?? ""
        #expect(
          name.hasPrefix(String(repeating: "0", count: 4 - number.count) + number),
          "\(page.path):\(link.line): \(link.text) leads to \(link.target)")
      }
    }
  }

  @Test func `no two decisions have one number`() {
    let numbers = Repository.files(in: "docs/decisions", endings: [".md"]).compactMap {
      $0.firstMatch(of: /\/(\d{4})-/)?.output.1
    }
    #expect(numbers.count == Set(numbers).count)
  }

  @Test func `every page of the documentation can be reached from its index`() {
    var found: Set<String> = []
    var next = ["docs/README.md"]
    while let path = next.popLast() {
      guard found.insert(path).inserted, path.hasSuffix(".md"), let page = try? Page(path: path) else { continue }
      next += page.links.filter { !$0.target.contains("://") }.compactMap {
        Repository.resolve(String($0.target.prefix { $0 != "#" }), from: path)
      }
    }
    for page in Repository.pages where page.path.hasPrefix("docs/") {
      #expect(found.contains(page.path), "no page links \(page.path)")
    }
  }

  @Test func `every file that a text, a comment or a message names is there`() throws {
    let texts =
      Repository.pages.map(\.path) + ["Makefile", "compose.yaml", "Dockerfile", "Package.swift"]
      + Repository.files(in: "broker") + Repository.files(in: "scripts")
      + Repository.files(in: "Sources", endings: [".swift", ".yaml"])
      + Repository.files(in: "Tests", endings: [".swift", ".sh", ".py"])
    let folders = ["docs", "broker", "scripts", "compose", "Sources", "Tests", "Benchmarks"]
    let names = folders.flatMap { Repository.files(in: $0) }
    for path in texts {
      for folder in folders {
        for place in try Repository.occurrences(of: "\(folder)/", in: path, while: Self.isInName) {
          // Within a longer path, such as an address, it is something else.
          if let before = place.before, !" `'\"([=:\n".utf8.contains(before) { continue }
          let name = String(place.text.reversed().drop { "./".contains($0) }.reversed())
          // The beginning of a name will do, such as `docs/decisions/0020`; so will a folder.
          #expect(names.contains { $0.hasPrefix(name) }, "\(path):\(place.line): \(name) is not there")
        }
      }
    }
  }

  private static func isInName(_ byte: UInt8) -> Bool {
    switch Character(UnicodeScalar(byte)) {
    case "a"..."z", "A"..."Z", "0"..."9", "_", ".", "/", "+", "-": true
    default: false
    }
  }
}

@Suite struct LayoutTests {
  @Test func `every table has a header, and each row as many cells`() {
    for page in Repository.pages {
      for run in page.runsOfRows {
        let place = "\(page.path):\(run.line)"
        guard run.rows.count >= 2, run.rows[1].wholeMatch(of: /\s*\|(?:\s*:?-+:?\s*\|)+\s*/) != nil else {
          Issue.record("\(place): rows without a header: a blank line cut the table, or its second line has no dashes")
          continue
        }
        if run.line > 1 {
          let before = page.lines[run.line - 2].trimmingCharacters(in: .whitespaces)
          #expect(before.isEmpty, "\(place): no blank line before the table")
        }
        let width = Page.cells(run.rows[0]).count
        for (offset, row) in run.rows.enumerated() {
          #expect(Page.cells(row).count == width, "\(page.path):\(run.line + offset): expected \(width) cells")
          #expect(row.hasSuffix("|"), "\(page.path):\(run.line + offset): no bar at the end")
        }
      }
    }
  }

  @Test func `a table that a blank line cuts is noticed`() {
    let cut = Page(path: "x.md", text: "| a | b |\n|---|---|\n| 1 | 2 |\n\n| 3 | 4 |\n")
    #expect(cut.runsOfRows.map(\.rows.count) == [3, 1])
  }

  @Test func `every fence is closed`() {
    for page in Repository.pages {
      let fences = page.lines.filter { $0.drop { $0 == " " }.hasPrefix("```") }
      #expect(fences.count.isMultiple(of: 2), "\(page.path)")
    }
  }

  // A step after a block of code had become a part of the step before, on the site only.
  @Test func `what is nested in a list is indented by four spaces`() {
    for page in Repository.pages {
      var isBlank = true
      for (number, line) in page.lines.enumerated() {
        let indent = line.prefix { $0 == " " }.count
        let text = line.dropFirst(indent)
        let begins = text.firstMatch(of: /^(?:[-*] |\d+\. |```)/) != nil
        if indent > 0, !text.isEmpty, isBlank || begins, !page.isCode(number) {
          #expect(indent.isMultiple(of: 4), "\(page.path):\(number + 1)")
        }
        isBlank = text.isEmpty
      }
    }
  }

  @Test func `a list has a blank line before it`() {
    for page in Repository.pages {
      for (number, line) in page.lines.enumerated().dropFirst() where !page.isCode(number) {
        let before = page.lines[number - 1]
        guard line.firstMatch(of: /^(?:- |1\. )/) != nil, !before.isEmpty else { continue }
        // The end of an item before, or a line that goes on.
        let continues = before.hasPrefix("- ") || before.hasPrefix(" ")
        #expect(continues, "\(page.path):\(number + 1)")
      }
    }
  }
}
