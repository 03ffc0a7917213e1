// `drover watch` as a person sees it: in a terminal, and through a pipe.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct WatchTests {
  private func running() async throws -> Road {
    let road = try Road(streams: Road.pensAndFacts)
    try await road.python("\(Road.makePensAndFacts)\ndb.execute(\"INSERT INTO pen VALUES (1, 'red')\")")
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 1)
    return road
  }

  @Test(.timeLimit(.minutes(30)))
  func `in a terminal it follows the window, and leaves the terminal as it was however it ends`() async throws {
    let road = try await running()
    for ending in ["q", "ctrl-c", "SIGTERM", "SIGINT", "SIGHUP"] {
      try await Road.script("watch_pty.py", [Road.drover, road.cloudFile, Road.machine, ending])
    }
    try await Road.script("watch_pty.py", [Road.drover, road.edgeFile, "reading", "q"])
  }

  @Test func `without a terminal it prints one look and ends`() async throws {
    let road = try await running()
    let cloud = try await Road.drover("watch", "--config", road.cloudFile)
    #expect(cloud.status == 0 && cloud.errors == "")
    #expect(cloud.output.contains("\(road.cloud)  consumer running, process "))
    #expect(cloud.output.contains("1 machine, 1 online  1 applied"))
    #expect(cloud.output.contains("\n\(Road.machine)   online "))
    #expect(!cloud.output.contains("\u{1b}"))
    road.end(.cloud)
    let stopped = try await Road.drover("watch", "--config", road.cloudFile)
    #expect(stopped.output.contains("! the consumer is not running\n  start `drover cloud`"))
    let edge = try await Road.drover("watch", "--config", road.edgeFile)
    #expect(edge.output.contains("\(Road.machine)  agent running, process "))
    #expect(edge.output.contains("\npen "))
  }
}
