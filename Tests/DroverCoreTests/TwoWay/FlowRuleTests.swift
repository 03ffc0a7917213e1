import DroverCore
import Foundation
import Testing

/// Which keys can stand together with which direction.
@Suite struct FlowRuleTests {
  /// The table in docs/configuration.md: for each key whether it goes with `up`, `down` and `both`.
  private func table() throws -> [String: [Direction: Bool]] {
    let root = URL(filePath: #filePath).appending(path: "../../../..").standardized
    let page = try String(contentsOf: root.appending(path: "docs/configuration.md"), encoding: .utf8)
    let section = try #require(page.components(separatedBy: "| key | `up` | `down` | `both` | why |\n").last)
    var table: [String: [Direction: Bool]] = [:]
    for line in section.split(separator: "\n", omittingEmptySubsequences: false).dropFirst() {
      guard line.hasPrefix("| *") else { break }
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      #expect(
        cells.count == 5 && cells[1...3].allSatisfy { ["yes", "no"].contains($0) } && !cells[4].isEmpty, "\(line)")
      table[cells[0].replacing("*", with: "")] = [
        .up: cells[1] == "yes", .down: cells[2] == "yes", .both: cells[3] == "yes",
      ]
    }
    return table
  }

  private func refused(_ direction: Direction, _ kind: Kind?, _ keys: Set<StreamKey>) -> [String] {
    FlowRule.refusals(direction, kind, given: keys).map(\.other).sorted()
  }

  @Test func `each key goes with the directions that the page names, alone and beside any other`() throws {
    let table = try table()
    let keys = StreamKey.allCases.filter { $0 != .table }
    #expect(Set(table.keys) == Set(keys.map(\.rawValue)))
    func wanted(_ direction: Direction, _ keys: [StreamKey]) -> [String] {
      keys.filter { table[$0.rawValue]?[direction] == false }.map { "`\($0.rawValue)`" }.sorted()
    }
    for direction in Direction.allCases {
      for first in keys {
        #expect(refused(direction, .batch, [.table, first]) == wanted(direction, [first]), "\(direction) \(first)")
        for second in keys where second != first {
          #expect(refused(direction, .batch, [.table, first, second]) == wanted(direction, [first, second]))
        }
      }
      #expect(refused(direction, .batch, Set(StreamKey.allCases)) == wanted(direction, keys))
    }
  }

  @Test func `rows that come down need a table, and a kind whose rows change`() {
    for kind in [Kind.snapshot, .payload, .batch, nil] {
      #expect(refused(.up, kind, []) == [] && refused(.up, kind, [.table]) == [])
      for direction in [Direction.down, .both] {
        #expect(refused(direction, kind, []) == ["a stream without `table`"])
        #expect(refused(direction, kind, [.table]) == (kind == .payload ? ["`kind: payload`"] : []))
      }
    }
  }

  @Test func `each refusal says why and what to do`() {
    for direction in Direction.allCases {
      for refusal in FlowRule.refusals(direction, .payload, given: Set(StreamKey.allCases)) {
        #expect(!refusal.why.isEmpty && !refusal.advice.isEmpty && !refusal.why.hasSuffix("."))
        // It is said at a key that stands in the file.
        #expect(direction != .up || refusal.place != nil)
      }
    }
  }

  @Test func `a column that is the same in both edits decides nothing`() {
    func refusal(_ newer: String, key: [String]?, synced: String? = nil) -> String? {
      FlowRule.refusal(ofNewer: newer, key: key, syncedColumn: synced)?.other
    }
    #expect(refusal("at", key: ["id"]) == nil && refusal("at", key: nil, synced: "s") == nil)
    #expect(refusal("ID", key: ["k", "id"]) == "the key's own column ID")
    #expect(refusal("S", key: nil, synced: "s") == "`synced_column: S`")
  }
}
