import DroverCore
import DroverSQLite
import Foundation
import Testing

/// The cloud's dead letters: what the consumer buries, what a person sends again, and when a letter goes.
@Suite struct CloudDeadLettersTests {
  private final class Bench {
    let folder = FileManager.default.temporaryDirectory.appending(path: "drover-test-\(UUID().uuidString)")
    let store: SQLiteCloudStore
    let letters: CloudDeadLetters

    init(deadLetterBytes: Int = 100) throws {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let path = folder.appending(path: "cloud.db").path
      let moment = Moment()
      store = try SQLiteCloudStore(path: path, limits: .init(deadLetterBytes: deadLetterBytes), now: { moment.next() })
      letters = try CloudDeadLetters(path: path, now: { moment.next() })
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private final class Moment: @unchecked Sendable {
      private var value: Int64 = 1000
      func next() -> Int64 {
        value += 1
        return value
      }
    }

    func bury(
      _ raw: String, machine: String = "MAH001", stream: String = "f", reason: DeadLetterReason = .event,
      detail: String = "d"
    ) throws {
      try store.transaction { try bury(raw, machine: machine, stream: stream, reason: reason, detail: detail, $0) }
    }

    func bury(
      _ raw: String, machine: String = "MAH001", stream: String = "f", reason: DeadLetterReason = .event,
      detail: String = "d", _ transaction: any CloudTransaction
    ) throws {
      try transaction.bury(
        DeadLetter(
          topic: "drover/v1/\(machine)/payload/\(stream)", machine: try MachineID(machine),
          stream: try StreamName(stream), reason: reason, detail: detail, raw: ArraySlice(raw.utf8)))
    }

    /// The consumer takes a message again, and perhaps refuses it again.
    func take(_ message: OutboundMessage, refusing reason: DeadLetterReason? = nil) throws {
      try store.transaction { transaction in
        guard try transaction.awaitsReplays() else { return }
        if let reason { try bury(String(decoding: message.payload, as: UTF8.self), reason: reason, transaction) }
        try transaction.settleReplay(topic: message.topic, raw: message.payload)
      }
    }

    func begin(_ id: Int64) throws -> (OutboundMessage, ReplayTicket) {
      guard case .publish(let message, let ticket) = try letters.beginReplay(id) else { throw CancellationError() }
      return (message, ticket)
    }

    var ids: [Int64] { get throws { try letters.letters(DeadLetterFilter(), limit: 100).map(\.id) } }
    var figures: DeadLetterFigures {
      get throws { try CloudReport.read(path: letters.path)?.deadLetters ?? DeadLetterFigures.none }
    }
  }

  @Test func `letters are listed by what they are, those that were seen last first`() throws {
    let bench = try Bench()
    try bench.bury("1")
    try bench.bury("2", machine: "MAH002", reason: .conflict)
    try bench.bury("3", stream: "g", detail: "why")
    try bench.bury("1")
    #expect(try bench.ids == [1, 3, 2])
    let letter = try #require(try bench.letters.letters(DeadLetterFilter(id: 3), limit: 1).first)
    #expect(
      letter.topic == "drover/v1/MAH001/payload/g" && letter.machine?.text == "MAH001" && letter.stream?.text == "g")
    #expect(letter.reason == "event" && letter.detail == "why" && letter.bytes == 1 && letter.replayedAt == nil)
    #expect(try bench.letters.letters(DeadLetterFilter(id: 1), limit: 1).first?.count == 2)
    #expect(try bench.letters.count(DeadLetterFilter(machine: try MachineID("MAH001"))) == 2)
    #expect(try bench.letters.count(DeadLetterFilter(stream: try StreamName("f"), reason: .event)) == 1)
    #expect(try bench.letters.letters(DeadLetterFilter(), limit: 2).map(\.id) == [1, 3])
    #expect(try bench.letters.content(of: 2) == .message(raw: Array("2".utf8), isCut: false))
    #expect(try bench.letters.content(of: 9) == nil)
    #expect(try bench.letters.newest() == 3)
  }

