// Which sequence numbers are covered: the cloud's memory of what it has received, the edge's of what it has published
// and what is confirmed. Arrival order never matters, because the union of intervals does not depend on it.

/// The sequence numbers after `after` up to and including `through`; never empty.
package struct Interval: Hashable, Sendable, CustomStringConvertible {
  package let after: Int64
  package let through: Int64

  /// An interval that comes from outside; nil when it cannot be one.
  package init?(believing after: Int64, _ through: Int64) {
    guard Bounds.sequence.contains(after), Bounds.sequence.contains(through), after < through else { return nil }
    self.init(after: after, through: through)
  }

  /// Precondition: `after < through`, both at least 0.
  package init(after: Int64, through: Int64) {
    precondition(0 <= after && after < through, "an interval covers at least one sequence number")
    self.after = after
    self.through = through
  }

  package func contains(_ seq: Int64) -> Bool { after < seq && seq <= through }
  package var description: String { "(\(after),\(through)]" }
}

/// A set of sequence numbers, kept as sorted intervals that neither overlap nor touch.
package struct IntervalSet: Equatable, Sendable, CustomStringConvertible {
  package private(set) var intervals: [Interval] = []

  package init() {}
  /// In whatever order they are.
  package init(_ intervals: some Swift.Sequence<Interval>) {
    for interval in intervals.sorted(by: { $0.after < $1.after }) { insert(interval) }
  }

  package var isEmpty: Bool { intervals.isEmpty }
  package var last: Int64? { intervals.last?.through }

  /// Everything from 1 up to this number is in the set: the contiguous front; 0 when 1 is missing.
  package var front: Int64 {
    guard let first = intervals.first, first.after == 0 else { return 0 }
    return first.through
  }

  /// The intervals beyond the front.
  package var ahead: ArraySlice<Interval> {
    intervals.first?.after == 0 ? intervals.dropFirst() : intervals[...]
  }

  package func contains(_ seq: Int64) -> Bool {
    let index = firstIndex(endingAtOrAfter: seq)
    return index < intervals.count && intervals[index].contains(seq)
  }

  package func contains(_ interval: Interval) -> Bool {
    let index = firstIndex(endingAtOrAfter: interval.through)
    return index < intervals.count && intervals[index].after <= interval.after
  }

  /// Whether an interval overlaps or touches one that is there, so that the set has no more of them with it.
  package func touches(_ interval: Interval) -> Bool {
    let index = firstIndex(endingAtOrAfter: interval.after)
    return index < intervals.count && intervals[index].after <= interval.through
  }

  package mutating func insert(_ interval: Interval) {
    // Touching counts as overlapping: (1,4] and (4,6] become (1,6].
    let lower = firstIndex(endingAtOrAfter: interval.after)
    var upper = lower
    var after = interval.after
    var through = interval.through
    while upper < intervals.count, intervals[upper].after <= interval.through {
      after = min(after, intervals[upper].after)
      through = max(through, intervals[upper].through)
      upper += 1
    }
    if upper == lower + 1 {
      intervals[lower] = Interval(after: after, through: through)
    } else {
      intervals.replaceSubrange(lower..<upper, with: CollectionOfOne(Interval(after: after, through: through)))
    }
  }

  package mutating func remove(_ interval: Interval) {
    let lower = firstIndex(endingAtOrAfter: interval.after + 1)
    var upper = lower
    var kept: [Interval] = []
    while upper < intervals.count, intervals[upper].after < interval.through {
      let hit = intervals[upper]
      if hit.after < interval.after { kept.append(Interval(after: hit.after, through: interval.after)) }
      if interval.through < hit.through { kept.append(Interval(after: interval.through, through: hit.through)) }
      upper += 1
    }
    if upper > lower { intervals.replaceSubrange(lower..<upper, with: kept) }
  }

  package mutating func formUnion(_ other: IntervalSet) {
    for interval in other.intervals { insert(interval) }
  }

  package mutating func subtract(_ other: IntervalSet) {
    for interval in other.intervals { remove(interval) }
  }

  package func subtracting(_ other: IntervalSet) -> IntervalSet {
    var result = self
    result.subtract(other)
    return result
  }

  /// The largest member below `seq`, or 0.
  package func lastMember(below seq: Int64) -> Int64 {
    let index = firstIndex(endingAtOrAfter: seq)
    if index < intervals.count, intervals[index].after < seq - 1 { return seq - 1 }
    return index > 0 ? intervals[index - 1].through : 0
  }

  /// The smallest member above `seq`, or nil.
  package func firstMember(above seq: Int64) -> Int64? {
    guard seq < .max else { return nil }
    let index = firstIndex(endingAtOrAfter: seq + 1)
    guard index < intervals.count else { return nil }
    return max(intervals[index].after, seq) + 1
  }

  /// What is missing below the largest member.
  package var gaps: [Interval] {
    var result: [Interval] = []
    var end: Int64 = 0
    for interval in intervals {
      if end < interval.after { result.append(Interval(after: end, through: interval.after)) }
      end = interval.through
    }
    return result
  }

  package var description: String { intervals.map(\.description).joined(separator: " ") }

  /// Index of the first interval whose `through` is at least `seq`; `intervals.count` if there is none.
  private func firstIndex(endingAtOrAfter seq: Int64) -> Int {
    var low = 0
    var high = intervals.count
    // Nearly always asked about the newest end.
    if let last = intervals.last, last.through < seq { return high }
    while low < high {
      let middle = (low + high) / 2
      if intervals[middle].through < seq { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
