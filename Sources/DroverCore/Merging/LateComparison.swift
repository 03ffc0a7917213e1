// Compares a stored row that never changes with an event of its key that was written under another schema. Both say the same where they differ
// only in columns that the stored row's schema did not have, or in what a new type makes of an old value.

package struct LateComparison {
  /// The row that is there.
  private let stored: [Value]
  /// The stored row with the values of columns that it lacks, or has under another type.
  package var filled: [Value]
  /// What it has to be now, if the event says the same.
  package var expected: [Value]
  /// Of the newer one of both.
  package var version: RowVersion

  /// - Parameters:
  ///   - stored: the stored row, and the version that it came with.
  ///   - event: the event's row and version.
  ///   - lacking: positions of columns that the stored row's schema did not have.
  ///   - retyped: positions of those that had a type with another affinity there, where such a change is no other content.
  ///   - isConverted: whether the new type makes the second value of the first.
  package init(
    _ stored: (row: [Value], version: RowVersion), with event: (row: [Value], version: RowVersion),
    lacking: Set<Int>, retyped: Set<Int>, isConverted: (Value, Value) throws -> Bool
  ) rethrows {
    let isNewer = stored.version <= event.version
    self.stored = stored.row
    (filled, expected) = (stored.row, event.row)
    version = max(stored.version, event.version)
    for index in lacking where stored.row[index] == .null { filled[index] = event.row[index] }
    for index in retyped where stored.row[index] != event.row[index] {
      guard try isConverted(stored.row[index], event.row[index]) else { continue }
      // The newer type's value is the one that stays.
      if isNewer { filled[index] = event.row[index] } else { expected[index] = stored.row[index] }
    }
  }

  /// - Parameter looksTheSame: whether the database takes a row for the stored one although its values are not the same, as 5 and 5.0.
  package func agreement(looksTheSame: ([Value]) throws -> Bool) rethrows -> MergeRule.Agreement {
    // What agrees by now is left out of the comparison with the row that is there.
    let rest = stored.indices.map { filled[$0] == expected[$0] ? stored[$0] : expected[$0] }
    guard try filled == expected || looksTheSame(rest) else { return .differs }
    return filled == stored ? .same : .fills
  }
}

extension StreamSchema {
  /// Positions of the columns that a row does not have which was written when there were others alone.
  /// - Parameter had: none of a schema that is no longer known, which says nothing.
  package func positions(lacking had: Set<SQLName>) -> Set<Int> {
    had.isEmpty ? [] : Set(columns.indices.filter { !had.contains(SQLName(columns[$0].name)) })
  }

  /// Positions of the columns that were declared with another affinity; the key's are left out.
  package func positions(retypedSince others: [Column]) -> Set<Int> {
    Set(
      columns.indices.filter { index in
        !key.contains(index)
          && others.contains {
            SQLName($0.name) == SQLName(columns[index].name) && $0.affinity != columns[index].affinity
          }
      })
  }
}