  @Test func `a letter that was sent again goes with the transaction that takes its message, and not before`() throws {
    let bench = try Bench()
    try bench.bury("1")
    try bench.bury("2")
    let (message, ticket) = try bench.begin(1)
    #expect(message.topic == "drover/v1/MAH001/payload/f" && message.payload == Array("1".utf8))
    #expect(!message.isRetained)
    #expect(try bench.letters.replayState(ticket) == .waiting)
    // The broker lost it, and something else came.
    try bench.take(OutboundMessage(topic: message.topic, payload: Array("9".utf8)))
    try bench.take(OutboundMessage(topic: "drover/v1/MAH002/payload/f", payload: message.payload))
    // The same bytes as a letter that nobody has sent again.
    try bench.take(OutboundMessage(topic: message.topic, payload: Array("2".utf8)))
    #expect(try bench.letters.replayState(ticket) == .waiting)
    #expect(try bench.ids == [2, 1])
    // A transaction that is rolled back takes the removal back too.
    #expect(throws: CancellationError.self) {
      try bench.store.transaction { transaction in
        try transaction.settleReplay(topic: message.topic, raw: message.payload)
        throw CancellationError()
      }
    }
    #expect(try bench.letters.replayState(ticket) == .waiting)
    try bench.take(message)
    #expect(try bench.letters.replayState(ticket) == .taken)
    #expect(try bench.ids == [2])
    #expect(try bench.store.transaction { try !$0.awaitsReplays() })
    #expect(try bench.figures.replayed == 1)
  }

  @Test func `refused for the same reason it is the letter that it was, and may be sent again`() throws {
    let bench = try Bench()
    try bench.bury("1")
    let (message, ticket) = try bench.begin(1)
    try bench.take(message, refusing: .event)
    guard case .refused(let letter) = try bench.letters.replayState(ticket) else {
      Issue.record("it was refused again")
      return
    }
    #expect(letter.id == 1 && letter.count == 2 && letter.replayedAt == nil)
    #expect(try bench.figures.replayed == 0)
    try bench.take(try bench.begin(1).0)
    #expect(try bench.ids.isEmpty)
  }

  @Test func `refused for another reason it is another letter, and the old one goes`() throws {
    let bench = try Bench()
    try bench.bury("1")
    let (message, ticket) = try bench.begin(1)
    try bench.take(message, refusing: .conflict)
    guard case .refused(let letter) = try bench.letters.replayState(ticket) else {
      Issue.record("it was refused again")
      return
    }
    #expect(letter.reason == "conflict")
    #expect(try bench.ids == [letter.id])
  }

  @Test func `a message that lies there for two reasons goes for both`() throws {
    let bench = try Bench()
    try bench.bury("1", reason: .schema)
    try bench.bury("1", reason: .conflict)
    let (message, ticket) = try bench.begin(1)
    try bench.take(message)
    #expect(try bench.letters.replayState(ticket) == .taken)
    #expect(try bench.ids.isEmpty)
    #expect(try bench.letters.beginReplay(2) == .missing)
  }

  @Test func `what the broker did not take is a letter as before`() throws {
    let bench = try Bench()
    try bench.bury("1")
    let (_, ticket) = try bench.begin(1)
    try bench.letters.cancelReplay(ticket)
    #expect(try bench.store.transaction { try !$0.awaitsReplays() })
    #expect(try bench.ids == [1])
  }

  @Test func `a letter that was not kept whole cannot be sent again`() throws {
    let bench = try Bench(deadLetterBytes: 5)
    try bench.bury("12345")
    try bench.bury("1234567")
    #expect(try bench.letters.beginReplay(2) == .cut(kept: 5, bytes: 7))
    #expect(try bench.letters.content(of: 2) == .message(raw: Array("12345".utf8), isCut: true))
    // The beginning of a larger message is another message.
    let (message, _) = try bench.begin(1)
    try bench.take(message)
    #expect(try bench.ids == [2])
  }

  @Test func `purging removes what is meant and counts it`() throws {
    let bench = try Bench()
    for raw in ["1", "2", "3"] { try bench.bury(raw) }
    try bench.bury("4", machine: "MAH002", reason: .conflict)
    #expect(try bench.letters.purge(DeadLetterFilter(machine: try MachineID("MAH001"), through: 2)) == 2)
    #expect(try bench.letters.purge(DeadLetterFilter(reason: .conflict)) == 1)
    #expect(try bench.ids == [3])
    #expect(try bench.letters.purge(DeadLetterFilter()) == 1)
    #expect(try bench.figures.purged == 4)
    #expect(try bench.figures.present == 0)
  }
}
