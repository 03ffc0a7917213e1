// What the agent does when the app's database cannot be worked on, and when it looks at it.

import DroverCore
import Testing

@Suite struct DatabaseWatchTests {
  private typealias Reaction = DatabaseWatch.Reaction
  private let begin = ContinuousClock.now

  private func at(_ milliseconds: Int) -> ContinuousClock.Instant { begin.advanced(by: .milliseconds(milliseconds)) }

  private func fail(_ watch: inout DatabaseWatch, _ error: EdgeStoreError, at milliseconds: Int) -> Reaction {
    watch.failed(error, began: at(milliseconds), now: at(milliseconds))
  }

  private func begins(_ watch: inout DatabaseWatch, at milliseconds: Int) -> Duration? {
    watch.begins(now: at(milliseconds))
  }

  @Test func `an error waits for its delay, and then the agent works again`() {
    for (error, reaction, delay) in [
      (EdgeStoreError.busy, Reaction.retry(.milliseconds(20), lockedFor: nil), 20),
      (.failed("x"), .retryAndTell(.seconds(1)), 1000), (.noSpace("x"), .retryAndTell(.seconds(1)), 1000),
    ] {
      var watch = DatabaseWatch(limits: DatabaseLimits())
      #expect(begins(&watch, at: 0) == nil)
      #expect(fail(&watch, error, at: 0) == reaction)
      #expect(watch.state == .waiting(until: at(delay)))
      #expect(begins(&watch, at: delay - 5) == .milliseconds(5))
      #expect(begins(&watch, at: delay) == nil && watch.state == .working)
    }
  }

  @Test func `other tables and another file are dealt with at once`() {
    var watch = DatabaseWatch(limits: DatabaseLimits())
    #expect(fail(&watch, .schemaChanged, at: 0) == .refresh)
    #expect(fail(&watch, .otherDatabase("x"), at: 0) == .leave("x"))
    #expect(watch.state == .working)
  }

  @Test func `a file that looks damaged for two seconds is, and nothing is written any more`() {
    var watch = DatabaseWatch(limits: DatabaseLimits())
    for moment in stride(from: 0, to: 2000, by: 500) {
      #expect(fail(&watch, .damaged("x"), at: moment) == .retry(.milliseconds(500), lockedFor: nil))
      #expect(begins(&watch, at: moment + 500) == nil)
    }
    #expect(fail(&watch, .damaged("x"), at: 2000) == .end("x"))
    #expect(watch.isDamaged && begins(&watch, at: 1_000_000) == .seconds(1))
  }

  @Test func `a file that is copied over the database looks damaged, and is not`() {
    var watch = DatabaseWatch(limits: DatabaseLimits())
    _ = fail(&watch, .damaged("x"), at: 0)
    _ = begins(&watch, at: 500)
    watch.worked()
    #expect(fail(&watch, .damaged("x"), at: 2500) == .retry(.milliseconds(500), lockedFor: nil))
  }

  @Test func `a lock is told of when it has been long in the way, and so is its end`() {
    var watch = DatabaseWatch(limits: DatabaseLimits())
    var told: [Int] = []
    for moment in stride(from: 0, through: 6000, by: 20) {
      _ = begins(&watch, at: moment)
      if case .retry(_, lockedFor: .some) = fail(&watch, .busy, at: moment) { told.append(moment) }
    }
    #expect(told == [5000])
    _ = begins(&watch, at: 7000)
    let length = watch.ended(now: at(7000))
    #expect(length == .seconds(7))
    let again = watch.ended(now: at(7001))
    #expect(again == nil)
  }

  @Test func `a turn that met the lock does not end it`() {
    var watch = DatabaseWatch(limits: DatabaseLimits())
    for moment in [0, 6000] {
      _ = begins(&watch, at: moment)
      _ = watch.metLock(now: at(moment))
      let length = watch.ended(now: at(moment))
      #expect(length == nil)
    }
  }

  @Test func `tables that cannot be looked at are looked at again`() {
    for (error, reaction) in [
      (EdgeStoreError.busy, Reaction.retry(.milliseconds(20), lockedFor: nil)), (.otherDatabase("x"), .leave("x")),
      (.schemaChanged, .retryAndTell(.seconds(1))), (.damaged("x"), .retryAndTell(.seconds(1))),
      (.failed("x"), .retryAndTell(.seconds(1))),
    ] {
      var watch = DatabaseWatch(limits: DatabaseLimits())
      let found = watch.refreshFailed(error, now: begin)
      #expect(found == reaction)
    }
  }

  // MARK: When it is looked at

  @Test func `a hint is followed for a tenth of a second, at growing distances, or until a commit shows`() {
    var watch = CommitWatch(limits: DatabaseLimits())
    #expect(watch.again == nil)
    watch.hinted()
    var delays: [Duration] = []
    while let again = watch.again, delays.count < 100 {
      delays.append(again)
      watch.looked(found: false)
    }
    #expect(delays.first == .microseconds(100) && delays.last == .microseconds(51_200) && delays.count == 10)
    watch.hinted()
    watch.looked(found: true)
    #expect(watch.again == nil)
  }

  @Test func `marks and forgets gather for a tenth of a second, and not when the agent stops`() {
    var pace = SettlePace(interval: .milliseconds(100))
    var due: [Bool] = []
    for (has, isStopping, moment) in [
      (false, false, 0), (true, false, 0), (true, false, 99), (true, true, 99), (true, false, 100),
    ] {
      due.append(pace.isDue(hasSettlement: has, isStopping: isStopping, now: at(moment)))
    }
    #expect(due == [false, false, false, true, true] && pace.at == at(100))
    pace.settled()
    #expect(pace.state == .idle && pace.at == nil)
    _ = pace.isDue(hasSettlement: true, isStopping: false, now: at(200))
    _ = pace.isDue(hasSettlement: false, isStopping: false, now: at(201))
    #expect(pace.state == .idle)
  }

  @Test func `rows at a rate come in pieces of a quarter of a second`() {
    var pace = BackfillPace(limits: RelayLimits())
    #expect(pace.rows(rate: nil) == 1000 && pace.rows(rate: 400) == 100 && pace.rows(rate: 1) == 1)
    #expect(pace.rows(rate: 1_000_000) == 1000)
    pace.brought(100, rate: 400, now: at(0))
    #expect(pace.wait(now: at(0)) == .milliseconds(250) && pace.wait(now: at(250)) == nil)
    pace.brought(1000, rate: nil, now: at(0))
    #expect(pace.wait(now: at(0)) == nil)
  }

  @Test func `the disk is measured once a second, and at once after a lock`() {
    var housekeeping = Housekeeping(limits: DatabaseLimits())
    var due: [Bool] = []
    for moment in [0, 999, 1000] { due.append(housekeeping.isSpaceDue(now: at(moment))) }
    housekeeping.metLock()
    due.append(housekeeping.isSpaceDue(now: at(1001)))
    #expect(due == [true, false, true, true])
  }

  @Test func `tables that streams wait for are looked at after a commit, and every five seconds at most`() {
    var housekeeping = Housekeeping(limits: DatabaseLimits())
    func due(_ hasWaits: Bool, _ moment: Int) -> Bool { housekeeping.isRepairDue(hasWaits: hasWaits, now: at(moment)) }
    let before = due(true, 0)
    housekeeping.committed()
    let (without, with) = (due(false, 0), due(true, 0))
    housekeeping.committed()
    let (soon, later) = (due(true, 4999), due(true, 5000))
    #expect(!before && !without && with && !soon && later)
  }
}
