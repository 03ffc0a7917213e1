// The cloud's store is damaged beyond use, and is filled again from the machines.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct RebuildTests {
  enum Harm: String, CaseIterable { case middle, header }

  private func replicated() async throws -> Road {
    let road = try Road(streams: Road.pensAndFacts)
    try await road.python(
      """
      \(Road.makePensAndFacts)
      db.executemany("INSERT INTO pen VALUES (?, ?)", [(n, f"pen {n} " + "x" * 200) for n in range(3000)])
      db.executemany("INSERT INTO fact VALUES (?, ?)", [(f"fact {n}", n) for n in range(1000)])
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") { try await road.status()?.attached ?? false }
    try await road.python(
      "db.executemany(\"INSERT INTO drover_intake (stream, local_id, body) VALUES ('reading', ?, '1')\", [(f'r{n}',) for n in range(200)])"
    )
    try await road.waitUntilConfirmed(atLeast: 4200)
    // A dead letter, which no machine could send again.
    try ChildProcess.run(
      "mosquitto_pub", ["-p", "\(road.broker.port)", "-q", "1", "-t", "drover/v1/MAH001/payload/fact", "-m", "no JSON"])
    try await road.wait(for: "a dead letter") { try await road.cloudStatus()?.dead_letters == 1 }
    return road
  }

  private func damage(_ road: Road, _ harm: Harm) async throws {
    road.end(.cloud)
    // Where the rows of a table lie, so that a reader must meet it.
    let page = try await road.python(
      "print(db.execute(\"SELECT max(pageno) FROM dbstat WHERE name = 'pen' AND pagetype = 'leaf'\").fetchone()[0] if 'ENABLE_DBSTAT_VTAB' in [o[0] for o in db.execute('PRAGMA compile_options')] else db.execute('PRAGMA page_count').fetchone()[0] // 2)",
      database: road.cloud)
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: road.cloud))
    let offset = harm == .header ? 0 : UInt64(4096 * (Int(page)! - 1))
    try file.seek(toOffset: offset)
    try file.write(contentsOf: Data(repeating: 0x5a, count: 4096))
    try file.close()
  }

  @Test(arguments: Harm.allCases)
  func `a damaged store is rebuilt from the machines by one command`(harm: Harm) async throws {
    let road = try await replicated()
    let running = try await Road.drover("rebuild", "--config", road.cloudFile, "--yes")
    #expect(running.status == 1 && running.errors.contains("another Drover process"))
    try await damage(road, harm)
    let asked = try await Road.drover("rebuild", "--config", road.cloudFile)
    #expect(asked.status == 64 && asked.errors.contains("add --yes"))

    let rebuilt = try await Road.drover("rebuild", "--config", road.cloudFile, "--yes")
    #expect(rebuilt.status == 0, "\(rebuilt.errors)")
    let aside = try FileManager.default.contentsOfDirectory(atPath: road.folder.path)
      .filter { $0.hasPrefix("cloud.db-until-") && $0.hasSuffix("Z") }
    #expect(aside.count == 1 && rebuilt.output.contains(aside[0]))
    if harm == .middle {
      #expect(rebuilt.output.contains("1 dead letter carried over, 1 machine known"))
      #expect(try await road.cloudStatus()?.dead_letters == 1)
    } else {
      #expect(rebuilt.output.contains("not all of it could be read"))
    }
    // The machine has gone on meanwhile, and does so while it fills the store.
    try await road.python("db.execute(\"UPDATE pen SET name = 'changed' WHERE id < 50\")")
    try road.start(.cloud)
    try await road.python("db.execute('DELETE FROM pen WHERE id = 60')")
    try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
    try await road.waitUntilConfirmed()
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
    #expect(try await road.inCloud("SELECT count(*) FROM reading") == "[[200]]")
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)")
  }

  @Test func `the command follows the machines until their tables are equal`() async throws {
    let road = try await replicated()
    road.end(.cloud)
    let rebuild = try ChildProcess(
      "sh",
      [
        "-c", "exec \"$0\" rebuild --config \"$1\" --yes --wait > \"$2\" 2>&1", Road.drover, road.cloudFile,
        road.folder.file("rebuild.log"),
      ])
    try await road.wait(for: "the old store is aside") {
      road.folder.read("rebuild.log").contains("start the consumer")
    }
    #expect(rebuild.isRunning)
    try road.start(.cloud)
    try await road.wait(for: "the end") { !rebuild.isRunning }
    #expect(
      road.folder.read("rebuild.log").contains("MAH001: online, 4200 rows in 3 streams; equal to the machine's own"))
    #expect(road.folder.read("rebuild.log").contains("has filled the new one"))
    try await Road.script("compare.py", [road.app, road.cloud, Road.machine])
    let nothing = try await Road.drover("rebuild", "--config", road.edgeFile)
    #expect(nothing.status == 78)
  }
}
