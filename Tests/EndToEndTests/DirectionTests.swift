// A stream changes its direction while it runs: the frames on the broker are counted, because its rows may be millions.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct DirectionTests {
  private static let rows = 2000

  private func setDirection(_ direction: String, _ road: Road) throws {
    let file = try String(contentsOfFile: road.edgeFile, encoding: .utf8)
    try road.folder.write(file.replacing(/direction: [a-z]+/, with: "direction: \(direction)"), to: "edge.yaml")
  }

  /// How many messages of a kind a client that listens has noted.
  private func heard(_ road: Road, _ part: String) throws -> Int {
    try String(contentsOfFile: road.folder.file("heard"), encoding: .utf8).split(separator: "\n")
      .count { $0.contains(part) }
  }

  @Test func `a stream changes between up and both without sending its rows again, and to down and back with them`()
    async throws
  {
    let road = try Road(streams: "  - {table: products, kind: snapshot, direction: up}")
    try await road.python(
      """
      db.execute("PRAGMA journal_mode = WAL")
      db.execute("CREATE TABLE products (url TEXT PRIMARY KEY, name TEXT, stage TEXT)")
      db.executemany("INSERT INTO products VALUES (?, ?, 'new')", [(f"u{n}", f"n{n}") for n in range(\(Self.rows))])
      """)
    let log = open(road.folder.file("heard"), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    let listener = try ChildProcess(
      "mosquitto_sub",
      [
        "-V", "mqttv5", "-q", "1", "-p", "\(road.broker.port)", "-F", "%t", "-t", "drover/v1/MAH001/snapshot/#", "-t",
        "drover/v1/MAH001/down/#", "-t", "listening",
      ], standardOutput: log)
    close(log)
    defer { listener.end(SIGTERM) }
    try await road.wait(for: "the listener") {
      _ = try await Road.run(
        "mosquitto_pub", ["-p", "\(road.broker.port)", "-q", "1", "-t", "listening", "-m", "x"])
      return try self.heard(road, "listening") > 0
    }
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: Self.rows)
    var step = 0
    func change(to direction: String) async throws -> (up: Int, down: Int) {
      step += 1
      let before = (try heard(road, "/snapshot/"), try heard(road, "/down/"))
      road.end(.edge)
      try setDirection(direction, road)
      try road.start(.edge)
      try await road.wait(for: "the cloud knows of it") {
        try await road.inCloud("SELECT direction FROM drover_flow WHERE stream = 'products'")
          == (direction == "up" ? "[]" : "[[\"\(direction)\"]]")
      }
      let change = { (row: String) in "UPDATE products SET stage = 'step \(step)' WHERE url = '\(row)'" }
      let stage = { (row: String) in "SELECT stage FROM products WHERE url = '\(row)'" }
      let wanted = "[[\"step \(step)\"]]"
      if direction != "up" {
        _ = try await road.inCloud(change("u1"))
        try await road.wait(for: "the edit at the edge, \(direction)") {
          try await road.python("print(json.dumps(db.execute(\"\(stage("u1"))\").fetchall()))") == wanted
        }
      }
      if direction != "down" {
        try await road.python("db.execute(\"\(change("u2"))\")")
        try await road.wait(for: "the edit in the cloud, \(direction)") {
          try await road.inCloud(stage("u2")) == wanted
        }
      }
      try await road.waitUntilConfirmed()
      return (try heard(road, "/snapshot/") - before.0, try heard(road, "/down/") - before.1)
    }
    for direction in ["both", "up", "both", "up", "both"] {
      let frames = try await change(to: direction)
      // The listener may lag behind by a frame, which then counts for the next change.
      #expect(frames.up <= 2 && frames.down <= (direction == "both" ? 2 : 1), "\(direction): \(frames)")
    }
    #expect(try await Road.drover("check", "--config", road.cloudFile).status == 0)
    // The whole table is the cloud's then, so the cloud sends it. Afterwards a machine sends a table that it has never sent before.
    _ = try await change(to: "down")
    #expect(try await change(to: "up").up >= Self.rows / 100)
    #expect(try await Road.drover("check", "--config", road.cloudFile).status == 0)
    _ = try await change(to: "down")
    #expect(try await change(to: "both").up >= Self.rows / 100)
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)")
  }
}
