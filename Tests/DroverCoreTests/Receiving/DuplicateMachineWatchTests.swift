// Two copies of a card sent everything again every three seconds: 47 full re-sends in 65 s (issue 14).

import DroverCore
import Testing

@Suite struct DuplicateMachineWatchTests {
  private static let second: Int64 = 1_000_000

  /// What is found after each status; they come a second apart.
  private func verdicts(_ processes: [Int64], isHeld: Bool = false, apart: Int64 = second) -> [DuplicateMachineWatch
    .Verdict]
  {
    var watch = DuplicateMachineWatch()
    return processes.enumerated().map { index, process in
      watch.heard(process, said: Int64(index), isHeld: isHeld, now: Int64(index) * apart)
    }
  }

  @Test(
    arguments: [
      [1, 1, 1, 1, 1, 1],  // one that tells how it stands
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],  // one that is started again and again
      [1, 1, 2, 2, 2, 3],  // a new card
      [1, 2, 1, 2],  // a last word that comes late
    ] as [[Int64]])
  func `one machine is no clone, whatever it does`(processes: [Int64]) {
    let found = verdicts(processes)
    #expect(found.allSatisfy { $0 != .cloned })
    // Each process that follows another is asked whether it is alone.
    let changes = zip(processes, processes.dropFirst()).map {
      $0 == $1 ? DuplicateMachineWatch.Verdict.nothing : .unclear
    }
    #expect(found == [.nothing] + changes)
  }

  @Test(
    arguments: [
      [1, 2, 1, 2, 1], [1, 2, 2, 1, 1, 2, 1], [1, 2, 3, 1, 2, 3, 1], [0, 1, 2, 1, 2, 1],
    ] as [[Int64]])
  func `a process that is heard twice more after another lives beside it`(processes: [Int64]) {
    let found = verdicts(processes)
    #expect(found.last == .cloned)
    #expect(found.dropLast().allSatisfy { $0 != .cloned })
  }

  @Test func `returns that are far apart are none`() {
    #expect(verdicts([1, 2, 1, 2, 1, 2, 1], apart: 700 * Self.second).allSatisfy { $0 == .nothing })
  }

  @Test func `a status that comes twice counts once`() {
    var watch = DuplicateMachineWatch()
    for now in 0..<20 {
      #expect(watch.heard(now.isMultiple(of: 2) ? 1 : 2, said: 5, isHeld: false, now: Int64(now)) != .cloned)
    }
  }

  @Test func `while both are heard neither is alone, and one is when the other has been silent for half a minute`() {
    var watch = DuplicateMachineWatch()
    for now in stride(from: Int64(0), to: 200, by: 10) {
      let process: Int64 = (now / 10).isMultiple(of: 2) ? 1 : 2
      #expect(watch.heard(process, said: now, isHeld: true, now: now * Self.second) == .nothing)
    }
    // The second was heard last at 190 s.
    for now in stride(from: Int64(200), to: 220, by: 10) {
      #expect(watch.heard(1, said: now, isHeld: true, now: now * Self.second) == .nothing)
    }
    #expect(watch.heard(1, said: 220, isHeld: true, now: 220 * Self.second) == .alone)
    // What was before it counts no more.
    #expect(watch.heard(2, said: 249, isHeld: false, now: 249 * Self.second) == .unclear)
    #expect(watch.heard(1, said: 252, isHeld: false, now: 252 * Self.second) == .unclear)
  }

  @Test func `a consumer that has just started listens for half a minute before it calls one alone`() {
    var watch = DuplicateMachineWatch()
    #expect(watch.heard(1, said: 1, isHeld: true, now: 1000 * Self.second) == .nothing)
    #expect(watch.heard(1, said: 2, isHeld: true, now: 1029 * Self.second) == .nothing)
    #expect(watch.heard(1, said: 3, isHeld: true, now: 1030 * Self.second) == .alone)
  }
}

@Suite struct SessionWatchTests {
  private static let second: Int64 = 1_000_000

  @Test func `a session that another client takes three times within ten minutes is unstable`() {
    var watch = SessionWatch()
    #expect(watch.closed(isTaken: true, now: 0) == nil)
    #expect(watch.closed(isTaken: true, now: 60 * Self.second) == nil)
    #expect(
      watch.closed(isTaken: true, now: 180 * Self.second)
        == Trouble(.session, since: 0, last: 180 * Self.second, count: 3))
    #expect(watch.closed(isTaken: true, now: 200 * Self.second)?.count == 4)
  }

  @Test func `other ends of a connection, and a few in a day, are none of it`() {
    var watch = SessionWatch()
    for hour in 0..<24 {
      let now = Int64(hour) * 3600 * Self.second
      #expect(watch.closed(isTaken: true, now: now) == nil)
      for minute in 1..<10 { #expect(watch.closed(isTaken: false, now: now + Int64(minute) * 60 * Self.second) == nil) }
    }
  }

  @Test func `where the broker has no word for it, a connection that ends at once counts`() {
    var watch = SessionWatch()
    var found: [Trouble?] = []
    for start in [0, 10, 20] as [Int64] {
      watch.opened(now: start * Self.second)
      found.append(watch.closed(isTaken: nil, now: (start + 1) * Self.second))
    }
    #expect(found.map { $0?.count } == [nil, nil, 3])
    watch.opened(now: 30 * Self.second)
    #expect(watch.closed(isTaken: nil, now: 91 * Self.second) == nil)
    #expect(watch.closed(isTaken: nil, now: 92 * Self.second) == nil)
  }

  @Test(arguments: [(Int64(0), true), (599, true), (601, false)])
  func `a session that nobody takes any more is steady after ten minutes, and clones are until that is taken back`(
    seconds: Int64, isPresent: Bool
  ) {
    let now = seconds * Self.second
    #expect(Trouble(.session, since: 0, last: 0, count: 3).isPresent(now: now) == isPresent)
    #expect(Trouble(.cloned, since: 0, last: 0, count: 3).isPresent(now: now))
  }
}
