// What a stored row that does not change any more is to an event of the same key that was written under another schema: the same fact, where it
// differs only in what the stored row's schema did not have, or in what a new type makes of an old value.

package struct LateComparison {
  /// The stored row with the values of columns that it lacks, or has under another type.
  package var filled: [Value]
  /// What it has to be now, if the event says the same.
  package var expected: [Value]
  /// Of the newer one of both.
  package var epoch: Int64
  package var version: Int64

  /// - Parameters:
  ///   - stored: the stored row, and the epoch and version that it came with.
  ///   - event: the event's row, its epoch and version.
  ///   - lacking: positions of columns that the stored row's schema did not have.
  ///   - retyped: positions of those that had a type with another affinity there, where such a change is no other content.
  ///   - isConverted: whether the new type makes the second value of the first.
  package init(
    _ stored: (row: [Value], epoch: Int64, version: Int64), with event: (row: [Value], epoch: Int64, version: Int64),
    lacking: Set<Int>, retyped: Set<Int>, isConverted: (Value, Value) throws -> Bool
  ) rethrows {
    let isNewer = (stored.epoch, stored.version) <= (event.epoch, event.version)
    (filled, expected) = (stored.row, event.row)
    (epoch, version) = isNewer ? (event.epoch, event.version) : (stored.epoch, stored.version)
    for index in lacking where stored.row[index] == .null { filled[index] = event.row[index] }
    for index in retyped where stored.row[index] != event.row[index] {
      guard try isConverted(stored.row[index], event.row[index]) else { continue }
      // The newer type's value is the one that stays.
      if isNewer { filled[index] = event.row[index] } else { expected[index] = stored.row[index] }
    }
  }
}

extension StreamSchema {
  /// Positions of the columns that a row does not have which was written when there were others alone.
  /// - Parameter had: none of a schema that nobody knows any more, which says nothing.
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
