// The short run of the fuzzer; `make fuzz` is the long one.

import DroverSimulation
import DroverTesting
import Testing

@Suite(.ownThread) struct FuzzTests {
  @Test(arguments: UInt64(1)...4) func `no document ends a process, and both sides go on with their work`(seed: UInt64)
    throws
  {
    let counts = try Fuzz.run(seed: seed)
    #expect(counts.documents > 0 && counts.accepted > 0 && counts.toConsumer > 0 && counts.toAgent > 0, "\(counts)")
  }
}
