import DroverCore
import Testing

@Suite struct MachineBudgetsTests {
  private let second: Int64 = 1_000_000
  private let now: Int64 = 1_795_000_000_000_000
  private let a = try! MachineID("A")
  private let b = try! MachineID("B")

  // MARK: A bucket

  @Test func `a bucket gives its capacity at once, and then as much as comes in`() {
    var bucket = TokenBucket(perSecond: 2, capacity: 5, now: now)
    let first = (0..<7).map { _ in bucket.take(now: now) }
    #expect(first == [true, true, true, true, true, false, false])
    let later = (0..<3).map { _ in bucket.take(now: now + second) }
    #expect(later == [true, true, false])
    let muchLater = (0..<7).count { _ in bucket.take(now: now + 3600 * second) }
    #expect(muchLater == 5)
  }

  @Test func `what is larger than the capacity is taken from a full bucket, and is a debt`() {
    var bucket = TokenBucket(perSecond: 1, capacity: 10, now: now)
    let taken = [
      bucket.take(25, now: now), bucket.take(now: now + 15 * second), bucket.take(now: now + 16 * second),
    ]
    #expect(taken == [true, false, true])
    bucket.charge(100, now: now + 16 * second)
    let isEmpty = !bucket.holds(1, now: now + 100 * second)
    #expect(isEmpty)
  }

  @Test(arguments: [Int64.min, -1, 0, 1_795_000_000_000_000 - 1, .max])
  func `a clock that is set gives no more than the capacity, and blocks nothing`(other: Int64) {
    var bucket = TokenBucket(perSecond: 1, capacity: 3, now: now)
    for time in [now, other, now, other] {
      let taken = (0..<10).count { _ in bucket.take(now: time) }
      #expect(taken <= 3)
    }
    let goesOn = [0, 5].map { bucket.take(now: now + $0 * second) }.contains(true)
    #expect(goesOn)
  }

  // MARK: Budgets

  @Test func `each machine has budgets of its own, and each rate is a budget of its own`() {
    var limits = MachineLimits()
    limits.messagesPerSecond = 2
    limits.deadLettersPerMinute = 30
    limits.epochsPerHour = 1
    var budgets = MachineBudgets(limits)
    let messages = (0..<11).map { _ in budgets.message(of: a, bytes: 1, now: now) }
    #expect(messages == Array(repeating: nil, count: 10) + [.messages])
    let letters = (0..<2).map { _ in budgets.letter(of: a, bytes: 1, now: now) }
    #expect(letters == [nil, .deadLetters])
    let others = [budgets.message(of: b, bytes: 1, now: now), budgets.letter(of: b, bytes: 1, now: now)]
    #expect(others == [nil, nil])
    let epochs = [0, 0, 3599, 3600].map { budgets.newEpoch(of: a, now: now + $0 * second) }
    #expect(epochs == [true, false, false, true])
  }

  @Test func `bytes count as they are unpacked`() {
    var limits = MachineLimits()
    limits.bytesPerSecond = 1000
    var budgets = MachineBudgets(limits)
    let before = budgets.message(of: a, bytes: 10, now: now)
    budgets.unpacked(10_000, of: a, now: now)
    let after = [0, 9].map { budgets.message(of: a, bytes: 10, now: now + $0 * second) }
    #expect(before == nil && after == [.bytes, nil])
  }

  // The figures of docs/performance.md: 300,000 events a second in frames of 100, and a window of 50,000 events.
  @Test
  func `an honest agent never meets the defaults: a drain, what waited for the consumer, a migration of all tables`() {
    var budgets = MachineBudgets(MachineLimits())
    // What lay in the broker comes in one second, in frames of one event at worst.
    let waited = (0..<50_000).count { budgets.message(of: a, bytes: 600, now: now + Int64($0) * 20) != nil }
    let drained = (3000..<180_000).count { budgets.message(of: a, bytes: 20_000, now: now + Int64($0) * 333) != nil }
    #expect(waited == 0 && drained == 0)
    let schemas = (0..<200).count { _ in !budgets.schemaChange(of: a, to: Self.schema(columns: 60), now: now) }
    // A restore every two minutes for a day.
    let epochs = (0..<720).count { !budgets.newEpoch(of: a, now: now + Int64($0) * 120 * second) }
    #expect(schemas == 0 && epochs == 0)
  }

  @Test func `a wide description counts for many, and so does one that changes again and again`() {
    var budgets = MachineBudgets(MachineLimits())
    let wide = (0..<20).count { _ in budgets.schemaChange(of: a, to: Self.schema(columns: 1000), now: now) }
    #expect(wide == 10)
    budgets = MachineBudgets(MachineLimits())
    let again = (0..<100).count { _ in
      budgets.schemaChange(of: a, to: Self.schema(columns: 3), isAgain: true, now: now)
    }
    #expect(again == 40)
  }

  private static func schema(columns: Int) -> StreamSchema {
    try! StreamSchema(
      kind: .snapshot, columns: (0..<columns).map { Column(name: "c\($0)", declaredType: "TEXT") }, key: [0])
  }

  // MARK: Tombstones

  @Test func `tombstones are counted at the first delete, and then when a sixteenth has been added`() {
    var limits = MachineLimits()
    limits.tombstones = 160
    limits.tombstoneBytes = 1600
    var room = TombstoneSpace()
    var due: [Bool] = []
    func add(_ count: Int, _ bytes: Int, _ machine: MachineID) {
      let isDue = room.isDue(TombstoneUse(count: count, bytes: bytes), of: machine, limits)
      if isDue { room.counted(machine) }
      due.append(isDue)
    }
    for (count, bytes) in [(1, 1), (9, 9), (1, 1), (1, 100)] { add(count, bytes, a) }
    add(1, 1, b)
    #expect(due == [true, false, true, true, true])
  }

  @Test(arguments: [
    (TombstoneUse(count: 160, bytes: 1600), Int?.none), (TombstoneUse(count: 161, bytes: 100), 10),
    (TombstoneUse(count: 1000, bytes: 100), 840), (TombstoneUse(count: 3, bytes: 1601), 1),
  ])
  func `beyond the bound the oldest go, some more than need be`(use: TombstoneUse, excess: Int?) {
    var limits = MachineLimits()
    limits.tombstones = 160
    limits.tombstoneBytes = 1600
    #expect(TombstoneSpace.excess(use, limits) == excess)
  }
}
