// How both sides of streams stand: the comparison of `drover check`, which only looks, with what the cloud keeps of conflicts and dead letters beside it.
// `drover sync` and `drover compare` make it in the cloud; the consumer makes it for a machine that asks.

package import DroverCloud
package import DroverCore

package struct SideComparison {
  package let replica: any Replica
  private let machines: any MachineQuestions
  private let conflicts: any ConflictStore
  private let letters: any DeadLetterStore

  package init(
    replica: any Replica, machines: any MachineQuestions, conflicts: any ConflictStore, letters: any DeadLetterStore
  ) {
    self.replica = replica
    self.machines = machines
    self.conflicts = conflicts
    self.letters = letters
  }

  /// - Parameters:
  ///   - column: also counts the rows by its values.
  ///   - since: conflicts that were decided then or later are new, microseconds since 1970.
  /// - Returns: a standing for each stream, in their order.
  package nonisolated(nonsending) func run(
    _ streams: [ReplicatedStream], by column: String?, since: Int64
  ) async throws -> [StreamStanding] {
    let results = await CheckRound(replica: replica, machines: machines, .looking(by: column)).run(streams)
    return try results.map { result in
      var standing = StreamStanding(result.stream.origin, result.finding, failure: result.failure)
      standing.groups = result.groups
      try count(&standing, since: since)
      return standing
    }
  }

  /// What the store knows of a stream whose rows it cannot compare.
  package func count(_ standing: inout StreamStanding, since: Int64) throws {
    let (machine, stream) = (standing.origin.machine, standing.origin.stream)
    standing.conflicts = try conflicts.conflictCount(machine: machine, stream: stream)
    standing.newConflicts = try conflicts.conflictCount(machine: machine, stream: stream, since: since)
    standing.letters = try letters.count(DeadLetterFilter(machine: machine, stream: stream))
  }
}
