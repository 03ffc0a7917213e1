// Comparisons of many machines. The command asked one machine after the other, and each that said nothing cost a minute.

import DroverCloud
import DroverCore
import Synchronization
import Testing

@Suite struct CheckRoundTests {
  private static let schema = try! StreamSchema(
    kind: .snapshot, columns: [Column(name: "id", declaredType: "INTEGER")], key: [0])

  private func streams(_ machines: Int) throws -> [ReplicatedStream] {
    try (0..<machines).flatMap { number in
      try ["stock", "pens"].map {
        ReplicatedStream(
          machine: try MachineID("M\(100 + number)"), stream: try StreamName($0), schema: Self.schema, isOnline: true)
      }
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `machines are asked at the same time, and who says nothing is asked once and named`()
    async throws
  {
    let machines = CheckRound.mostMachines
    let silence = Silence(awaited: machines)
    let results = await CheckRound(replica: EmptyReplica(), machines: silence, isRepairing: false).run(
      try streams(machines))
    #expect(results.map(\.stream) == (try streams(machines)))
    #expect(results.allSatisfy { $0.failure == "nothing was said" && $0.isSilent })
    #expect(CheckRound.silent(results).count == machines)
    #expect(silence.asked == machines)
  }

  @Test(.timeLimit(.minutes(1))) func `no more machines are asked at a time than may have an answer in memory`()
    async throws
  {
    let machines = CheckRound.mostMachines * 2 + 3
    let silence = Silence(awaited: 1)
    _ = await CheckRound(replica: EmptyReplica(), machines: silence, isRepairing: false).run(try streams(machines))
    #expect(silence.asked == machines && silence.most <= CheckRound.mostMachines)
  }
}

/// Machines that say nothing; the first are given up together when so many are asked.
private final class Silence: MachineQuestions {
  private struct State {
    var asked = 0
    var now = 0
    var most = 0
  }
  private let awaited: Int
  private let state = Mutex(State())
  var asked: Int { state.withLock(\.asked) }
  var most: Int { state.withLock(\.most) }

  init(awaited: Int) { self.awaited = awaited }

  nonisolated(nonsending) func ask(
    _ question: StreamQuestion, of stream: ReplicatedStream, _ take: (StreamAnswer) throws -> Void
  ) async throws {
    state.withLock {
      $0.asked += 1
      $0.now += 1
      $0.most = max($0.most, $0.now)
    }
    while asked < awaited { await Task.yield() }
    state.withLock { $0.now -= 1 }
    throw CheckFailure("nothing was said", isSilence: true)
  }

  nonisolated(nonsending) func describe(_ machine: MachineID) async throws {}
}

private final class EmptyReplica: Replica {
  func streams() throws -> [ReplicatedStream] { [] }
  func unreadable() throws -> [UnreadableStream] { [] }
  func count(_ stream: ReplicatedStream) throws -> Int { 0 }
  func survey(_ stream: ReplicatedStream, _ see: ([Value], UInt64) throws -> Void) throws {}
  func rows(_ stream: ReplicatedStream, keys: [[Value]]) throws -> [ReplicaRow?] { keys.map { _ in nil } }
  func underway(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws -> [Bool] {
    ids.map { _ in false }
  }
  func sendDown(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws {}
  func takeBackVersions(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws {}
  func additions(to stream: ReplicatedStream) throws -> [String] { [] }
  func fault(of stream: ReplicatedStream) throws -> String? { nil }
  func tally(_ stream: ReplicatedStream, column: Int) throws -> Tally { Tally() }
  func received(_ stream: ReplicatedStream) throws -> IntervalSet { IntervalSet() }
  func rowsDown(_ stream: ReplicatedStream, in received: IntervalSet, since before: IntervalSet) throws -> Int { 0 }
  func strayLines(_ stream: ReplicatedStream) throws -> Int { 0 }
  func removeStrayLines(_ stream: ReplicatedStream) throws {}
  func gaps() throws -> [(stream: ReplicatedStream, gap: String)] { [] }
  func note(gap: String, isClosed: Bool, of stream: ReplicatedStream) throws {}
  func note(_ finding: DriftFinding, failure: String?, of stream: MachineStream) throws {}
}
