import DroverCloud
import DroverCore
import DroverProcesses
import DroverSQLite
import DroverServices
import DroverTesting
import DroverWire
import Foundation
import Synchronization
import Testing

/// Machines' questions about worklists, with a store in SQLite.
@Suite struct OrderAnswersTests {
  /// A store with the worklist `mo_batch`, and what the answers wake.
  private final class Scene: Sendable {
    let path: String
    private let folder: TemporaryFolder
    let plans = [WorklistPlan(name: try! StreamName("mo"), stream: try! StreamName("mo_batch"))]
    let woken: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    let opened = Atomic<Int>(0)
    let fails = Atomic<Bool>(false)

    init() throws {
      folder = try TemporaryFolder()
      path = folder.file("cloud.db")
      _ = try SQLiteCloudStore(path: path)
      (woken, wake) = AsyncStream.makeStream()
    }

    func store() throws -> any WorklistStore { try SQLiteWorklists(path: path, plans: plans) }

    func answers(_ fetch: (@Sendable (WorklistName, MachineID, Int) async -> Void)? = nil) -> OrderAnswers {
      OrderAnswers(
        plans,
        open: { [self] in
          opened.add(1, ordering: .relaxed)
          if fails.load(ordering: .relaxed) { throw CancellationError() }
          return try store()
        }, fetch: fetch, now: { 1_795_000_000_000_000 }, wake: { [wake] in wake.yield() })
    }

    func list(_ keys: String...) throws {
      _ = try store().list(
        keys.map { NewOrder(order: Order(key: $0, fields: Array("{}".utf8)[...])) }, in: plans[0].name,
        now: 1_795_000_000_000_000)
    }
  }

  private func question(_ request: UInt64, stream: String = "mo_batch") throws -> MachineAsked {
    let order = OrderRequest(
      request: RefillID(random: request), stream: try StreamName(stream), limit: 5, bytes: 9999, last: nil)
    return MachineAsked(
      machine: try MachineID("MAH001"), id: order.request.text, document: WorklistRequest.orders(order).document)
  }

  private func reply(_ answers: OrderAnswers, _ scene: Scene) async throws -> ReadWorklistReply {
    var woken = scene.woken.makeAsyncIterator()
    while true {
      if let first = answers.take().first { return try ReadWorklistReply(document: first.answer) }
      _ = await woken.next()
    }
  }

  private func keys(_ reply: ReadWorklistReply) -> [String]? {
    guard case .orders(let orders, _) = reply else { return nil }
    return orders.map(\.key)
  }

  @Test func `a request gets orders, and its outcome is noted`() async throws {
    let scene = try Scene()
    try scene.list("1", "2")
    let answers = scene.answers()
    answers.ask(try question(1))
    #expect(keys(try await reply(answers, scene)) == ["1", "2"])
    let outcome = WorklistRequest.outcome(
      RefillOutcome(request: RefillID(random: 1), isTaken: true), stream: try StreamName("mo_batch"))
    answers.ask(MachineAsked(machine: try MachineID("MAH001"), id: "x", document: outcome.document))
    #expect(try await reply(answers, scene) == .noted)
    #expect(try scene.store().order("1", in: scene.plans[0].name)?.state == .inWork)
  }

  @Test func `a stream without a worklist, and a document that is none, are refused with what to do`() async throws {
    let scene = try Scene()
    let answers = scene.answers()
    answers.ask(try question(1, stream: "other"))
    guard case .failure(let why) = try await reply(answers, scene) else {
      Issue.record("no failure")
      return
    }
    #expect(why.contains("`worklists:`"))
    answers.ask(
      MachineAsked(machine: try MachineID("MAH001"), id: "x", document: Array(#"{"v":1,"ask":"orders"}"#.utf8)))
    guard case .failure = try await reply(answers, scene) else {
      Issue.record("no failure")
      return
    }
    #expect(scene.opened.load(ordering: .relaxed) == 0)
  }

  @Test func `the ERP is asked before an empty queue answers, and not while something is queued`() async throws {
    let scene = try Scene()
    let asked = Mutex<[String]>([])
    let answers = scene.answers { name, machine, limit in
      asked.withLock { $0.append("\(name) \(machine) \(limit)") }
      try? scene.list("7")
    }
    answers.ask(try question(1))
    #expect(keys(try await reply(answers, scene)) == ["7"])
    #expect(asked.withLock { $0 } == ["mo MAH001 5"])
    answers.ask(try question(1))
    #expect(keys(try await reply(answers, scene)) == ["7"])
    try scene.list("8")
    answers.ask(try question(2))
    #expect(keys(try await reply(answers, scene)) == ["8"])
    #expect(asked.withLock { $0.count } == 1)
  }

  @Test func `a machine hears that the ERP takes long, also if it asks again meanwhile`() async throws {
    let scene = try Scene()
    let (isHeard, hear) = AsyncStream<Void>.makeStream()
    let answers = scene.answers { _, _, _ in
      for await _ in isHeard { break }
      try? scene.list("7")
    }
    answers.ask(try question(1))
    #expect(try await reply(answers, scene) == .working)
    answers.ask(try question(1))
    #expect(try await reply(answers, scene) == .working)
    hear.yield()
    #expect(keys(try await reply(answers, scene)) == ["7"])
  }

  @Test func `a store that was away is opened again at the next question`() async throws {
    let scene = try Scene()
    try scene.list("1")
    let answers = scene.answers()
    scene.fails.store(true, ordering: .relaxed)
    answers.ask(try question(1))
    guard case .failure = try await reply(answers, scene) else {
      Issue.record("no failure")
      return
    }
    scene.fails.store(false, ordering: .relaxed)
    answers.ask(try question(1))
    #expect(keys(try await reply(answers, scene)) == ["1"])
  }
}
