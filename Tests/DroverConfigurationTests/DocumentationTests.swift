// The page that lists the keys and the code that reads them are written by hand, twice. These tests hold them together.

@testable import DroverConfiguration
import Foundation
import Testing

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
    _ = CloudConfiguration(reading: try reader.document("streams: [{}]"))
    #expect(listed == reader.knownKeys)
  }
}
