// A promise names the tests that check it. A test that was renamed or removed would leave a promise that nothing checks.

import Foundation
import Testing

@Suite struct PromiseTests {
  /// All tests and conformance suites, as they are written.
  private static let tests: Data = {
    Repository.files(in: "Tests", endings: [".swift"]).filter { !$0.contains("DocumentationTests/") }.reduce(
      into: Data()
    ) {
      $0 += (try? Data(contentsOf: Repository.root.appending(path: $1))) ?? Data()
    }
  }()

  private static func isThere(_ text: some StringProtocol) -> Bool {
    tests.range(of: Data(String(text).utf8)) != nil
  }

  @Test(arguments: ["docs/guarantees.md", "docs/capturing.md"])
  func `every promise names tests that are there`(path: String) throws {
    var named = 0
    for table in try Page(path: path).tables {
      let place = "\(path): the table at line \(table.line)"
      for row in table.rows.dropFirst() {
        let tests = row[row.count - 1]
        for match in tests.matches(of: /`([A-Z][A-Za-z]+(?:Tests|Conformance))`/) {
          let suite = String(match.output.1)
          let isTarget = Repository.exists("Tests/\(suite)")
          #expect(
            isTarget || ["struct", "class", "enum", "actor"].contains { Self.isThere("\($0) \(suite)") },
            "\(place): there is no suite \(suite)")
        }
        // The sentence of a test stands in italics; `…` stands for a part of it.
        for match in tests.matches(of: /(?:^|[^*])\*([^*]+)\*/) {
          named += 1
          for part in match.output.1.split(separator: "…") {
            let words = part.trimmingCharacters(in: .whitespaces)
            #expect(Self.isThere(words), "\(place): there is no test “\(words)”")
          }
        }
      }
    }
    #expect(named > 40)
  }
}
