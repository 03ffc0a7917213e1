import DroverCore
import Testing

/// An app held its lock for minutes, and not one line said why nothing moved.
@Suite struct LockWatchTests {
  private let start = ContinuousClock().now
  private func at(_ seconds: Int) -> ContinuousClock.Instant { start.advanced(by: .seconds(seconds)) }

  @Test func `a lock is told of after five seconds, and then ever more rarely`() {
    var watch = LockWatch()
    let told = (0...9000).filter { watch.met(now: at($0)) != nil }
    #expect(told == [5, 60, 720, 8640])
  }

  @Test func `only what was told of is over`() {
    var watch = LockWatch()
    #expect(watch.free(now: at(0)) == nil)
    #expect(watch.met(now: at(0)) == nil && watch.met(now: at(4)) == nil)
    #expect(watch.free(now: at(4)) == nil)
    #expect(watch.met(now: at(6)) == nil && watch.met(now: at(11)) == .seconds(5))
    #expect(watch.free(now: at(13)) == .seconds(7))
    #expect(watch.free(now: at(14)) == nil && watch.met(now: at(20)) == nil)
  }
}
