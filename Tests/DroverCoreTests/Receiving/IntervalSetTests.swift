// The set of intervals against a plain set of numbers: the same questions, the same answers, and always in normal form.

import DroverCore
import DroverTesting
import Testing

@Suite struct IntervalSetTests {
  /// A number line that both the intervals and a plain set can hold; `base` moves it to the edges of Int64.
  private struct Line {
    let base: Int64
    static let length: Int64 = 40

    func interval(_ random: inout Seeded) -> Interval {
      let after = Int64.random(in: 0..<Self.length, using: &random)
      return Interval(after: base + after, through: base + .random(in: after + 1...Self.length, using: &random))
    }

    func set(_ random: inout Seeded) -> (IntervalSet, Set<Int64>) {
      let intervals = (0..<Int.random(in: 0...4, using: &random)).map { _ in interval(&random) }
      return (IntervalSet(intervals), intervals.reduce(into: []) { $0.formUnion(Self.members($1)) })
    }

    static func members(_ interval: Interval) -> [Int64] {
      (0..<interval.through - interval.after).map { interval.after + 1 + $0 }
    }
  }

  private func isNormal(_ set: IntervalSet) -> Bool {
    zip(set.intervals, set.intervals.dropFirst()).allSatisfy { $0.through < $1.after }
  }

  @Test(arguments: [0, 1, 1 << 53, Int64.max - Line.length], UInt64(0)..<12)
  func `every operation answers as a plain set of numbers does`(base: Int64, seed: UInt64) {
    var random = Seeded(seed)
    let line = Line(base: base)
    var set = IntervalSet()
    var model: Set<Int64> = []
    for step in 0..<300 {
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<4:
        let interval = line.interval(&random)
        set.insert(interval)
        model.formUnion(Line.members(interval))
      case 4..<8:
        let interval = line.interval(&random)
        set.remove(interval)
        model.subtract(Line.members(interval))
      case 8:
        let (other, numbers) = line.set(&random)
        set.formUnion(other)
        model.formUnion(numbers)
      default:
        let (other, numbers) = line.set(&random)
        #expect(set.subtracting(other).intervals.flatMap(Line.members) == model.subtracting(numbers).sorted())
        set.subtract(other)
        model.subtract(numbers)
      }
      #expect(isNormal(set), "seed \(seed), step \(step): \(set)")
      #expect(set.intervals.flatMap(Line.members) == model.sorted(), "seed \(seed), step \(step)")
      #expect(set.isEmpty == model.isEmpty)
      #expect(set.last == model.max())

      let seq = base + .random(in: 0...Line.length, using: &random)
      #expect(set.contains(seq) == model.contains(seq))
      #expect(set.lastMember(below: seq) == model.filter { $0 < seq }.max() ?? 0)
      #expect(set.firstMember(above: seq) == model.filter { $0 > seq }.min())
      let interval = line.interval(&random)
      #expect(set.contains(interval) == model.isSuperset(of: Line.members(interval)))
    }
  }

  @Test(arguments: UInt64(0)..<100)
  func `front and ahead, and gaps, cut the number line without rest`(seed: UInt64) {
    var random = Seeded(seed)
    let (set, model) = Line(base: 0).set(&random)
    var front: Int64 = 0
    while model.contains(front + 1) { front += 1 }
    #expect(set.front == front, "seed \(seed)")
    #expect(set.ahead.flatMap(Line.members) == model.filter { $0 > front }.sorted(), "seed \(seed)")
    let missing = (1...(model.max() ?? 1)).filter { !model.contains($0) && !model.isEmpty }
    #expect(set.gaps.flatMap(Line.members) == missing, "seed \(seed)")
    #expect(isNormal(IntervalSet(set.gaps)) && IntervalSet(set.gaps).intervals == set.gaps)
  }

  @Test func `intervals that touch become one`() {
    var set = IntervalSet([Interval(after: 0, through: 4), Interval(after: 6, through: 9)])
    #expect(set.intervals.count == 2)
    set.insert(Interval(after: 4, through: 6))
    #expect(set.intervals == [Interval(after: 0, through: 9)])
  }

  @Test func `the order of insertion does not matter`() {
    var random = Seeded(7)
    for _ in 0..<200 {
      let intervals = (0..<8).map { _ in Line(base: 0).interval(&random) }
      #expect(IntervalSet(intervals) == IntervalSet(intervals.shuffled(using: &random)))
    }
  }

  @Test func `all numbers there are can be in the set, and be asked for at both ends`() {
    var set = IntervalSet(CollectionOfOne(Interval(after: 0, through: .max)))
    #expect(set.contains(1) && set.contains(.max) && !set.contains(0) && !set.contains(.min))
    #expect(set.front == .max && set.ahead.isEmpty && set.gaps.isEmpty)
    #expect(set.lastMember(below: 1) == 0 && set.lastMember(below: .max) == .max - 1 && set.lastMember(below: 0) == 0)
    #expect(
      set.firstMember(above: 0) == 1 && set.firstMember(above: .max - 1) == .max && set.firstMember(above: .max) == nil)
    set.remove(Interval(after: .max - 1, through: .max))
    #expect(set.last == Int64.max - 1)
    set.remove(Interval(after: 0, through: 1))
    #expect(set.intervals == [Interval(after: 1, through: .max - 1)] && set.front == 0)
  }

  @Test func `the empty set answers every question`() {
    let set = IntervalSet()
    #expect(set.isEmpty && set.last == nil && set.front == 0 && set.ahead.isEmpty && set.gaps.isEmpty)
    #expect(set.lastMember(below: 9) == 0 && set.firstMember(above: 9) == nil && !set.contains(1))
    #expect(!set.contains(Interval(after: 0, through: 1)) && set.description.isEmpty)
  }

  @Test func `an interval reads as it is written in mathematics`() {
    #expect(IntervalSet([Interval(after: 0, through: 4), Interval(after: 6, through: 9)]).description == "(0,4] (6,9]")
  }
}
