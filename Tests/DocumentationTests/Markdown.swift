// Reads the project's Markdown as far as the tests need it: headings, links, tables, code. Not a whole parser; what the
// pages do not use is not read.

import Foundation

/// One text file of the repository.
struct Page: Sendable {
  /// Relative to the repository, such as `docs/http.md`.
  let path: String
  let lines: [Substring]

  let blocks: [Block]
  /// The lines that are no code, with their numbers from 1.
  let prose: [(number: Int, text: Substring)]

  init(path: String, text: String) {
    self.path = path
    lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    (blocks, prose) = Self.divide(lines)
  }

  init(path: String) throws {
    self.init(path: path, text: try Repository.text(path))
  }

  /// A fenced block of code.
  struct Block: Equatable {
    /// The word behind the fence, such as `sh`; empty if there is none.
    let language: String
    /// Of its first line of code, from 1.
    let line: Int
    var code: [Substring]
  }

  private static func divide(_ lines: [Substring]) -> ([Block], [(number: Int, text: Substring)]) {
    var blocks: [Block] = []
    var prose: [(number: Int, text: Substring)] = []
    var open = false
    for (number, line) in lines.enumerated() {
      let text = line.drop { $0 == " " }
      if text.hasPrefix("```") {
        open.toggle()
        if open { blocks.append(Block(language: String(text.dropFirst(3)), line: number + 2, code: [])) }
      } else if open {
        blocks[blocks.count - 1].code.append(line)
      } else {
        prose.append((number + 1, line))
      }
    }
    return (blocks, prose)
  }

  /// Whether a line, counted from 0, is code; a fence is not.
  func isCode(_ index: Int) -> Bool {
    blocks.contains { ($0.line - 1..<$0.line - 1 + $0.code.count).contains(index) }
  }

