import DroverCloud
import DroverCore
import DroverSQLite
import Logging
import Testing

/// What a consumer does with frames of several runs of an agent. A database and the file beside it were put back together while frames of the
/// future that they lost lay in the broker: those frames covered numbers that meant other events now, and the confirmation that would have
/// told was lost.
@Suite struct OvertakenTests {
  private let machine: MachineID
  private let epoch = Epoch(random: 7)
  private let app: AppDatabase
  private let store: SQLiteCloudStore
  private let consumer: Consumer

  init() throws {
    machine = try MachineID("M")
    app = try AppDatabase()
    store = try SQLiteCloudStore(path: app.path)
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    consumer = Consumer(store: store, limits: .init(), logger: logger, wallClock: SQLiteCloudStore.wallClock)
  }

  /// A frame of one event, of the seq after `after`.
  private func frame(
    _ kind: Kind, run: Int64?, after: Int64, id: String, last: Int64? = nil, epoch: Epoch? = nil, body: String = "1"
  ) -> InboundMessage {
    let seq = after + 1
    let run = run.map { "\"run\":\($0)," } ?? ""
    let last = last.map { "\"last\":\($0)," } ?? ""
    let text = """
      {"v":1,"epoch":"\(epoch ?? self.epoch)",\(run)"after":\(after),"through":\(seq),\(last)"events":[\
      {"seq":\(seq),"id":"\(id)","version":\(seq),"body":\(body)}]}
      """
    return InboundMessage(
      topic: "drover/v1/M/\(kind.rawValue)/\(kind == .payload ? "fact" : "thing")", payload: Array(text.utf8))
  }

  // A fact that was in conflict became a dead letter by the late frame, and again when it was sent again: so it was counted twice.
  @Test func `what cannot be applied of an earlier run is a dead letter only when it comes again`() throws {
    func counts() throws -> [String] { try app.lines("SELECT count FROM drover_dead_letter") }
    try consumer.received([frame(.payload, run: 20, after: 5, id: "a", body: "\"one\"")])
    try consumer.received([frame(.payload, run: 10, after: 6, id: "a", body: "\"other\"")])
    #expect(try counts() == [])
    try consumer.received([frame(.payload, run: 20, after: 6, id: "a", body: "\"other\"")])
    #expect(try counts() == ["1"])
  }

  private func runs() throws -> [Run] {
    try store.transaction { try $0.runs(machine: machine, epoch: epoch).list }
  }

  private func covered(_ stream: String) throws -> IntervalSet {
    try store.transaction { try $0.received(machine: machine, epoch: epoch, stream: StreamName(stream)) }
  }

  private func ids(_ stream: String) throws -> [String] {
    try app.lines("SELECT local_id FROM \(stream) ORDER BY 1").map { $0.filter { $0 != "'" } }
  }

  @Test func `what each run has reached is known, by the last number that its frames know of`() throws {
    try consumer.received([
      frame(.snapshot, run: 10, after: 0, id: "a"), frame(.snapshot, run: 10, after: 1, id: "b", last: 9),
      frame(.snapshot, run: 20, after: 2, id: "c", last: 3),
    ])
    #expect(try runs() == [Run(number: 10, reached: 9), Run(number: 20, reached: 3)])
    // A frame that covers nothing new makes its run known all the same.
    try consumer.received([frame(.snapshot, run: 30, after: 0, id: "a", last: 8)])
    #expect(try runs().last == Run(number: 30, reached: 0))
  }

  @Test(arguments: [Kind.snapshot, .batch])
  func `a frame of an earlier run is not applied and covers nothing, and is taken when the present one brings it`(
    kind: Kind
  ) throws {
    try consumer.received([frame(kind, run: 20, after: 5, id: "new")])
    try consumer.received([frame(kind, run: 10, after: 6, id: "late", last: 99)])
    try consumer.received([frame(kind, run: nil, after: 7, id: "older")])
    #expect(try covered("thing") == [6...6])
    #expect(try ids("thing") == ["new"])
    #expect(try runs() == [Run(number: 20, reached: 6)])
    try consumer.received([frame(kind, run: 20, after: 6, id: "late")])
    #expect(try covered("thing") == [6...7])
    #expect(try ids("thing") == ["late", "new"])
  }

  @Test func `facts of an earlier run are true, but cover nothing`() throws {
    try consumer.received([frame(.payload, run: 20, after: 5, id: "new")])
    for _ in 0..<2 { try consumer.received([frame(.payload, run: 10, after: 6, id: "lost")]) }
    #expect(try covered("fact") == [6...6])
    #expect(try ids("fact") == ["lost", "new"])
    // Under the number of the lost one.
    try consumer.received([frame(.payload, run: 20, after: 6, id: "other")])
    #expect(try ids("fact") == ["lost", "new", "other"])
  }

  @Test func `frames without a run go on as ever, until one has a run`() throws {
    try consumer.received([
      frame(.snapshot, run: nil, after: 0, id: "a"), frame(.snapshot, run: nil, after: 1, id: "b"),
    ])
    #expect(try covered("thing") == [1...2])
    #expect(try runs() == [Run(number: 0, reached: 2)])
    try consumer.received([frame(.snapshot, run: 5, after: 2, id: "c"), frame(.snapshot, run: nil, after: 3, id: "d")])
    #expect(try covered("thing") == [1...3])
  }

  @Test func `runs are each epoch's own`() throws {
    let next = Epoch(random: 8)
    try consumer.received([frame(.snapshot, run: 20, after: 0, id: "a")])
    try consumer.received([frame(.snapshot, run: 10, after: 0, id: "b", epoch: next)])
    #expect(try ids("thing") == ["a", "b"])
    #expect(try store.transaction { try $0.runs(machine: machine, epoch: next).list } == [Run(number: 10, reached: 1)])
  }
}
