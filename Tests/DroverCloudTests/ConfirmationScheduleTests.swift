import DroverCore
import Testing

@testable import DroverCloud

/// When machines hear their confirmations, with a clock of the test's.
@Suite struct ConfirmationScheduleTests {
  private let start = ContinuousClock.now
  private let interval = Duration.milliseconds(50)
  private let epoch = Epoch(random: 1)
  private var schedule = ConfirmationSchedule()

  private func machine(_ number: Int) -> MachineID { try! MachineID("M\(number)") }

  private mutating func touch(_ numbers: Int...) {
    for number in numbers { schedule.touch(machine(number), epoch: epoch) }
  }

  private mutating func due(at milliseconds: Int, limit: Int = 100) -> [String] {
    schedule.takeDue(now: start + .milliseconds(milliseconds), interval: interval, limit: limit).map(\.machine.text)
  }

  private func next(at milliseconds: Int) -> Duration? { schedule.nextDue(now: start + .milliseconds(milliseconds)) }

  @Test mutating func `a quiet machine hears at once, a busy one after the interval, and nobody twice`() {
    #expect(schedule.isEmpty && next(at: 0) == nil)
    touch(1, 2, 1)
    #expect(next(at: 0) == .zero && due(at: 0) == ["M1", "M2"])
    #expect(schedule.isEmpty && next(at: 1) == nil && due(at: 1) == [])
    touch(2)
    #expect(due(at: 49) == [] && next(at: 49) == .milliseconds(1) && !schedule.isEmpty)
    touch(3)
    #expect(next(at: 49) == .zero && due(at: 49) == ["M3"])
    #expect(due(at: 50) == ["M2"] && schedule.isEmpty)
    touch(1)
    #expect(due(at: 51) == ["M1"])
  }

  @Test mutating func `whoever waits longer comes first, whoever talks more, and what is over the limit stays`() {
    touch(1, 2, 3)
    #expect(due(at: 0, limit: 2) == ["M1", "M2"])
    touch(1, 2, 4)
    #expect(next(at: 0) == .zero)
    #expect(due(at: 60, limit: 3) == ["M3", "M4", "M1"])
    #expect(due(at: 60, limit: 3) == ["M2"])
  }

  @Test mutating func `the epoch of the last word counts`() {
    touch(1)
    schedule.touch(machine(1), epoch: Epoch(random: 2))
    let due = schedule.takeDue(now: start, interval: interval, limit: 1)
    #expect(due.map(\.epoch) == [Epoch(random: 2)])
  }
}
