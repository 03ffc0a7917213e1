import DroverCore
import Testing

@Suite struct RunsTests {
  /// What an edge knows that had the runs 10, 20 and 30.
  private let own = Runs([Run(number: 10, reached: 4), Run(number: 20, reached: 4), Run(number: 30, reached: 9)])

  private func heard(_ number: Int64, _ reached: Int64) -> Runs { Runs([Run(number: number, reached: reached)]) }

  @Test func `a cloud that has heard of an edge's own runs, as far as each has come, agrees with it`() {
    #expect(!own.contradicts(Runs()))
    #expect(!own.contradicts(own))
    #expect(!own.contradicts(heard(20, 0)))
    #expect(!own.contradicts(heard(30, 9)))
  }

  @Test func `a run that never was, and one that reached further than it did, are another future's`() {
    #expect(own.contradicts(heard(30, 10)))
    #expect(own.contradicts(heard(10, 5)))
    #expect(own.contradicts(heard(31, 1)))
    #expect(own.contradicts(heard(25, 1)))
    #expect(
      own.contradicts(Runs([Run(number: 20, reached: 4), Run(number: 25, reached: 1), Run(number: 30, reached: 9)])))
  }

  @Test func `of runs older than all that are known nothing is said`() {
    #expect(!own.contradicts(heard(9, 100)))
    #expect(!Runs().contradicts(own))
  }

  @Test func `in a new epoch every run but the present one is another future's`() {
    var fresh = Runs.beginning
    fresh.raise(30, to: 2)
    #expect(!fresh.contradicts(heard(30, 2)))
    #expect(fresh.contradicts(heard(20, 0)))
    #expect(fresh.contradicts(heard(0, 1)), "frames without a run, of an agent that knows of none")
  }

  @Test func `runs are kept in order, what they reached only rises, and the oldest goes`() {
    var runs = Runs([Run(number: 20, reached: 5), Run(number: 10, reached: 3)])
    runs.raise(20, to: 4)
    runs.raise(10, to: 6)
    #expect(runs.list == [Run(number: 10, reached: 6), Run(number: 20, reached: 5)])
    #expect(runs.newest == Run(number: 20, reached: 5))
    #expect(runs.isOver(19) && !runs.isOver(20) && !runs.isOver(21) && !Runs().isOver(0))
    for number in 21...Int64(20 + Runs.most) { runs.raise(number, to: 1) }
    #expect(runs.list.map(\.number) == Array(21...Int64(20 + Runs.most)))
    #expect(runs.told.list == Array(runs.list.suffix(Runs.mostTold)))
  }
}
