// Backups and the files beside databases were 0644 whatever the database's mode was, so that everybody on a machine could read the rows (issue 14).

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct FileModeTests {
  /// The files below a folder that were not there before, with their modes.
  private func modes(in folder: String, but known: Set<String>) throws -> [String: Int] {
    let files = try #require(FileManager.default.enumerator(atPath: folder))
    var modes: [String: Int] = [:]
    for case let name as String in files where !known.contains(name) {
      let attributes = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
      modes[name] = (attributes[.posixPermissions] as? NSNumber)?.intValue
    }
    return modes
  }

  private func shell(_ script: String, _ arguments: [String]) async throws -> Road.Outcome {
    try await Road.run("sh", ["-c", "umask 000; " + script] + arguments)
  }

  @Test(arguments: [0o600, 0o640])
  func `no file that Drover makes can be read by more than may read the database, whatever the umask`(mode: Int)
    async throws
  {
    let road = try Road(
      streams: "  - {table: pen, kind: snapshot}\n  - {name: reading, kind: payload}",
      edge: "backup: {folder: ./edge-backups}", cloud: "changes: true\nbackup: {folder: ./a/cloud-backups}")
    try await road.python(
      "db.execute('PRAGMA journal_mode = wal'); db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)'); db.execute('INSERT INTO pen VALUES (1)')"
    )
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: road.app)
    let known: Set = [
      "edge.yaml", "cloud.yaml", "edge.log", "cloud.log", "app.db", "app.db-wal", "app.db-shm", "ready",
    ]
    let outcome = try await shell(
      """
      "$0" cloud --config "$2" >"$3/cloud.log" 2>&1 & cloud=$!
      "$0" edge --config "$1" >"$3/edge.log" 2>&1 & edge=$!
      tries=0
      until "$0" status --config "$1" --json | grep -q '"confirmed": [1-9]' || [ $((tries += 1)) -gt 600 ]; do sleep 0.1; done
      echo '{"id":"a"}' | "$0" emit --config "$1" --stream reading --id-field id --format json
      "$0" backup --config "$1" && "$0" backup --config "$2"
      find "$3" -printf '%P %m\\n'
      kill $edge $cloud; wait
      "$0" rebuild --config "$2" --yes
      """, [Road.drover, road.edgeFile, road.cloudFile, road.folder.path])
    // While both were at work, and what is left.
    var seen = try modes(in: road.folder.path, but: known)
    for line in outcome.output.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2, let mode = Int(words[1], radix: 8), !known.contains(String(words[0])) {
        seen["\(words[0]) at work"] = mode
      }
    }
    for name in [
      "app.db-drover.state", "app.db-drover.lock", "app.db-drover.backup", "cloud.db", "cloud.db-drover.feed",
    ] {
      #expect(seen[name] != nil, "\(name) of \(seen.keys.sorted()); \(outcome.errors)")
    }
    #expect(seen.keys.contains { $0.hasPrefix("edge-backups/app-") })
    #expect(seen.keys.contains { $0.hasPrefix("a/cloud-backups/cloud-") })
    for (name, found) in seen {
      let isOfApp = name.hasPrefix("app.db") || name.hasPrefix("edge-backups/")
      let isFolder = ["a", "a/cloud-backups", "edge-backups"].contains(name.replacing(" at work", with: ""))
      let most = isFolder ? 0o700 : isOfApp ? mode : 0o600
      #expect(found & ~most == 0, "\(name) has the mode \(String(found, radix: 8))")
    }
  }

  @Test(.enabled(if: geteuid() == 0, "only root can give files to others"))
  func `what root's command makes beside another user's database belongs to that user`() async throws {
    let road = try Road(streams: "  - {table: pen, kind: snapshot}", edge: "backup: {folder: ./backups}")
    try await road.python("db.execute('CREATE TABLE pen (id INTEGER PRIMARY KEY)')")
    try #require(chown(road.app, 65_534, 65_534) == 0)
    try road.start(.edge)
    try await road.wait(for: "the agent is attached") {
      FileManager.default.fileExists(atPath: road.app + "-drover.state")
    }
    _ = try await Road.drover("backup", "--config", road.edgeFile)
    road.end(.edge)
    for name in try FileManager.default.subpathsOfDirectory(atPath: road.folder.path)
    where name.hasPrefix("app.db") || name.hasPrefix("backups") {
      let attributes = try FileManager.default.attributesOfItem(atPath: road.folder.file(name))
      #expect((attributes[.ownerAccountID] as? NSNumber)?.intValue == 65_534, "\(name)")
    }
  }
}
