// Readers have English as a second language. Words that take a second reading are replaced (docs/decisions/0043-words.md), and
// these tests keep them out of what people read.

import Foundation
import Testing

@Suite struct WordTests {
  private static func findings(in text: Substring) -> [String] {
    text.matches(
      of:
        /\b(whoever|for want of|of which|brought|mends?|mended|put back|puts back|told|nobody|somebody|anybody|he|his|him|keeps house|pulse|burial)\b/
        .ignoresCase()
    ).map { String($0.output.1) }
  }

  @Test func `pages use plain words`() {
    for page in Repository.pages where !page.path.hasPrefix("docs/decisions/") {
      for (number, line) in page.prose {
        // Names in code and the sentences of tests stay as they are.
        let text = line.replacing(/`[^`]*`/, with: "").replacing(/(^|[^*])\*[^*]+\*/, with: "")
        #expect(Self.findings(in: text).isEmpty, "\(page.path):\(number): \(Self.findings(in: text))")
      }
    }
  }

  @Test func `the help of commands uses plain words`() throws {
    for (number, line) in try Repository.text("docs/reference/cli.md").split(separator: "\n").enumerated() {
      #expect(Self.findings(in: line).isEmpty, "docs/reference/cli.md: \(number): \(line)")
    }
  }

  @Test func `files of settings use plain words`() throws {
    for path in Repository.files(in: "broker") + ["compose.yaml", "Dockerfile"] {
      for (number, line) in try Repository.text(path).split(separator: "\n", omittingEmptySubsequences: false)
        .enumerated()
      {
        let text = line.replacing(/`[^`]*`/, with: "")
        #expect(Self.findings(in: text[...]).isEmpty, "\(path):\(number + 1): \(line)")
      }
    }
  }
}
