// Streams whose descriptions are damaged in the store. Only the machine knows what its table is, so it is asked to describe it again before a
// comparison.

package import DroverCore

package struct Redescription {
  private static let attempts = 10
  private static let pauseOfLooks = Duration.milliseconds(500)

  private let replica: any Replica
  private let machines: any MachineQuestions
  private let pause: (Duration) async throws -> Void

  package init(
    replica: any Replica, machines: any MachineQuestions,
    pause: @escaping (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) {
    self.replica = replica
    self.machines = machines
    self.pause = pause
  }

  /// - Returns: those that cannot be compared, each with a note for `drover status`.
  package nonisolated(nonsending) func run(_ isWanted: (MachineStream) -> Bool = { _ in true }) async throws
    -> [UnreadableStream]
  {
    var left = try replica.unreadable().filter { isWanted($0.origin) }
    guard !left.isEmpty else { return [] }
    // A machine that does not hear it is named at the end.
    for machine in Set(left.filter(\.isOnline).map(\.origin.machine)).sorted() {
      try? await machines.describe(machine)
    }
    for _ in 0..<Self.attempts where left.contains(where: \.isOnline) {
      try await pause(Self.pauseOfLooks)
      left = try replica.unreadable().filter { isWanted($0.origin) }
    }
    for stream in left { try replica.note(DriftFinding(), failure: stream.reason, of: stream.origin) }
    return left
  }
}
