// What the dead letters of every cloud store must hold: what a person finds there, what is sent again, and that a letter goes only in the
// transaction in which the consumer takes its message.

package import DroverCore
import Synchronization
import Testing

package struct DeadLetterConformance {
  /// One claim; its name is the sentence that the test's output shows.
  package struct Claim: Sendable, CustomTestStringConvertible {
    package let name: String
    fileprivate let conditions: CloudStoreConditions
    fileprivate let setClock: @Sendable (Int64) -> Void
    fileprivate let check: @Sendable (Scene) throws -> Void

    fileprivate init(
      _ name: String, keeping bytes: Int = 100, bounds: DeadLetterBounds = DeadLetterBounds(),
      check: @escaping @Sendable (Scene) throws -> Void
    ) {
      self.name = name
      var conditions = CloudStoreConditions()
      conditions.deadLetterBytes = bytes
      conditions.deadLetters = bounds
      let clock = Clock()
      conditions.now = { clock.next() }
      setClock = { clock.set($0) }
      self.conditions = conditions
      self.check = check
    }

    package var testDescription: String { name }
  }

  /// Goes on by one with each look.
  private final class Clock: Sendable {
    private let moment = Mutex<Int64>(1000)

    func next() -> Int64 {
      moment.withLock {
        $0 += 1
        return $0
      }
    }

    func set(_ now: Int64) { moment.withLock { $0 = now } }
  }

  private let makeStore: (CloudStoreConditions) throws -> (store: any CloudStore, letters: any CloudDeadLetterStore)

  /// - Parameter makeStore: makes an empty store, and its letters as another process sees them.
  package init(
    makeStore: @escaping (CloudStoreConditions) throws -> (store: any CloudStore, letters: any CloudDeadLetterStore)
  ) {
    self.makeStore = makeStore
  }

  package func check(_ claim: Claim) throws {
    let (store, letters) = try makeStore(claim.conditions)
    try claim.check(Scene(store: store, letters: letters, setClock: claim.setClock))
  }

  /// The consumer's store and the person's, with the words that claims are written in.
  struct Scene {
    let store: any CloudStore
    let letters: any CloudDeadLetterStore
    let setClock: (Int64) -> Void

    func describe(_ schema: StreamSchema) throws -> String? {
      try store.transaction { try $0.adopt(schema, machine: .a, stream: .stock) }
    }

    /// A description that was refused, of which nothing else was noted.
    func buryDescription(_ raw: String) throws {
      try store.transaction {
        _ = try $0.addDeadLetter(
          DeadLetter(
            topic: Topic.schema(.a, .stock).text, machine: .a, stream: .stock, reason: .schema, detail: "d",
            raw: ArraySlice(raw.utf8)))
      }
    }

    func addDeadLetter(
      _ raw: String, machine: MachineID = .a, stream: String = "f", reason: DeadLetterReason = .event,
      detail: String = "d"
    ) throws {
      try store.transaction {
        try addDeadLetter(raw, machine: machine, stream: stream, reason: reason, detail: detail, $0)
      }
    }

    private func addDeadLetter(
      _ raw: String, machine: MachineID = .a, stream: String = "f", reason: DeadLetterReason, detail: String = "d",
      _ transaction: any CloudTransaction
    ) throws {
      try transaction.addDeadLetter(
        DeadLetter(
          topic: "drover/v1/\(machine)/payload/\(stream)", machine: machine, stream: .named(stream), reason: reason,
          detail: detail, raw: ArraySlice(raw.utf8)))
    }

    /// One event of an agent's frame.
    func addEvent(_ raw: String, machine: MachineID = .a) throws -> DeadLetterResult {
      try store.transaction {
        try $0.addDeadLetter(
          DeadLetter(
            topic: "drover/v1/\(machine)/payload/f", machine: machine, stream: .named("f"), epoch: .one, reason: .event,
            detail: "d", raw: ArraySlice(raw.utf8)))
      }
    }

    /// A message that no agent has.
    func addGarbage(_ raw: String, machine: MachineID? = .a) throws -> DeadLetterResult {
      try store.transaction {
        try $0.addDeadLetter(
          DeadLetter(
            topic: "t", machine: machine, stream: nil, reason: .unparsable, detail: "d", raw: ArraySlice(raw.utf8)))
      }
    }

    /// What the letters carry, in the order in which they came.
    var texts: [String] {
      get throws {
        try ids.sorted().compactMap {
          guard case .message(let raw, _) = try letters.content(of: $0) else { return nil }
          return String(decoding: raw, as: UTF8.self)
        }
      }
    }

    /// The consumer takes a message again, and perhaps refuses it again.
    func take(_ message: OutboundMessage, refusing reason: DeadLetterReason? = nil) throws {
      try store.transaction { transaction in
        guard try transaction.awaitsReplays() else { return }
        if let reason {
          try addDeadLetter(String(decoding: message.payload, as: UTF8.self), reason: reason, transaction)
        }
        try transaction.settleReplay(topic: message.topic, raw: message.payload)
      }
    }

    func begin(_ id: Int64) throws -> (OutboundMessage, ReplayTicket) {
      guard case .publish(let message, let ticket) = try letters.beginReplay(id) else { throw CancellationError() }
      return (message, ticket)
    }

    var ids: [Int64] { get throws { try letters.letters(DeadLetterFilter(), limit: 100).map(\.id) } }
    var figures: DeadLetterFigures { get throws { try letters.figures() } }
  }

  package static let claims: [Claim] = [
    Claim("letters are listed by what they are, those that were seen last first") { scene throws in
      try scene.addDeadLetter("1")
      try scene.addDeadLetter("2", machine: .b, reason: .conflict)
      try scene.addDeadLetter("3", stream: "g", detail: "why")
      try scene.addDeadLetter("1")
      #expect(try scene.ids == [1, 3, 2])
      let letter = try #require(try scene.letters.letters(DeadLetterFilter(id: 3), limit: 1).first)
      #expect(
        letter.topic == "drover/v1/MAH001/payload/g" && letter.machine?.text == "MAH001" && letter.stream?.text == "g")
      #expect(letter.reason == "event" && letter.detail == "why" && letter.bytes == 1 && letter.replayedAt == nil)
      #expect(try scene.letters.letters(DeadLetterFilter(id: 1), limit: 1).first?.count == 2)
      #expect(try scene.letters.count(DeadLetterFilter(machine: .a)) == 2)
      #expect(try scene.letters.count(DeadLetterFilter(stream: .named("f"), reason: .event)) == 1)
      #expect(try scene.letters.letters(DeadLetterFilter(), limit: 2).map(\.id) == [1, 3])
      #expect(try scene.letters.content(of: 2) == .message(raw: Array("2".utf8), isCut: false))
      #expect(try scene.letters.content(of: 9) == nil)
      #expect(try scene.letters.newest() == 3)
    },
    Claim("a letter that is refused again says why it was refused last") { scene throws in
      try scene.addDeadLetter("1", detail: "why")
      try scene.addDeadLetter("1", detail: "another reason")
      let letter = try scene.letters.letters(DeadLetterFilter(), limit: 1).first
      #expect(letter?.detail == "another reason" && letter?.count == 2)
    },
    Claim("a letter that was sent again goes with the transaction that takes its message, and not before") {
      scene throws in
      try scene.addDeadLetter("1")
      try scene.addDeadLetter("2")
      let (message, ticket) = try scene.begin(1)
      #expect(message.topic == "drover/v1/MAH001/payload/f" && message.payload == Array("1".utf8))
      #expect(!message.isRetained)
      #expect(try scene.letters.replayState(ticket) == .waiting)
      // The broker lost it, and something else came.
      try scene.take(OutboundMessage(topic: message.topic, payload: Array("9".utf8)))
      try scene.take(OutboundMessage(topic: "drover/v1/MAH002/payload/f", payload: message.payload))
      // The same bytes as a letter that nobody has sent again.
      try scene.take(OutboundMessage(topic: message.topic, payload: Array("2".utf8)))
      #expect(try scene.letters.replayState(ticket) == .waiting)
      #expect(try scene.ids == [2, 1])
      // A transaction that is rolled back takes the removal back too.
      #expect(throws: CancellationError.self) {
        try scene.store.transaction { transaction throws in
          try transaction.settleReplay(topic: message.topic, raw: message.payload)
          throw CancellationError()
        }
      }
      #expect(try scene.letters.replayState(ticket) == .waiting)
      try scene.take(message)
      #expect(try scene.letters.replayState(ticket) == .taken)
      #expect(try scene.ids == [2])
      #expect(try scene.store.transaction { try !$0.awaitsReplays() })
      #expect(try scene.figures.replayed == 1)
    },
    Claim("refused for the same reason it is the letter that it was, and may be sent again") { scene throws in
      try scene.addDeadLetter("1")
      let (message, ticket) = try scene.begin(1)
      try scene.take(message, refusing: .event)
      guard case .refused(let letter) = try scene.letters.replayState(ticket) else {
        Issue.record("it was refused again")
        return
      }
      #expect(letter.id == 1 && letter.count == 2 && letter.replayedAt == nil)
      #expect(try scene.figures.replayed == 0)
      try scene.take(try scene.begin(1).0)
      #expect(try scene.ids.isEmpty)
    },
    Claim("refused for another reason it is another letter, and the old one goes") { scene throws in
      try scene.addDeadLetter("1")
      let (message, ticket) = try scene.begin(1)
      try scene.take(message, refusing: .conflict)
      guard case .refused(let letter) = try scene.letters.replayState(ticket) else {
        Issue.record("it was refused again")
        return
      }
      #expect(letter.reason == "conflict")
      #expect(try scene.ids == [letter.id])
    },
    Claim("a message that lies there for two reasons goes for both") { scene throws in
      try scene.addDeadLetter("1", reason: .schema)
      try scene.addDeadLetter("1", reason: .conflict)
      let (message, ticket) = try scene.begin(1)
      try scene.take(message)
      #expect(try scene.letters.replayState(ticket) == .taken)
      #expect(try scene.ids.isEmpty)
      #expect(try scene.letters.beginReplay(2) == .missing)
    },
    // A description that waited was a dead letter too. Replayed after the machine had gone back, it waited again, and accepting it put the
    // machine's rows aside.
    Claim("a description is no letter while it waits for a person, nor when the machine has described the stream again")
    {
      scene throws in
      let plain = StreamSchema.columns("a TEXT")
      #expect(try scene.describe(plain) == nil)
      try scene.addDeadLetter("1", stream: "stock", reason: .schema)
      for schema in [StreamSchema.make([("id", ""), ("b", "")], key: [0, 1]), plain] {
        try scene.buryDescription("x")
        let waits = try scene.describe(schema) != nil
        #expect(waits == (schema != plain))
        #expect(try scene.texts == ["1"])
      }
      #expect(try scene.figures.replayed == 2)
    },
    Claim("a description that the machine has replaced is not sent again") { scene throws in
      try scene.buryDescription("old")
      try scene.addDeadLetter("event", stream: "stock", reason: .schema)
      try scene.buryDescription("new")
      #expect(try scene.letters.beginReplay(1) == .outdated)
      _ = try scene.begin(2)
      _ = try scene.begin(3)
      // An older release keeps the letter when the machine describes the stream again.
      for schema in [StreamSchema.columns("a TEXT"), .make([("id", ""), ("b", "")], key: [0, 1])] {
        _ = try scene.letters.purge(DeadLetterFilter())
        scene.setClock(5000)
        _ = try scene.describe(schema)
        scene.setClock(2000)
        try scene.buryDescription("old")
        let id = try #require(try scene.ids.first)
        #expect(try scene.letters.beginReplay(id) == .outdated)
        scene.setClock(6000)
        try scene.buryDescription("old")
        _ = try scene.begin(id)
      }
    },
    Claim("a description that the machine replaces while it is sent again is known by that") { scene throws in
      func isOutdated(_ message: OutboundMessage) throws -> Bool {
        try scene.store.transaction { try $0.isOutdatedReplay(topic: message.topic, raw: message.payload) }
      }
      try scene.buryDescription("old")
      let (message, _) = try scene.begin(1)
      #expect(try !isOutdated(message))
      try scene.buryDescription("new")
      #expect(try isOutdated(message))
      #expect(try !isOutdated(scene.begin(2).0))
    },
    Claim("an event of a frame keeps its epoch, and the epoch its place among the machine's") { scene throws in
      let sink = Sink.bodies(.snapshot)
      let (topic, raw) = ("drover/v1/\(MachineID.a)/snapshot/\(StreamName.stock)", Array("1".utf8))
      try scene.store.transaction {
        _ = try $0.addDeadLetter(
          DeadLetter(
            topic: topic, machine: .a, stream: .stock, epoch: .one, reason: .schema, detail: "d", raw: raw[...]))
      }
      _ = try scene.store.transaction { try $0.merge([.body(5, "1", "\"new\"")], epoch: .two, into: sink) }
      func epoch(_ raw: [UInt8]) throws -> Epoch? {
        try scene.store.transaction { try $0.epochOfReplay(topic: topic, raw: raw) }
      }
      #expect(try epoch(raw) == nil, "it was not sent")
      _ = try scene.begin(1)
      #expect(try epoch(raw) == .one)
      #expect(try epoch(Array("2".utf8)) == nil)
      let old = try scene.store.transaction { try $0.merge([.body(9, "1", "\"old\"")], epoch: .one, into: sink) }
      #expect(old == [.superseded])
    },
    // An event of two megabytes that conflicted was cut, covered and confirmed: nobody had it any more.
    Claim("an event of a frame is kept whole, whatever the limit for letters", keeping: 5) { scene throws in
      try scene.store.transaction {
        _ = try $0.addDeadLetter(
          DeadLetter(
            topic: "t", machine: .a, stream: .stock, epoch: .one, reason: .conflict, detail: "d",
            raw: ArraySlice("1234567".utf8)))
      }
      #expect(try scene.letters.content(of: 1) == .message(raw: Array("1234567".utf8), isCut: false))
      let (message, ticket) = try scene.begin(1)
      try scene.take(message)
      #expect(try scene.letters.replayState(ticket) == .taken)
    },
    Claim("what the broker did not take is a letter as before") { scene throws in
      try scene.addDeadLetter("1")
      let (_, ticket) = try scene.begin(1)
      try scene.letters.cancelReplay(ticket)
      #expect(try scene.store.transaction { try !$0.awaitsReplays() })
      #expect(try scene.ids == [1])
    },
    Claim("a letter that was not kept whole cannot be sent again", keeping: 5) { scene throws in
      try scene.addDeadLetter("12345")
      try scene.addDeadLetter("1234567")
      #expect(try scene.letters.beginReplay(2) == .cut(kept: 5, bytes: 7))
      #expect(try scene.letters.content(of: 2) == .message(raw: Array("12345".utf8), isCut: true))
      // The beginning of a larger message is another message.
      let (message, _) = try scene.begin(1)
      try scene.take(message)
      #expect(try scene.ids == [2])
    },
    Claim("at the bound the oldest garbage goes, and is counted", bounds: DeadLetterBounds(maxCount: 4)) {
      scene throws in
      for raw in ["1", "2"] { #expect(try scene.addGarbage(raw) == .kept) }
      for raw in ["3", "4"] { #expect(try scene.addGarbage(raw, machine: .b) == .kept) }
      // Seen again it is the youngest.
      #expect(try scene.addGarbage("1") == .kept)
      #expect(try scene.addGarbage("5") == .kept)
      #expect(try scene.texts == ["1", "3", "4", "5"])
      #expect(try scene.figures.dropped == 1)
    },
    Claim("a flood of one machine's garbage pushes out no other's", bounds: DeadLetterBounds(maxCount: 8)) {
      scene throws in
      #expect(try scene.addGarbage("b", machine: .b) == .kept)
      #expect(try scene.addEvent("e", machine: .b) == .kept)
      #expect(try scene.addGarbage("none", machine: nil) == .kept)
      for number in 0..<100 { #expect(try scene.addGarbage("\(number)") == .kept) }
      for number in 100..<200 { #expect(try scene.addGarbage("\(number)", machine: nil) == .kept) }
      #expect(Set(try scene.texts).isSuperset(of: ["b", "e", "99", "199"]))
      #expect(try scene.ids.count == 8)
      #expect(try scene.figures.dropped == 203 - 8)
    },
    Claim(
      "an agent's event is never pushed out: at the bound it has no place, and garbage gives way to it",
      bounds: DeadLetterBounds(maxCount: 4)
    ) { scene throws in
      #expect(try scene.addEvent("1") == .kept)
      #expect(try scene.addGarbage("2") == .kept)
      #expect(try scene.addEvent("3") == .kept)
      #expect(try scene.texts == ["1", "3"])
      // One machine has half of the room.
      #expect(try scene.addEvent("4") == .full)
      #expect(try scene.addGarbage("5") == .dropped)
      #expect(try scene.addGarbage("6", machine: .b) == .kept)
      for raw in ["7", "8"] { #expect(try scene.addEvent(raw, machine: .b) == .kept) }
      #expect(try scene.addEvent("9", machine: .b) == .full)
      #expect(try scene.addGarbage("10", machine: nil) == .dropped)
      #expect(try scene.texts == ["1", "3", "7", "8"])
      // The same again needs no room.
      #expect(try scene.addEvent("1") == .kept)
      #expect(try scene.figures.dropped == 4)
      // Whatever takes letters away makes room.
      #expect(try scene.letters.purge(DeadLetterFilter(id: try scene.ids.min()!)) == 1)
      #expect(try scene.addEvent("4") == .kept)
      #expect(try scene.texts == ["3", "7", "8", "4"])
    },
    Claim("bytes have a bound too", keeping: 10_000, bounds: DeadLetterBounds(maxBytes: 10_000)) { scene throws in
      let large = String(repeating: "x", count: 2000)
      #expect(try scene.addGarbage(large + "1") == .kept)
      #expect(try scene.addGarbage(large + "2") == .kept)
      #expect(try scene.addGarbage(large + "3") == .kept)
      #expect(try scene.texts.map { $0.last } == ["2", "3"])
      #expect(try scene.addEvent(String(repeating: "y", count: 4000)) == .kept)
      #expect(try scene.texts.map { $0.last } == ["y"])
      #expect(try scene.addEvent(large) == .full)
      #expect(
        try scene.addEvent(String(repeating: "z", count: 6000), machine: .b) == .full, "no machine has so much room")
      #expect(try scene.ids.count == 1)
    },
    Claim("a letter that is on its way again is not pushed out", bounds: DeadLetterBounds(maxCount: 4)) {
      scene throws in
      try scene.addDeadLetter("1")
      let (message, ticket) = try scene.begin(1)
      for raw in ["2", "3", "4"] { #expect(try scene.addGarbage(raw) == .kept) }
      #expect(try scene.texts == ["1", "4"])
      try scene.take(message)
      #expect(try scene.letters.replayState(ticket) == .taken)
    },
    Claim("purging removes what is meant and counts it") { scene throws in
      for raw in ["1", "2", "3"] { try scene.addDeadLetter(raw) }
      try scene.addDeadLetter("4", machine: .b, reason: .conflict)
      #expect(try scene.letters.purge(DeadLetterFilter(machine: .a, through: 2)) == 2)
      #expect(try scene.letters.purge(DeadLetterFilter(reason: .conflict)) == 1)
      #expect(try scene.ids == [3])
      #expect(try scene.letters.purge(DeadLetterFilter()) == 1)
      #expect(try scene.figures.purged == 4)
      #expect(try scene.figures.present == 0)
    },
  ]
}
