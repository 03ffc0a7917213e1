// The page that lists the keys and the code that reads them are written by hand, twice. These tests hold them together.

@testable import DroverConfiguration
import Foundation
import Testing
import Yams

@Suite struct DocumentationTests {
  private let page: String

  init() throws {
    let root = URL(filePath: #filePath).appending(path: "../../..").standardized
    page = try String(contentsOf: root.appending(path: "docs/configuration.md"), encoding: .utf8)
  }

  @Test func `every example on the page is accepted`() throws {
    let examples = page.split(separator: "```yaml\n").dropFirst().map {
      String($0.prefix(through: $0.range(of: "\n```")!.lowerBound))
    }
    #expect(examples.count == 4)
    let files = [
      "password": "x", "ca.pem": "", "client.pem": "", "client.key": "", "hash_key": "0123456789abcdef",
      "http_token": "0123456789abcdef", "server.pem": "", "server.key": "",
      "webhook_token": "x",
    ]
    for example in examples {
      try withFolder(files) { folder in
        let found = problems(
          try AnyConfiguration.parse(
            yaml: example, file: "example.yaml", folder: folder,
            environment: ["BROKER_PASSWORD": "x", "HTTP_TOKEN": "0123456789abcdef"]))
        #expect(found == [])
      }
    }
  }

  @Test func `the tables list the keys that are read, and no others`() throws {
    let rows = page.split(separator: "\n").filter { $0.hasPrefix("| `") }
    let listed = Set(rows.map { row in String(row.dropFirst(3).prefix { $0 != "`" }) })
    let reader = ConfigurationReader(file: "", folder: "/", environment: [:])
    _ = EdgeConfiguration(reading: try reader.document("streams: [{with: [{}]}]\nhttp: {tokens: [{}]}"))
    _ = CloudConfiguration(reading: try reader.document("streams: [{}]\nworklists: [{machine: {rules: [{}]}}]"))
    let naming = ConfigurationReader(file: "", folder: "/", environment: [:])
    _ = EdgeConfiguration(reading: try naming.document("machine: {}\nstreams: [{}]"))
    #expect(listed == reader.knownKeys.union(naming.knownKeys.filter { $0.hasPrefix("machine.") }))
  }

  /// A line of the tables: the key, its type and bounds, its default.
  private struct Row {
    let key: String
    let type: String
    let standard: String
  }

  /// The lines under a heading.
  private func rows(under heading: String) throws -> [Row] {
    let section = try #require(page.components(separatedBy: "\n### \(heading)\n").dropFirst().first)
    let end = section.range(of: "\n### ")?.lowerBound ?? section.range(of: "\n## ")?.lowerBound ?? section.endIndex
    return section[..<end].split(separator: "\n").filter { $0.hasPrefix("| `") }.map { line in
      let cells = line.replacing("\\|", with: "/").split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      return Row(key: cells[0].replacing("`", with: ""), type: cells[2], standard: cells[3])
    }
  }

  /// The least file of a side with one more value.
  private func file(_ side: AnyConfiguration.Side, _ key: String, _ value: String?) -> String {
    var parts = key.split(separator: ".")
    let last = parts.removeLast()
    let beside = ["check.repair": "every: 1d, ", "alerts.webhook.token_file": "url: 'http://a', "][key] ?? ""
    var yaml = value.map { "\(last): \($0)" } ?? ""
    if !parts.isEmpty { yaml = "{\(beside)\(yaml)}" }
    for part in parts.reversed() { yaml = part == parts[0] ? "\(part): \(yaml)" : "{\(part): \(yaml)}" }
    return (side == .edge ? leastEdge : leastCloud) + yaml + "\n"
  }

  private static let sections: [(String, [AnyConfiguration.Side])] = [
    ("On both sides", [.edge, .cloud]), ("At the edge", [.edge]), ("In the cloud", [.cloud]),
  ]

  @Test func `the defaults of the tables are those of the code`() throws {
    var compared = 0
    for (heading, sides) in Self.sections {
      for row in try rows(under: heading) where !row.key.contains("[]") {
        for side in sides {
          let both = row.standard.firstMatch(of: /^`([^`]+)` at the edge, `([^`]+)` in the cloud/)
          let one = row.standard.wholeMatch(of: /`([^`]+)`(?:; `[^`]+` in a .*)?/)
          guard let text = both.map({ side == .edge ? $0.output.1 : $0.output.2 }) ?? one?.output.1,
            // Where another variable of the environment is the default, there is none in the file.
            !text.hasPrefix("DROVER_")
          else { continue }
          compared += 1
          let (given, least) = (file(side, row.key, String(text)), file(side, row.key, nil))
          if side == .edge {
            #expect(try edge(given) == edge(least), "\(row.key): \(text)")
          } else {
            #expect(try cloud(given) == cloud(least), "\(row.key): \(text)")
          }
        }
      }
    }
    #expect(compared > 60, "\(compared)")
  }

  @Test func `the bounds of the tables are those of the code`() throws {
    var compared = 0
    for (heading, sides) in Self.sections {
      for row in try rows(under: heading) where !row.key.contains("[]") {
        guard let told = row.type.firstMatch(of: /(-?\d+\w*) to (\d+\w*)/)?.output, !row.type.contains("bytes"),
          !row.type.contains("letters"), !row.type.contains("list")
        else { continue }
        for side in sides {
          let text = file(side, row.key, "x")
          let found = side == .edge ? problems(try edge(text)) : problems(try cloud(text))
          let known = try #require(found.compactMap { $0.firstMatch(of: /from (\d+\w*) to (\d+\w*)/) }.first?.output)
          compared += 1
          // Nothing is nothing, in whatever unit.
          let low = known.1.first == "0" ? told.1.first == "0" : known.1 == told.1
          #expect(low && known.2 == told.2, "\(row.key): \(told.0), and the code says \(known.0)")
        }
      }
    }
    #expect(compared > 45, "\(compared)")
  }

  @Test func `the examples with everything have every key`() throws {
    let examples = page.split(separator: "Everything:\n\n```yaml\n").dropFirst().map {
      String($0.prefix(upTo: $0.range(of: "\n```")!.lowerBound)) + "\n"
    }
    #expect(examples.count == 2)
    for (example, heading) in zip(examples, ["At the edge", "In the cloud"]) {
      let given = Self.keys(of: try #require(try Yams.compose(yaml: example)))
      for row in try rows(under: "On both sides") + rows(under: heading) {
        // What stands in the place of another key, and what only a PostgreSQL store has.
        guard !row.key.hasSuffix("_env"), !Self.otherwise.contains(row.key) else { continue }
        #expect(given.contains(row.key), "\(heading): \(row.key)")
      }
    }
  }

  private static let otherwise: Set<String> = [
    "group", "store_credentials.password_file", "machine.query", "machine.env", "machine.file", "machine.name",
  ]

  /// Every path of keys that is given.
  private static func keys(of node: Node, at path: String = "") -> Set<String> {
    if let items = node.sequence { return Set(items.flatMap { keys(of: $0, at: "\(path)[]") }) }
    var found: Set<String> = []
    for (key, value) in node.mapping ?? [:] {
      let path = path.isEmpty ? key.string ?? "" : "\(path).\(key.string ?? "")"
      found.formUnion([path])
      found.formUnion(keys(of: value, at: path))
    }
    return found
  }
}
