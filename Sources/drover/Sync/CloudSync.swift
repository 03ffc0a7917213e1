// Both sides of machines' streams, seen from the cloud: the agents say what their tables hold, and the consumer exchanges the rows.

import DroverCloud
import DroverConfiguration
import DroverCore
import DroverServices

extension CloudConfiguration {
  /// What the store has to a comparison, on connections of its own.
  func comparison(_ machines: any MachineQuestions) throws -> SideComparison {
    SideComparison(
      replica: try openReplica(), machines: machines, conflicts: try openConflicts(),
      letters: try openDeadLetters(readOnly: true))
  }
}

struct CloudSync {
  let configuration: CloudConfiguration
  let machine: MachineID?
  let stream: StreamName?
  private let since = wallClock()

  init(_ configuration: CloudConfiguration, machine: MachineID?, stream: StreamName?) {
    self.configuration = configuration
    self.machine = machine
    self.stream = stream
  }

  func exchange(waits: Bool) async throws -> Exchange {
    guard try configuration.reader.workers().contains(where: { $0.process != nil }) else {
      throw CannotCompare("the consumer does not run, and it exchanges the rows; start `drover cloud`")
    }
    return try await withComparison { comparison in
      let (streams, notes, unreadable) = try self.streams(comparison)
      let before = try Figures(configuration, comparison, streams, machine)
      var patience = SyncPatience(waits: waits)
      var progress = SyncProgress()
      while true {
        // A machine may describe its tables anew meanwhile.
        let wanted = Set(streams.map(\.origin))
        let present = try comparison.replica.streams().filter { wanted.contains($0.origin) }
        let found = try await comparison.run(present, by: nil, since: since) + unreadable
        guard let pause = patience.next(after: found.filter { !unreadable.contains($0) }) else {
          let after = try Figures(configuration, comparison, present, machine)
          return Exchange(
            streams: try found.map { standing in
              let stream = present.first { $0.origin == standing.origin }
              return ExchangedStream(
                standing: standing, up: after.up(standing.origin, since: before),
                down: try stream.map { try after.down($0, since: before, comparison) } ?? 0)
            }, notes: notes)
        }
        if waits { progress.show(found) }
        try await Task.sleep(for: pause)
      }
    }
  }

  /// Looks once.
  func compare(by column: String?) async throws -> (standings: [StreamStanding], notes: [String]) {
    try await withComparison { comparison in
      let (streams, notes, unreadable) = try self.streams(comparison)
      return (try await comparison.run(streams, by: column, since: since) + unreadable, notes)
    }
  }

  private func withComparison<Outcome>(
    _ body: nonisolated(nonsending) (SideComparison) async throws -> Outcome
  ) async throws -> Outcome {
    let channel = MachineChannel(configuration.connection, name: "compare")
    let comparison = try configuration.comparison(channel)
    async let connection: Void = channel.run()
    do {
      let outcome = try await body(comparison)
      channel.stop()
      await connection
      return outcome
    } catch {
      channel.stop()
      await connection
      throw error
    }
  }

  /// The streams that are meant. Without a machine, those of machines that are online.
  private func streams(
    _ comparison: SideComparison
  ) throws -> (streams: [ReplicatedStream], notes: [String], unreadable: [StreamStanding]) {
    func isWanted(_ origin: MachineStream) -> Bool {
      (machine == nil || origin.machine == machine) && (stream == nil || origin.stream == stream)
    }
    let known = try comparison.replica.streams().filter { isWanted($0.origin) }
    let unreadable = try comparison.replica.unreadable().filter { isWanted($0.origin) }
    guard !known.isEmpty || !unreadable.isEmpty else {
      throw CannotCompare("the store knows no such stream with a table; `drover status --config` shows what it knows")
    }
    let online = known.filter(\.isOnline)
    let offline = Set(known.filter { !$0.isOnline }.map(\.machine)).sorted()
    if let machine, !offline.isEmpty {
      throw CannotCompare("\(machine) is offline; its rows wait on both sides until its agent is connected again")
    }
    guard !online.isEmpty || !unreadable.isEmpty else {
      throw CannotCompare("no machine is online: \(Self.list(offline)); start `drover edge` on the machines")
    }
    let broken = unreadable.map { stream in
      var standing = StreamStanding(stream.origin)
      standing.failure = stream.reason
      return standing
    }
    let notes =
      offline.isEmpty
      ? [] : ["\(quantity(offline.count, "machine")) offline and left out: \(Self.list(offline))"]
    return (online, notes, broken)
  }

  private static func list(_ machines: [MachineID]) -> String {
    let named = machines.prefix(20).map(\.text).joined(separator: ", ")
    return machines.count > 20 ? "\(named) and \(machines.count - 20) more" : named
  }
}

/// What the store has counted of streams.
private struct Figures {
  private var applied: [String: [String: Int]] = [:]
  private var received: [MachineStream: IntervalSet] = [:]

  init(
    _ configuration: CloudConfiguration, _ comparison: SideComparison, _ streams: [ReplicatedStream],
    _ machine: MachineID?
  ) throws {
    let report = try configuration.reader.report(ReportScope(only: machine?.text, countsRows: false))
    for machine in report?.machines ?? [] {
      applied[machine.name] = Dictionary(machine.streams.map { ($0.name, $0.applied) }) { first, _ in first }
    }
    for stream in streams where stream.schema.flow.direction.goesDown {
      received[stream.origin] = try comparison.replica.received(stream)
    }
  }

  func up(_ origin: MachineStream, since before: Figures) -> Int {
    func count(_ figures: Figures) -> Int { figures.applied[origin.machine.text]?[origin.stream.text] ?? 0 }
    return max(0, count(self) - count(before))
  }

  func down(_ stream: ReplicatedStream, since before: Figures, _ comparison: SideComparison) throws -> Int {
    guard let now = received[stream.origin] else { return 0 }
    return try comparison.replica.rowsDown(stream, in: now, since: before.received[stream.origin] ?? IntervalSet())
  }
}
