// How many rows have which value in one column, counted on both sides and held against each other. It counts in a bounded space: a column with many
// different values is no way to group rows that a person could read.

package struct Tally: Equatable, Sendable {
  /// Different values that are counted one by one.
  package static let mostValues = 500
  /// Bytes of a text or a blob that is counted by itself.
  package static let longestValue = 64

  package private(set) var counts: [Value: Int] = [:]
  /// Rows whose value is longer.
  package private(set) var long = 0
  /// There are more different values than are counted; the counts mean nothing then.
  package private(set) var isOver = false

  package init() {}

  /// - Parameter counts: as another side has counted them.
  package init(counts: [Value: Int], long: Int, isOver: Bool) {
    self.counts = counts
    self.long = long
    self.isOver = isOver
  }

  package mutating func add(_ value: Value) {
    switch value {
    case .text(let bytes), .blob(let bytes):
      guard bytes.count <= Self.longestValue else { return long += 1 }
    case .null, .integer, .real: break
    }
    if counts[value] == nil, counts.count == Self.mostValues {
      isOver = true
    } else {
      counts[value, default: 0] += 1
    }
  }
}

/// The rows of both sides by the values of one column.
package struct GroupedRows: Equatable, Sendable {
  package struct Group: Equatable, Sendable {
    /// nil: all values that are too long to be shown.
    package var value: Value?
    package var atEdge: Int
    package var inCloud: Int

    package init(value: Value?, atEdge: Int, inCloud: Int) {
      self.value = value
      self.atEdge = atEdge
      self.inCloud = inCloud
    }
  }

  /// Groups that are shown.
  package static let most = 50

  package var column: String
  /// Those whose numbers differ come first, then the largest.
  package var groups: [Group]
  /// How many groups are left out, and their rows.
  package var leftOut: Int
  package var rest: Group
  /// Why there are no groups.
  package var problem: String?

  package init(column: String, groups: [Group], leftOut: Int, rest: Group, problem: String? = nil) {
    self.column = column
    self.groups = groups
    self.leftOut = leftOut
    self.rest = rest
    self.problem = problem
  }

  package init(column: String, problem: String) {
    self.init(
      column: column, groups: [], leftOut: 0, rest: Group(value: nil, atEdge: 0, inCloud: 0), problem: problem)
  }

  package init(column: String, atEdge: Tally, inCloud: Tally) {
    guard !atEdge.isOver, !inCloud.isOver else {
      self.init(
        column: column,
        problem: "\(column) has more than \(Tally.mostValues) different values; choose a column with fewer")
      return
    }
    var groups = Set(atEdge.counts.keys).union(inCloud.counts.keys).map {
      Group(value: $0, atEdge: atEdge.counts[$0] ?? 0, inCloud: inCloud.counts[$0] ?? 0)
    }
    if atEdge.long > 0 || inCloud.long > 0 {
      groups.append(Group(value: nil, atEdge: atEdge.long, inCloud: inCloud.long))
    }
    groups.sort { $0.rank < $1.rank }
    let rest = groups.dropFirst(Self.most)
    self.init(
      column: column, groups: Array(groups.prefix(Self.most)), leftOut: rest.count,
      rest: Group(value: nil, atEdge: rest.reduce(0) { $0 + $1.atEdge }, inCloud: rest.reduce(0) { $0 + $1.inCloud }))
  }
}

extension GroupedRows.Group {
  /// Groups of one size stand in the order of their values.
  fileprivate var rank: (Int, Int, Double, String) {
    let number: Double
    var text = ""
    switch value {
    case .null: number = -.infinity
    case .integer(let integer): number = Double(integer)
    case .real(let real): number = real
    case .text(let bytes), .blob(let bytes): (number, text) = (.infinity, String(decoding: bytes, as: UTF8.self))
    case nil: (number, text) = (.infinity, "\u{10FFFF}")
    }
    return (atEdge == inCloud ? 1 : 0, -max(atEdge, inCloud), number, text)
  }
}
