// When an agent tells the cloud how its outbox stands.

import DroverCore
import Testing

@Suite struct OutboxReportScheduleTests {
  private static let limits = ReportingLimits()
  private let begin = ContinuousClock.now
  private let empty = OutboxFigures(waiting: 0, oldest: nil, deadLetters: 0, freeBytes: 1_000_000)

  /// Looks whenever it is due, second by second; the seconds at which the cloud was reported.
  private func tell(
    _ schedule: inout OutboxReportSchedule, seconds: Range<Int>, took: Duration = .zero, _ find: (Int) -> OutboxFigures
  ) -> [Int] {
    seconds.filter { second in
      let now = begin.advanced(by: .seconds(second))
      return schedule.isDue(now: now) && schedule.looked(find(second), oldest: nil, took: took, now: now)
    }
  }

  @Test func `what changes is reported at the interval, and what does not now and then`() {
    var schedule = OutboxReportSchedule(limits: Self.limits)
    schedule.connected(now: begin)
    #expect(tell(&schedule, seconds: 0..<2000) { _ in empty } == [2, 602, 1202, 1802])
    var waiting = empty
    #expect(
      tell(&schedule, seconds: 2000..<2200) {
        waiting.waiting = $0
        return waiting
      } == [2042, 2102, 2162])
    #expect(schedule.reported?.waiting == 2162)
  }

  @Test func `a disk that fills slowly is no news, until it has filled by a fiftieth`() {
    var schedule = OutboxReportSchedule(limits: Self.limits)
    schedule.connected(now: begin)
    var figures = empty
    #expect(
      tell(&schedule, seconds: 0..<800) {
        figures.freeBytes = 1_000_000 - Int64($0) * 100
        return figures
      } == [2, 242, 482, 722])
  }

  @Test func `without a connection nothing is looked at, and each connection tells`() {
    var schedule = OutboxReportSchedule(limits: Self.limits)
    #expect(tell(&schedule, seconds: 0..<10) { _ in empty } == [])
    schedule.connected(now: begin.advanced(by: .seconds(10)))
    #expect(tell(&schedule, seconds: 10..<20) { _ in empty } == [12])
    schedule.disconnected()
    #expect(tell(&schedule, seconds: 20..<2000) { _ in empty } == [])
    schedule.connected(now: begin.advanced(by: .seconds(2000)))
    #expect(tell(&schedule, seconds: 2000..<2010) { _ in empty } == [2002])
  }

  @Test func `looking takes at most a hundredth of the time`() {
    var schedule = OutboxReportSchedule(limits: Self.limits)
    schedule.connected(now: begin)
    var waiting = empty
    #expect(
      tell(&schedule, seconds: 0..<500, took: .seconds(2)) {
        waiting.waiting = $0
        return waiting
      } == [2, 202, 402])
  }

  // MARK: At once

  /// One second of the agent's turns.
  private func turn(
    _ schedule: inout OutboxReportSchedule, at second: Double, isIdle: Bool, waiting: Int, oldest: Double? = nil
  ) -> Bool {
    let now = begin.advanced(by: .seconds(second))
    schedule.sees(isIdle: isIdle, now: now)
    guard schedule.isDue(now: now) else { return false }
    var figures = empty
    figures.waiting = waiting
    return schedule.looked(figures, oldest: oldest.map { .seconds($0) }, took: .zero, now: now)
  }

  /// A schedule that has reported how many wait.
  private func reported(_ waiting: Int) -> OutboxReportSchedule {
    var schedule = OutboxReportSchedule(limits: Self.limits)
    schedule.connected(now: begin)
    #expect(turn(&schedule, at: 2, isIdle: waiting == 0, waiting: waiting, oldest: waiting > 0 ? 9 : nil))
    return schedule
  }

  // The cloud showed `waiting 9000` for up to a minute after all of it was confirmed.
  @Test func `an outbox that has become empty is reported at once`() {
    var schedule = reported(9000)
    #expect(!turn(&schedule, at: 20, isIdle: false, waiting: 4000, oldest: 20))
    #expect(turn(&schedule, at: 20.1, isIdle: true, waiting: 0))
    #expect(schedule.reported?.waiting == 0)
    #expect(!turn(&schedule, at: 30, isIdle: true, waiting: 0), "it is reported once")
  }

  @Test func `an outbox that has begun to wait is reported after a second`() {
    var schedule = reported(0)
    #expect(!turn(&schedule, at: 20, isIdle: false, waiting: 5, oldest: 0))
    #expect(!turn(&schedule, at: 20.9, isIdle: false, waiting: 5, oldest: 0.9))
    #expect(turn(&schedule, at: 21, isIdle: false, waiting: 5, oldest: 1))
    #expect(schedule.reported?.waiting == 5)
  }

  @Test func `what is on its way is not called waiting, however long the road is busy`() {
    var schedule = reported(0)
    for second in 20..<60 { #expect(!turn(&schedule, at: Double(second), isIdle: false, waiting: 5, oldest: 0.1)) }
  }

  @Test func `an outbox that fills and empties all the time costs no status for each turn, and ends true`() {
    var schedule = reported(0)
    var count = 0
    for second in stride(from: 10.0, to: 610, by: 2) {
      if turn(&schedule, at: second, isIdle: false, waiting: 1, oldest: 1) { count += 1 }
      if turn(&schedule, at: second + 1, isIdle: false, waiting: 1, oldest: 1) { count += 1 }
      if turn(&schedule, at: second + 1.5, isIdle: true, waiting: 0) { count += 1 }
    }
    #expect((40...80).contains(count), "\(count)")
    for second in 610..<625 { _ = turn(&schedule, at: Double(second), isIdle: true, waiting: 0) }
    #expect(schedule.reported?.waiting == 0)
  }

  @Test func `without a connection nothing is reported at once`() {
    var schedule = reported(9000)
    schedule.disconnected()
    #expect(!turn(&schedule, at: 20, isIdle: true, waiting: 0))
  }

  @Test func `what was reported has an age, and a look that finds the same makes it young`() {
    var schedule = reported(0)
    func age(_ second: Int) -> Duration { schedule.age(now: begin.advanced(by: .seconds(second))) }
    #expect(age(40) == .seconds(38))
    #expect(!turn(&schedule, at: 62, isIdle: true, waiting: 0))
    #expect(age(70) == .seconds(8))
  }
}
