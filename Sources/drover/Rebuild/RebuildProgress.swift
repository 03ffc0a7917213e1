// Whether the machines have filled a new store again: a machine has when a comparison finds its tables equal.

import DroverCloud
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverServices
import Foundation

struct RebuildProgress {
  let configuration: CloudConfiguration
  /// Of the SQLite store.
  let path: String
  let rebuild: StoreRebuild

  private static let pause = Duration.seconds(1)

  /// Prints what changes, and returns when every machine's tables are equal. A machine that stays away is waited for.
  func follow() async throws {
    let channel = MachineChannel(configuration.connection, name: "rebuild")
    async let connection: Void = channel.run()
    defer { channel.stop() }
    var missing = Set(rebuild.machines)
    for machine in rebuild.machines where rebuild.tables?[machine, default: []].isEmpty == true {
      missing.remove(machine)
      say("\(machine): had no table that could be compared; not waited for")
    }
    var last: [String: String] = [:]
    // Equal and still as they were counted before: while rows come in, neither the figure nor the comparison is the last.
    var equal: Set<String> = []
    while !missing.isEmpty {
      let report = try SQLiteCloudReader(path: path).report()
      for machine in report?.machines ?? [] where missing.contains(machine.name) {
        let streams = try SQLiteReplica(path: path).streams().filter { $0.machine.text == machine.name }
        let state = describe(machine, absent(streams, of: machine.name))
        if last[machine.name] != state {
          say("\(machine.name): \(state)")
          equal.remove(machine.name)
        } else if equal.contains(machine.name) {
          missing.remove(machine.name)
          say("\(machine.name): \(state); equal to the machine's own")
          continue
        }
        last[machine.name] = state
        if isThere(streams, of: machine.name), try await areEqual(streams, channel) { equal.insert(machine.name) }
      }
      guard !missing.isEmpty else { break }
      try await Task.sleep(for: Self.pause)
    }
    channel.stop()
    await connection
    say("every machine that the old store knew has filled the new one")
  }

  private func describe(_ machine: CloudReport.Machine, _ absent: [String]) -> String {
    let rows = machine.streams.reduce(0) { $0 + ($1.rows ?? 0) }
    return
      "\(machine.isOnline == true ? "online" : "not connected"), \(quantity(rows, "row")) in \(quantity(machine.streams.count, "stream"))"
      + (absent.isEmpty ? "" : "; not yet described: \(absent.joined(separator: ", "))")
  }

  /// Of what the old store had, what the new one has not heard of.
  private func absent(_ streams: [ReplicatedStream], of machine: String) -> [String] {
    (rebuild.tables?[machine] ?? []).subtracting(streams.map(\.stream)).sorted().map(\.text)
  }

  private func isThere(_ streams: [ReplicatedStream], of machine: String) -> Bool {
    !streams.isEmpty && streams.allSatisfy(\.isOnline) && absent(streams, of: machine).isEmpty
  }

  private func areEqual(_ streams: [ReplicatedStream], _ channel: MachineChannel) async throws -> Bool {
    let replica = try SQLiteReplica(path: path)
    let results = await CheckRound(replica: replica, machines: channel, isRepairing: false).run(streams)
    return results.allSatisfy { $0.failure == nil && $0.finding.drift == 0 && $0.finding.inFlight == 0 }
  }
}

/// Prints a line at once, also into a file.
func say(_ line: String) {
  print(line)
  fflush(nil)
}
