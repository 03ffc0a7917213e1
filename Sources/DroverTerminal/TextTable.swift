// What the commands print for a person.

/// Columns that stand under each other.
package struct TextTable {
  private let columns: [String]
  private let numeric: Set<Int>
  private var rows: [[String]] = []

  package init(columns: [String], numeric: Set<Int>) {
    self.columns = columns
    self.numeric = numeric
  }

  package mutating func add(_ row: [String]) { rows.append(row) }

  package var text: String {
    let widths = columns.indices.map { index in ([columns] + rows).map { $0[index].count }.max()! }
    return ([columns] + rows).map { row in
      var line = ""
      for (index, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[index] - cell.count)
        line += (index > 0 ? "  " : "") + (numeric.contains(index) ? padding + cell : cell + padding)
      }
      while line.last == " " { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }
}
