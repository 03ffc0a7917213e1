// The delays between attempts: they rise, they end at the cap, and machines do not march in step.

import DroverCore
import Testing

@Suite struct BackoffTests {
  let backoff = Backoff()

  @Test(arguments: [(1, 250), (2, 500), (3, 1000), (7, 16000), (8, 30000), (9, 30000), (Int.max, 30000)])
  func `a delay lies in the upper half of its attempt's full delay`(attempt: Int, fullMilliseconds: Int) {
    let full = Duration.milliseconds(fullMilliseconds)
    for seed in UInt64(0)..<1000 {
      let delay = backoff.delay(attempt: attempt, seed: seed)
      #expect(delay >= full / 2 && delay <= full)
    }
  }

  @Test func `the same seed gives the same delay and neighbouring seeds spread over the whole range`() {
    #expect(backoff.delay(attempt: 4, seed: 7) == backoff.delay(attempt: 4, seed: 7))
    let delays = (UInt64(0)..<1000).map { backoff.delay(attempt: 8, seed: $0) }
    #expect(Set(delays).count == 1000)
    #expect(delays.min()! < .seconds(15.2) && delays.max()! > .seconds(29.8))
  }
}
