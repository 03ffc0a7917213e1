// Whether the machines have filled a new store again: a machine has when a comparison finds its tables equal.

import DroverCloud
import DroverConfiguration
import DroverCore
import DroverSQLite
import Foundation

struct RebuildProgress {
  let configuration: CloudConfiguration
  /// Of the SQLite store.
  let path: String
  let machines: [String]

  private static let pause = Duration.seconds(1)

  /// Prints what changes, and returns when every machine's tables are equal. A machine that stays away is waited for.
  func follow() async throws {
    let channel = MachineChannel(configuration.connection, name: "rebuild")
    async let connection: Void = channel.run()
    defer { channel.stop() }
    var missing = Set(machines)
    var last: [String: String] = [:]
    while true {
      let report = try SQLiteCloudReader(path: path).report()
      for machine in report?.machines ?? [] where missing.contains(machine.name) {
        let state = describe(machine)
        // While rows come in there is nothing to compare.
        if machine.isOnline == true, last[machine.name] == state, try await isEqual(machine, channel) {
          missing.remove(machine.name)
          say("\(machine.name): \(state); equal to the machine's own")
        } else if last[machine.name] != state {
          say("\(machine.name): \(state)")
        }
        last[machine.name] = state
      }
      guard !missing.isEmpty else { break }
      try await Task.sleep(for: Self.pause)
    }
    channel.stop()
    await connection
    say("every machine that the old store knew has filled the new one")
  }

  private func describe(_ machine: CloudReport.Machine) -> String {
    let rows = machine.streams.reduce(0) { $0 + ($1.rows ?? 0) }
    return "\(machine.isOnline == true ? "online" : "not connected"), \(rows) rows in \(machine.streams.count) streams"
  }

  private func isEqual(_ machine: CloudReport.Machine, _ channel: MachineChannel) async throws -> Bool {
    let replica = try SQLiteReplica(path: path)
    let streams = try replica.streams().filter { $0.machine.text == machine.name }
    let results = await CheckRound(replica: replica, machines: channel, isRepairing: false).run(streams)
    return results.allSatisfy { $0.failure == nil && $0.finding.drift == 0 && $0.finding.inFlight == 0 }
  }
}

/// Prints a line at once, also into a file.
func say(_ line: String) {
  print(line)
  fflush(nil)
}
