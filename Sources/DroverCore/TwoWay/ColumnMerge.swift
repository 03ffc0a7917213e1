// `merge: columns`: both sides have edited a row without knowing of each other. What only one side has changed survives from both.

/// The row as the machine last had it before its edit, as far as the cloud knows.
package struct RowBase: Equatable, Sendable {
  /// In the order of the schema's columns, as the sink's columns hold them.
  package var values: [Value]
  /// The machine's newest own edit in it.
  package var edge: RowVersion?

  /// How long it is kept for a machine that is away, in microseconds: three months.
  package static let lifetime: Int64 = 92 * 86_400_000_000

  package init(values: [Value], edge: RowVersion?) {
    self.values = values
    self.edge = edge
  }
}

/// Two edits of one row, put together column by column.
package struct ColumnMerge: Equatable, Sendable {
  /// Each column that one side has changed, as that side has it. A column that both have changed is as the winner has it.
  package let values: [Value]
  /// The same with the loser's values in the columns that both have changed; nil where there is no such column.
  package let lost: [Value]?

  /// - Parameters:
  ///   - machine: the row as the machine has edited it.
  ///   - cloud: the row as it is in the cloud.
  ///   - base: the row as both edits found it. All three have the same columns.
  ///   - newer: the column whose higher value wins. Every edit changes it, so it takes the winner's value, and is no reason for a conflict.
  ///   - winner: whose values stand where both have changed one column.
  package init(machine: [Value], cloud: [Value], base: [Value], newer: Int?, winner: TwoWayRule.Side) {
    let (winning, losing) = winner == .machine ? (machine, cloud) : (cloud, machine)
    var values = winning
    var contested: [Int] = []
    for column in base.indices where machine[column] != cloud[column] {
      if machine[column] == base[column] {
        values[column] = cloud[column]
      } else if cloud[column] == base[column] {
        values[column] = machine[column]
      } else if column != newer {
        contested.append(column)
      }
    }
    self.values = values
    guard !contested.isEmpty else {
      lost = nil
      return
    }
    var lost = values
    for column in contested { lost[column] = losing[column] }
    if let newer { lost[newer] = losing[newer] }
    self.lost = lost
  }
}
