// Comparisons of many streams, with a note of each for `drover status`. Machines are asked at the same time, so that one that says nothing keeps
// no other waiting; the streams of one machine come one after the other.

package import DroverCore
import DroverWire

package struct CheckRound {
  package struct Result: Sendable {
    package var stream: ReplicatedStream
    package var finding: DriftFinding
    /// Why the stream could not be compared, or not to the end.
    package var failure: String?
    /// The machine's agent did not answer.
    package var isSilent = false
    /// The rows by the values of the column that was asked for, where the stream has it.
    package var groups: GroupedRows?

    /// Everything that differs was found and is equal now, but for facts and complete rows, which are never overwritten.
    package var isSettled: Bool {
      failure == nil && finding.inFlight == 0 && finding.drift <= finding.conflicts + finding.frozen
    }
  }

  /// Machines that are asked at a time: each may have an answer in memory.
  package static let mostMachines = 64

  private let desk: Assignments

  /// What is done with each stream.
  package struct Work: Sendable {
    /// Rows that differ are sent again.
    package var isRepairing = false
    /// The result is kept for `drover status`.
    package var isNoted = true
    /// How often rows on their way are looked at.
    package var looks = DriftCheck.mostLooks
    /// The column by whose values the rows are counted too.
    package var column: String?

    package init(isRepairing: Bool = false) { self.isRepairing = isRepairing }

    /// A comparison that only reads and does not wait for what is on its way.
    /// - Parameter column: by whose values the rows are counted too.
    package static func looking(by column: String?) -> Work {
      var work = Work()
      (work.isNoted, work.looks, work.column) = (false, 2, column)
      return work
    }
  }

  package init(replica: any Replica, machines: any MachineQuestions, isRepairing: Bool) {
    self.init(replica: replica, machines: machines, Work(isRepairing: isRepairing))
  }

  package init(replica: any Replica, machines: any MachineQuestions, _ work: Work) {
    desk = Assignments(Shared(replica: replica), machines, work)
  }

  /// - Returns: a result for each stream, in their order.
  package func run(_ streams: [ReplicatedStream]) async -> [Result] {
    let machines = Dictionary(grouping: streams.indices) { streams[$0].machine }
      .sorted { $0.value[0] < $1.value[0] }.map(\.value)
    var results = [Result?](repeating: nil, count: streams.count)
    await withTaskGroup(of: [(Int, Result)].self) { group in
      func take(_ done: [(Int, Result)]) { for (index, result) in done { results[index] = result } }
      for (number, indices) in machines.enumerated() {
        if number >= Self.mostMachines, let done = await group.next() { take(done) }
        let own = indices.map { ($0, streams[$0]) }
        group.addTask { await desk.compare(own) }
      }
      for await done in group { take(done) }
    }
    return results.map { $0! }
  }

  /// Who had to be asked and said nothing, each once.
  package static func silent(_ results: [Result]) -> [MachineID] {
    Set(results.filter(\.isSilent).map(\.stream.machine)).sorted()
  }

  /// The caller's replica. It has one connection and belongs to one thread at a time: between the call of `run` and its return only the desk uses it.
  private struct Shared: @unchecked Sendable {
    let replica: any Replica
  }

  /// Where all comparisons of a round use the replica, one at a time.
  private actor Assignments {
    private let shared: Shared
    private let machines: any MachineQuestions
    private let work: Work

    init(_ shared: Shared, _ machines: any MachineQuestions, _ work: Work) {
      self.shared = shared
      self.machines = machines
      self.work = work
    }

    /// The streams of one machine, one after the other.
    func compare(_ streams: [(Int, ReplicatedStream)]) async -> [(Int, Result)] {
      var results: [(Int, Result)] = []
      var silence: String?
      for (index, stream) in streams {
        let result = await compare(stream, silence)
        if result.isSilent { silence = result.failure }
        results.append((index, result))
      }
      return results
    }

    /// - Parameter silence: what became of the machine's stream before, when it said nothing.
    private func compare(_ stream: ReplicatedStream, _ silence: String?) async -> Result {
      var result = Result(stream: stream, finding: DriftFinding(), failure: nil)
      do {
        guard stream.isOnline else { throw CheckFailure("the machine is offline") }
        if let silence { throw CheckFailure(silence, isSilence: true) }
        result.finding = try await DriftCheck(replica: shared.replica, machines: machines, looks: work.looks)
          .run(stream, isRepairing: work.isRepairing)
        if let column = work.column { result.groups = try await groups(stream, by: column) }
      } catch {
        result.failure = "\(error)"
        result.isSilent = (error as? CheckFailure)?.isSilence ?? false
      }
      guard work.isNoted else { return result }
      do {
        try shared.replica.note(result.finding, failure: result.failure, of: stream.origin)
      } catch {
        result.failure = result.failure ?? "\(error)"
      }
      return result
    }

    /// nil where the stream has no such column.
    private func groups(_ stream: ReplicatedStream, by name: String) async throws -> GroupedRows? {
      guard let index = stream.schema.columns.firstIndex(where: { SQLName($0.name) == SQLName(name) }) else {
        return nil
      }
      let column = stream.schema.columns[index].name
      var atEdge = Tally()
      do {
        try await machines.ask(.tally(column: column), of: stream) { answer in
          guard case .tally(let tally) = answer else { throw CheckFailure("it gave another answer") }
          atEdge = tally
        }
      } catch let failure as CheckFailure {
        let cause =
          failure.isSilence
          ? "\(failure); an agent of an earlier release does not count rows: upgrade it" : "\(failure)"
        return GroupedRows(column: column, problem: "count the rows at the machine: \(cause)")
      }
      return GroupedRows(
        column: column, atEdge: atEdge, inCloud: try shared.replica.tally(stream, column: index))
    }
  }
}
