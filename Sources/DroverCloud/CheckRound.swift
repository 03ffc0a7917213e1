// One comparison after the other, with a note of each for `drover status`.

package import DroverCore

package struct CheckRound {
  package struct Result: Sendable {
    package var stream: ReplicatedStream
    package var finding: DriftFinding
    /// Why the stream could not be compared, or not to the end.
    package var failure: String?

    /// Everything that differs was found and is equal now, but for facts and complete rows, which are never overwritten.
    package var isSettled: Bool {
      failure == nil && finding.inFlight == 0 && finding.drift <= finding.conflicts + finding.frozen
    }
  }

  private let replica: any Replica
  private let machines: any MachineQuestions
  private let isRepairing: Bool

  package init(replica: any Replica, machines: any MachineQuestions, isRepairing: Bool) {
    self.replica = replica
    self.machines = machines
    self.isRepairing = isRepairing
  }

  package func run(_ streams: [ReplicatedStream]) async -> [Result] {
    var results: [Result] = []
    for stream in streams {
      var result = Result(stream: stream, finding: DriftFinding(), failure: nil)
      do {
        guard stream.isOnline else { throw CheckFailure("the machine is offline") }
        result.finding = try await DriftCheck(replica: replica, machines: machines)
          .run(stream, isRepairing: isRepairing)
      } catch {
        result.failure = "\(error)"
      }
      do {
        try replica.note(result.finding, failure: result.failure, of: stream)
      } catch {
        result.failure = result.failure ?? "\(error)"
      }
      results.append(result)
    }
    return results
  }
}
