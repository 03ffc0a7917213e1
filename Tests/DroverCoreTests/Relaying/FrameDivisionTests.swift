// How large frames are, and what becomes of those that somebody finds too large; and the queue of what comes from the cloud.

import DroverCore
import Testing

@Suite struct FrameDivisionTests {
  private let stream = EdgeStream(
    number: 1, StreamDeclaration(name: try! StreamName("stock"), kind: .snapshot, table: "t"))
  private let other = EdgeStream(
    number: 2, StreamDeclaration(name: try! StreamName("lot"), kind: .batch, table: "u"))

  private func division() -> FrameDivision { FrameDivision(limits: RelayLimits()) }

  @Test func `frames are as large as the operator says, for each stream`() {
    let division = division()
    var stream = stream
    stream.declaration.frame = EventLimit(events: 3, bytes: 1000)
    #expect(division.size(of: stream).events == 3 && division.size(of: stream).bytes == 1000)
    #expect(division.size(of: other).events == 100 && division.size(of: other).bytes == 64 << 10)
  }

  @Test func `a frame is full at half of what broker and consumer take`() {
    var division = division()
    division.opened(maximumPacketSize: 10_000, level: 5)
    #expect(division.size(of: stream).bytes == 5000)
    let isTooLate = division.heard(consumerLimit: 4000)
    #expect(!isTooLate && division.size(of: stream).bytes == 2000)
    _ = division.heard(consumerLimit: nil)
    #expect(division.size(of: stream).bytes == 5000)
  }

  @Test func `frames that were sent before the consumer named its limit are doubted, once`() {
    var division = division()
    division.sending(bytes: 5000)
    var doubts: [Bool] = []
    for limit in [6000, 4000, 4000, 3000] { doubts.append(division.heard(consumerLimit: limit)) }
    #expect(doubts == [false, true, false, false])
    #expect(division.isBeyondConsumer(bytes: 3001) && !division.isBeyondConsumer(bytes: 3000))
  }

  @Test func `a frame that is refused is divided, and an event that is refused alone is a dead letter`() {
    var division = division()
    #expect(division.refused(stream, events: 100, bytes: 60_000, onlySeq: nil) == .divided)
    #expect(division.size(of: stream).events == 50 && division.size(of: other).events == 100)
    #expect(division.refused(stream, events: 1, bytes: 60_000, onlySeq: 7) == .deadLetter(seq: 7))
    #expect(division.size(of: stream).events == 100)
  }

  @Test func `another limit, and another database, begin with whole frames`() {
    for isOtherDatabase in [false, true] {
      var division = division()
      _ = division.refused(stream, events: 100, bytes: 60_000, onlySeq: nil)
      if isOtherDatabase {
        division.databaseChanged()
      } else {
        division.opened(maximumPacketSize: 1 << 20, level: 5)
      }
      #expect(division.size(of: stream).events == 100)
    }
  }

  @Test func `whoever does not take a frame is named`() {
    var division = division()
    #expect(division.taker(bytes: 100) == "the broker takes")
    division.opened(maximumPacketSize: 90, level: 5)
    #expect(division.taker(bytes: 100) == "the broker takes (at most 90 bytes a packet)")
    _ = division.heard(consumerLimit: 50)
    #expect(division.taker(bytes: 100) == "the consumer takes (its limits.message_bytes is 50)")
    #expect(division.taker(bytes: 50) == "the broker takes (at most 90 bytes a packet)")
  }
}

@Suite struct InboundQueueTests {
  private func messages(_ count: Int, bytes: Int = 10) -> [InboundMessage] {
    (0..<count).map { InboundMessage(topic: "t\($0)", payload: [UInt8](repeating: 0, count: bytes)) }
  }

  @Test func `what came is taken once, in its order`() {
    var queue = InboundQueue(messages: 10, bytes: 1000)
    _ = queue.append(messages(3))
    _ = queue.append(messages(2))
    let taken = queue.take()
    #expect(taken == messages(3) + messages(2))
    let again = queue.take()
    #expect(again.isEmpty && queue.count == 0)
  }

  @Test(arguments: [(11, 1), (1, 99)]) func `a batch without room is refused whole, and has room after a turn`(
    count: Int, bytes: Int
  ) {
    var queue = InboundQueue(messages: 11, bytes: 100)
    _ = queue.append(messages(1, bytes: 1))
    let refused = queue.append(messages(count, bytes: bytes))
    #expect(refused == .full && queue.count == 1)
    _ = queue.take()
    let taken = queue.append(messages(count, bytes: bytes))
    #expect(taken == .queued)
  }

  @Test func `an empty queue takes any batch, so that none is refused for ever`() {
    var queue = InboundQueue(messages: 2, bytes: 10)
    let verdict = queue.append(messages(5, bytes: 100))
    #expect(verdict == .queued && queue.count == 5)
  }
}