  /// What GitHub and the site call the headings.
  var anchors: Set<String> {
    var seen: [String: Int] = [:]
    var anchors: Set<String> = []
    for (_, line) in prose {
      guard let heading = line.wholeMatch(of: /#{1,6} +(.+?) *#*/)?.output.1 else { continue }
      let anchor = Self.anchor(of: heading)
      let count = seen[anchor, default: 0]
      seen[anchor] = count + 1
      anchors.insert(count == 0 ? anchor : "\(anchor)-\(count)")
    }
    return anchors
  }

  static func anchor(of heading: Substring) -> String {
    let text = heading.replacing(/\[([^\]]*)\]\([^)]*\)/) { $0.output.1 }
    let kept = text.lowercased().unicodeScalars.filter {
      $0.properties.isAlphabetic || $0.properties.numericType != nil || "-_ ".unicodeScalars.contains($0)
    }
    return String(String.UnicodeScalarView(kept)).replacing(" ", with: "-")
  }

  struct Link: Equatable {
    let line: Int
    /// What a reader sees; empty where the notation has none.
    let text: String
    let target: String
  }

  var links: [Link] {
    prose.flatMap { number, line in
      let text = line.replacing(/`+[^`]*`+/) { String(repeating: "x", count: $0.output.count) }
      let inline = text.matches(of: /!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]*)(?:\s+"[^"]*")?\)/).flatMap { match in
        // A picture may be a link's text.
        [Link(line: number, text: String(match.output.1), target: String(match.output.2))]
          + match.output.1.matches(of: /\]\(([^)\s]+)/).map {
            Link(line: number, text: "", target: String($0.output.1))
          }
          + match.output.1.matches(of: /!\[[^\]]*$/).map { _ in Link(line: number, text: "", target: "") }
      }
      let picture = text.matches(of: /\[!\[[^\]]*\]\(([^)\s]+)\)\]\(([^)\s]+)\)/).flatMap { match in
        [match.output.1, match.output.2].map { Link(line: number, text: "", target: String($0)) }
      }
      let other = text.matches(of: /(?:href|src)="([^"]*)"/).map {
        Link(line: number, text: "", target: String($0.output.1))
      }
      let definitions = text.matches(of: /^ {0,3}\[[^\]]+\]: +(\S+)/).map {
        Link(line: number, text: "", target: String($0.output.1))
      }
      return (picture.isEmpty ? inline : picture) + other + definitions
    }
  }

  struct Table: Equatable {
    let line: Int
    /// With the header, without the line of dashes.
    var rows: [[String]]
  }

  /// Everything that begins like a row of a table, in runs of lines. A run that is no table is a mistake.
  var runsOfRows: [(line: Int, rows: [Substring])] {
    var runs: [(line: Int, rows: [Substring])] = []
    var last = -1
    for (number, line) in prose where line.drop(while: { $0 == " " }).hasPrefix("|") {
      if number == last + 1 { runs[runs.count - 1].rows.append(line) } else { runs.append((number, [line])) }
      last = number
    }
    return runs
  }

  var tables: [Table] {
    runsOfRows.filter { $0.rows.count > 1 }.map { run in
      Table(line: run.line, rows: ([run.rows[0]] + run.rows.dropFirst(2)).map(Self.cells))
    }
  }

  /// A bar divides cells unless it is escaped, in code too.
  static func cells(_ row: Substring) -> [String] {
    let bar = "\u{1}"
    let cells = row.replacing("\\|", with: bar).split(separator: "|", omittingEmptySubsequences: false)
      .map { $0.replacing(bar, with: "|").trimmingCharacters(in: .whitespaces) }
    return Array(cells.dropFirst().dropLast(cells.last == "" ? 1 : 0))
  }
}

enum Repository {
  static let root = URL(filePath: #filePath).appending(path: "../../..").standardized

  static func text(_ path: String) throws -> String {
    try String(contentsOf: root.appending(path: path), encoding: .utf8)
  }

  static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: root.appending(path: path).path)
  }

  /// Every file below a folder whose name ends so; what is built is left out.
  static func files(in folder: String, endings: [String] = [""]) -> [String] {
    let names = FileManager.default.enumerator(atPath: root.appending(path: folder).path)?.compactMap { $0 as? String }
    return (names ?? []).filter { name in endings.contains { name.hasSuffix($0) } }
      .filter { !$0.hasPrefix(".build/") && !$0.hasPrefix(".git/") }
      .map { folder.isEmpty ? $0 : "\(folder)/\($0)" }
      .filter { name in
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: root.appending(path: name).path, isDirectory: &isFolder)
          && !isFolder.boolValue
      }.sorted()
  }

  /// Every page that people read.
  static let pages: [Page] = {
    let top = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].filter(exists)
    return (top + files(in: "docs", endings: [".md"])).map { path in
      // A page that cannot be read is an empty one, and its links fail.
      (try? Page(path: path)) ?? Page(path: path, text: "")
    }
  }()

  /// The headings of every page.
  static let anchors: [String: Set<String>] = Dictionary(
    uniqueKeysWithValues: pages.map { ($0.path, $0.anchors) })

  /// Where a text begins in a file, with the line and what follows as long as it is taken. By bytes, since there are many
  /// files.
  static func occurrences(
    of word: String, in path: String, while isTaken: (UInt8) -> Bool
  ) throws -> [(line: Int, before: UInt8?, text: String)] {
    let bytes = try Data(contentsOf: root.appending(path: path))
    var found: [(line: Int, before: UInt8?, text: String)] = []
    var start = bytes.startIndex
    var line = 1
    var counted = bytes.startIndex
    while let range = bytes.range(of: Data(word.utf8), in: start..<bytes.endIndex) {
      let end = bytes[range.upperBound...].firstIndex { !isTaken($0) } ?? bytes.endIndex
      line += bytes[counted..<range.lowerBound].count { $0 == UInt8(ascii: "\n") }
      counted = range.lowerBound
      let before = range.lowerBound > bytes.startIndex ? bytes[range.lowerBound - 1] : nil
      found.append((line, before, String(decoding: bytes[range.lowerBound..<end], as: UTF8.self)))
      start = range.upperBound
    }
    return found
  }

  /// `target` as seen from the page at `path`, without `..`.
  static func resolve(_ target: String, from path: String) -> String? {
    var parts = path.split(separator: "/").dropLast().map(String.init)
    for part in target.split(separator: "/") where part != "." {
      if part == ".." {
        guard parts.popLast() != nil else { return nil }
      } else {
        parts.append(String(part))
      }
    }
    return parts.joined(separator: "/")
  }
}
