// The lines of a unit of work: a child table whose rows travel with their header (a receipt's sales), all or nothing.

package struct LineSchema: Hashable, Sendable {
  /// The child table's name, and its sink table's.
  package let table: StreamName
  /// Its columns and key.
  package let rows: StreamSchema
  /// For each part of the header's key, in the key's order, the position in `rows.columns` of the column that holds it.
  package let references: [Int]

  /// Throws when no sink table could be made of it, or when it refers to nothing.
  package init(table: StreamName, columns: [Column], key: [Int], references: [Int]) throws(InvalidName) {
    rows = try StreamSchema(kind: .batch, columns: columns, key: key)
    guard !references.isEmpty, Set(references).count == references.count,
      references.allSatisfy(columns.indices.contains)
    else {
      throw InvalidName(message: "the lines \(table) refer to each part of the header's key by a column of their own")
    }
    self.table = table
    self.references = references
  }

  /// The key of the header that a line names.
  package func header(of line: [Value]) -> [Value] { references.map { line[$0] } }
}

extension StreamSchema {
  /// Why lines cannot travel with this header, or nil: each line names the header, and no two have the same key.
  /// - Parameter lines: for each of `self.lines` its rows.
  package func fault(in lines: [[[Value]]], key: [Value]) -> String? {
    guard lines.count == self.lines.count else { return "the lines of each child table belong to it" }
    for (schema, rows) in zip(self.lines, lines) {
      guard rows.allSatisfy({ schema.header(of: $0) == key }) else {
        return "a line of \(schema.table) names another header"
      }
      guard Set(rows.map(schema.rows.keyValues)).count == rows.count else {
        return "two lines of \(schema.table) have the same key"
      }
    }
    return nil
  }
}
