// Another program's lock on a SQLite store stops every stream, since SQLite has one lock for all tables of a file. Without a word it looked as if the
// machines were slow.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct StoreLockTests {
  /// Python that holds a lock on a database until it is killed.
  private func lock(_ path: String, _ statements: String...) throws -> Process {
    let holder = Process()
    holder.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    holder.arguments =
      [
        "python3", "-c",
        "import sqlite3, sys; a = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60); [a.execute(s) for s in sys.argv[2:]]; print('locked', flush=True); sys.stdin.read()",
        path,
      ] + statements
    let output = Pipe()
    (holder.standardInput, holder.standardOutput) = (Pipe(), output)
    try holder.run()
    #expect(String(decoding: output.fileHandleForReading.availableData, as: UTF8.self).hasPrefix("locked"))
    return holder
  }

  private func end(_ holder: Process) {
    kill(holder.processIdentifier, SIGKILL)
    holder.waitUntilExit()
  }

  @Test func `a program that has the store locked is named by log, status and doctor, until it lets go`() async throws {
    let road = try Road(streams: "  - {table: t, kind: snapshot}")
    try await road.python(
      "db.execute('CREATE TABLE t (id INTEGER PRIMARY KEY)'); db.execute('INSERT INTO t VALUES (1)')")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1)
    let holder = try lock(road.cloud, "BEGIN IMMEDIATE")
    defer { end(holder) }
    let sentence = "the store is locked by process \(holder.processIdentifier) (python3)"
    try await road.python("db.execute('INSERT INTO t VALUES (2)')")
    try await road.wait(for: "status names it") {
      try await Road.drover("status", "--config", road.cloudFile).output.contains(sentence)
    }
    #expect(road.log(of: .cloud).contains(sentence))
    let doctor = try await Road.drover("doctor", "--config", road.cloudFile)
    #expect(
      doctor.status == 1 && doctor.output.contains("\(sentence), and every stream waits at its machine, since 20"))
    #expect(doctor.output.contains("BEGIN without COMMIT"))
    end(holder)
    try await road.waitUntilConfirmed(atLeast: 2)
    #expect(try await road.inCloud("SELECT count(*) FROM t") == "[[2]]")
    let status = try await Road.drover("status", "--config", road.cloudFile).output
    #expect(!status.contains("locked") && road.log(of: .cloud).contains("the store is no longer locked"))
  }

  // No alert told of it: the alerts' memory is in the store.
  @Test func `a consumer that is started while the store is locked waits, and tells it as an alert`() async throws {
    let road = try Road(streams: "  - {table: t, kind: snapshot}", cloud: "alerts: {for: 0s, calm: 1s}")
    try await road.python(
      "db.execute('CREATE TABLE t (id INTEGER PRIMARY KEY)'); db.execute('INSERT INTO t VALUES (1)')")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1)
    road.end(.cloud)
    let holder = try lock(road.cloud, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE")
    defer { end(holder) }
    let sentence = "it is locked by process \(holder.processIdentifier) (python3)"
    try road.start(.cloud)
    try await road.wait(for: "it says so") { road.log(of: .cloud).contains("wait for the store: open ") }
    #expect(road.log(of: .cloud).contains(sentence))
    let status = try await Road.drover("status", "--config", road.cloudFile)
    #expect(status.status == 1 && status.errors.contains(sentence), "\(status)")
    try await road.python("db.execute('INSERT INTO t VALUES (2)')")
    #expect(road.isRunning(.cloud))
    let alert = "alert tables: the store is locked by process \(holder.processIdentifier) (python3)"
    try await road.wait(for: "an alert") { road.log(of: .cloud).contains(alert) }
    end(holder)
    try await road.waitUntilConfirmed(atLeast: 2)
    try await road.wait(for: "its end") { road.log(of: .cloud).contains("alert tables is over after") }
    #expect(road.log(of: .cloud).split(separator: alert).count == 2, "it is told once")
    #expect(try await road.inCloud("SELECT count(*) FROM t") == "[[2]]")
  }
}
