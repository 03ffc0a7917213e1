// Who notices that the cloud's store was restored, and when.

import DroverCore
import Testing

@Suite struct StoreRunTests {
  /// 1 to 10 from before there were runs, 11 to 20 in run 5, 21 to 30 in run 6.
  private static let runs = [StoreRun(number: 5, first: 11), StoreRun(number: 6, first: 21)]

  @Test(arguments: [
    // What the machine has received up to, the run that it knows, and whether the store went back.
    (31, 6, true), (31, 0, true), (30, 6, false), (20, 6, false), (10, 6, false), (0, 6, false),
    (20, 5, false), (21, 5, true), (30, 5, true), (10, 5, false),
    // A run that the store does not know: lost, or too old to be judged.
    (30, 7, true), (11, 7, true), (10, 7, false),
    // The machine knows of none.
    (30, 0, false), (11, 0, false),
  ])
  func `the store compares what a machine has received with what it has given`(
    highest: Int64, run: Int64, wentBack: Bool
  ) {
    #expect(StoreRun.storeWentBack(received: highest, in: run, runs: Self.runs, last: 30) == wentBack)
  }

  @Test func `numbers that were given before there were runs are judged by their height alone`() {
    #expect(!StoreRun.storeWentBack(received: 30, in: 7, runs: [], last: 30))
    #expect(StoreRun.storeWentBack(received: 31, in: 7, runs: [], last: 30))
  }

  @Test(arguments: [
    // A frame's run, its first number, what is known and received, and whether the numbers are given again.
    (5, 11, 5, 20, false), (6, 21, 5, 20, false), (6, 20, 5, 20, true), (4, 1, 5, 20, true), (6, 20, 0, 20, false),
    (6, 1, 0, 0, false),
  ])
  func `a machine drops what repeats numbers of another run`(
    run: Int64, first: Int64, known: Int64, highest: Int64, repeats: Bool
  ) {
    #expect(StoreRun(number: run, first: first).repeatsNumbers(known: known, highest: highest) == repeats)
  }
}
