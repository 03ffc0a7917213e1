import DroverCore
import Testing

@Suite struct BlockedSinksTests {
  private static let second: Int64 = 1_000_000
  private let a = try! MachineID("A")
  private let b = try! MachineID("B")
  private let c = try! MachineID("C")
  private let stock = try! StreamName("stock")

  private func blocked(_ reach: SinkBlocked.Reach) -> SinkBlocked {
    SinkBlocked(table: "stock", reach: reach, cause: .lock, text: "somebody has locked it", advice: "wait")
  }

  @Test func `a table holds back the streams of all machines, and rows those of one`() {
    var sinks = BlockedSinks()
    #expect(sinks.find(stock, of: a, now: 0) == nil)
    #expect(sinks.note(blocked(.machine), stock, of: a, now: 0).machine == a)
    #expect(sinks.find(stock, of: a, now: 1)?.isDue == false)
    #expect(sinks.find(stock, of: b, now: 1) == nil)
    #expect(sinks.note(blocked(.table), stock, of: b, now: 0).machine == nil)
    #expect(sinks.find(try! StreamName("STOCK"), of: c, now: 1)?.isDue == false)
    #expect(sinks.find(try! StreamName("pen"), of: a, now: 1) == nil)
  }

  @Test func `what two machines meet holds back all, so that not each of them tries`() {
    var sinks = BlockedSinks()
    _ = sinks.note(blocked(.machine), stock, of: a, now: 0)
    #expect(sinks.note(blocked(.machine), stock, of: b, now: 0).machine == nil)
    #expect(sinks.find(stock, of: c, now: 1)?.isDue == false)
    #expect(Set(sinks.passed(stock, of: c).map(\.machine)) == [nil, a])
    #expect(sinks.isEmpty)
  }

  @Test func `tries are further and further apart, up to eight seconds, and a clock that is set back delays none`() {
    var sinks = BlockedSinks()
    var now: Int64 = 100 * Self.second
    for (tries, pause) in [1, 2, 4, 8, 8, 8].enumerated() {
      let sink = sinks.note(blocked(.table), stock, of: a, now: now)
      #expect((sink.tries, sink.since, sink.last) == (tries + 1, 100 * Self.second, now))
      #expect(sinks.find(stock, of: a, now: now + Int64(pause) * Self.second - 1)?.isDue == false)
      now += Int64(pause) * Self.second
      #expect(sinks.find(stock, of: a, now: now)?.isDue == true)
    }
    _ = sinks.note(blocked(.table), stock, of: a, now: now)
    #expect(sinks.find(stock, of: a, now: now - 60 * Self.second)?.isDue == true)
  }

  @Test func `what the store keeps is tried at once, and what another consumer has got over is forgotten`() {
    var sinks = BlockedSinks()
    let kept = BlockedSink(stream: stock, machine: nil, blocked: blocked(.table), since: 5, last: 50, tries: 3)
    sinks.take([kept])
    #expect(sinks.find(stock, of: a, now: 51)?.isDue == true)
    #expect(sinks.note(blocked(.table), stock, of: a, now: 60).since == 5)
    sinks.take([kept])
    #expect(sinks.find(stock, of: a, now: 61)?.isDue == false)
    sinks.take([])
    #expect(sinks.isEmpty)
  }
}
