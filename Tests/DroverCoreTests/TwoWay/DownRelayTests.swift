// Which lanes the consumer sends on when rows get numbers, and when a machine confirms what came down.

import DroverCore
import Testing

@Suite struct DownRelayTests {
  private let now = ContinuousClock.now
  private let a = try! MachineID("A")
  private let b = try! MachineID("B")

  private func stream(_ machine: MachineID, _ name: String, last: Int64 = 0, reach: Reach = .machine) throws
    -> DownStream
  {
    let schema = try StreamSchema(
      kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0],
      flow: Flow(direction: reach == .all ? .down : .both, reach: reach))
    return DownStream(
      machine: machine, stream: try StreamName(name), schema: schema, last: last, received: IntervalSet())
  }

  /// The lanes that have something to send, each with where it begins; all of it is sent then.
  private func sent(_ relay: inout DownRelay) -> [String] {
    var sent: [String] = []
    while case .send(let stream, let after) = relay.next(now: now) {
      sent.append("\(stream.machine) \(stream.stream) \(after)-\(stream.last)")
      relay.published(stream, through: stream.last, last: stream.last, now: now)
    }
    return sent
  }

  @Test func `rows that got numbers go to the machine whose they are, on the lanes of their table alone`() throws {
    var relay = DownRelay()
    relay.loaded([try stream(a, "Stock"), try stream(a, "other")], of: a)
    relay.loaded([try stream(b, "Stock")], of: b)
    #expect(sent(&relay) == [])
    relay.raised(MachineStream(machine: a, stream: try StreamName("stock")), to: 3)
    #expect(sent(&relay) == ["A Stock 0-3"])
    // A number that was given before.
    relay.raised(MachineStream(machine: a, stream: try StreamName("Stock")), to: 2)
    #expect(sent(&relay) == [])
    relay.raised(MachineStream(machine: a, stream: try StreamName("Stock")), to: 4)
    #expect(sent(&relay) == ["A Stock 3-4"])
  }

  @Test func `rows for all machines go to those that have the stream so, and to no other`() throws {
    var relay = DownRelay()
    relay.loaded([try stream(a, "price", reach: .all)], of: a)
    relay.loaded([try stream(b, "price")], of: b)
    relay.raised(MachineStream(machine: .all, stream: try StreamName("price")), to: 2)
    #expect(sent(&relay) == ["A price 0-2"])
    relay.raised(MachineStream(machine: a, stream: try StreamName("price")), to: 9)
    #expect(sent(&relay) == [])
  }

  // A machine whose database was restored while its connection went on lacked rows, and the lane had nothing to send any more.
  @Test func `a machine that has received less than before gets it again`() throws {
    var relay = DownRelay()
    relay.loaded([try stream(a, "stock", last: 9)], of: a)
    #expect(sent(&relay) == ["A stock 0-9"])
    let name = try StreamName("stock")
    func upTo(_ last: Int64) -> IntervalSet { IntervalSet([Interval(after: 0, through: last)]) }
    relay.confirmed([name: upTo(9)], of: a, now: now)
    #expect(sent(&relay) == [])
    relay.confirmed([name: upTo(4)], of: a, now: now)
    #expect(sent(&relay) == ["A stock 4-9"])
    relay.confirmed([name: upTo(9)], of: a, now: now)
    relay.confirmed([:], of: a, now: now)
    #expect(sent(&relay) == ["A stock 0-9"])
  }

  // A lane whose work was taken back waited for its retry, and what came meanwhile waited with it.
  @Test func `a number that the store does not know any more holds nothing up`() throws {
    var relay = DownRelay()
    let lane = try stream(a, "stock", last: 2)
    relay.loaded([lane], of: a)
    #expect(sent(&relay) == ["A stock 0-2"])
    let origin = MachineStream(machine: a, stream: lane.stream)
    relay.raised(origin, to: 5)
    guard case .send(let found, after: 2) = relay.next(now: now) else { return #expect(Bool(false)) }
    relay.found(last: 2, of: found)
    #expect(sent(&relay) == [])
    relay.raised(origin, to: 3)
    #expect(sent(&relay) == ["A stock 2-3"])
  }

  @Test func `frames that came down are confirmed together, and at once where the cloud has to hear it`() {
    let limits = WaitingLimits()
    var pace = DownConfirmPace(limits: limits)
    #expect(!pace.isDue(now: now) && pace.at == nil)
    pace.applied(now: now)
    #expect(!pace.isDue(now: now) && pace.at == now.advanced(by: limits.downConfirmDelay))
    pace.applied(now: now.advanced(by: limits.downConfirmDelay / 2))
    #expect(pace.isDue(now: now.advanced(by: limits.downConfirmDelay)), "the first of them counts")
    for _ in 2..<limits.downConfirmFrames { pace.applied(now: now) }
    #expect(pace.isDue(now: now))
    pace.said()
    #expect(!pace.isDue(now: now) && pace.at == nil)
    pace.asked()
    #expect(pace.isDue(now: now))
  }

  // Then the cloud would wait for a confirmation that the machine does not send before its time.
  @Test func `a machine confirms before the cloud has sent all that it may`() {
    #expect(WaitingLimits().downConfirmFrames <= DownLimits().frames / 2)
  }
}
