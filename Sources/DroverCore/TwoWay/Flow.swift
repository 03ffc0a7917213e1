// In which direction the rows of a stream travel, and what is declared about rows that both sides can edit.

/// Which side's edits travel.
package enum Direction: String, CaseIterable, Sendable {
  /// From the edge to the cloud.
  case up
  /// From the cloud to the edge: reference data.
  case down
  /// Both sides edit.
  case both

  package var goesDown: Bool { self != .up }
}

/// What of a row wins or loses together in a conflict.
package enum MergeUnit: String, CaseIterable, Sendable {
  case row
  /// Two edits of one row that change different columns both survive.
  case columns
}

/// Which machines have a row of reference data.
package enum Reach: String, CaseIterable, Sendable {
  /// The one whose name stands in the row.
  case machine
  /// Every machine with the stream.
  case all
}

/// How the rows of a stream travel. A part of the stream's schema, so that the cloud knows it.
package struct Flow: Hashable, Sendable {
  package var direction: Direction
  /// The column whose higher value wins a conflict; nil: the version decides.
  package var newer: String?
  package var merge: MergeUnit
  /// One key means the same thing on both sides, such as a URL or a barcode.
  package var isKeyNatural: Bool
  /// Of a stream that goes down.
  package var reach: Reach

  /// Rows that only go up.
  package static let up = Flow(direction: .up)

  package init(
    direction: Direction, newer: String? = nil, merge: MergeUnit = .row, isKeyNatural: Bool = false,
    reach: Reach = .machine
  ) {
    self.direction = direction
    self.newer = newer
    self.merge = merge
    self.isKeyNatural = isKeyNatural
    self.reach = reach
  }

  /// The text of everything that is declared, for the schema's id.
  var parts: [String] {
    [direction.rawValue, newer ?? "", merge.rawValue, isKeyNatural ? "natural" : "", reach.rawValue]
  }

  /// The same with the columns spelt as the table spells them.
  /// - Throws: where the stream cannot go down.
  func resolved(
    among columns: [Column], kind: Kind, hasLines: Bool, isMatched: Bool
  ) throws(InvalidName) -> Flow {
    guard direction.goesDown else { return .up }
    guard kind != .payload else {
      throw InvalidName(message: "a fact never changes, so a stream of kind payload only goes up")
    }
    guard !hasLines else { throw InvalidName(message: "a stream whose lines travel with it (`with`) only goes up") }
    guard !isMatched else {
      throw InvalidName(
        message: "rows that are matched with other machines' by `identity` have no one machine to go down to")
    }
    var flow = self
    guard let newer else { return flow }
    guard let column = columns.first(where: { SQLName($0.name) == SQLName(newer) }) else {
      throw InvalidName(message: "there is no column \(newer), which `newer` names")
    }
    flow.newer = column.name
    return flow
  }
}
