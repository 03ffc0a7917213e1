// When an agent tells the cloud how its outbox stands.

import DroverCore
@testable import DroverEdge
import Testing

@Suite struct StandingScheduleTests {
  private static let interval = Duration.seconds(60)
  private let begin = ContinuousClock.now
  private let empty = OutboxStanding(waiting: 0, oldest: nil, deadLetters: 0, freeBytes: 1_000_000)

  /// Looks whenever it is due, second by second; the seconds at which the cloud was told.
  private func tell(
    _ schedule: inout StandingSchedule, seconds: Range<Int>, took: Duration = .zero, _ find: (Int) -> OutboxStanding
  ) -> [Int] {
    seconds.filter { second in
      let now = begin.advanced(by: .seconds(second))
      return schedule.isDue(now: now) && schedule.looked(find(second), took: took, now: now)
    }
  }

  @Test func `what changes is told at the interval, and what does not now and then`() {
    var schedule = StandingSchedule(interval: Self.interval)
    schedule.connected(now: begin)
    #expect(tell(&schedule, seconds: 0..<2000) { _ in empty } == [2, 602, 1202, 1802])
    var waiting = empty
    #expect(
      tell(&schedule, seconds: 2000..<2200) {
        waiting.waiting = $0
        return waiting
      } == [2042, 2102, 2162])
    #expect(schedule.told?.waiting == 2162)
  }

  @Test func `a disk that fills slowly is no news, until it has filled by a fiftieth`() {
    var schedule = StandingSchedule(interval: Self.interval)
    schedule.connected(now: begin)
    var standing = empty
    #expect(
      tell(&schedule, seconds: 0..<800) {
        standing.freeBytes = 1_000_000 - Int64($0) * 100
        return standing
      } == [2, 242, 482, 722])
  }

  @Test func `without a connection nothing is looked at, and each connection tells`() {
    var schedule = StandingSchedule(interval: Self.interval)
    #expect(tell(&schedule, seconds: 0..<10) { _ in empty } == [])
    schedule.connected(now: begin.advanced(by: .seconds(10)))
    #expect(tell(&schedule, seconds: 10..<20) { _ in empty } == [12])
    schedule.disconnected()
    #expect(tell(&schedule, seconds: 20..<2000) { _ in empty } == [])
    schedule.connected(now: begin.advanced(by: .seconds(2000)))
    #expect(tell(&schedule, seconds: 2000..<2010) { _ in empty } == [2002])
  }

  @Test func `looking takes at most a hundredth of the time`() {
    var schedule = StandingSchedule(interval: Self.interval)
    schedule.connected(now: begin)
    var waiting = empty
    #expect(
      tell(&schedule, seconds: 0..<500, took: .seconds(2)) {
        waiting.waiting = $0
        return waiting
      } == [2, 202, 402])
  }
}
