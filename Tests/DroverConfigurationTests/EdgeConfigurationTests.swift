import DroverConfiguration
import DroverCore
import Foundation
import Testing

@Suite struct EdgeConfigurationTests {
  @Test func `the least file gets the documented defaults`() throws {
    let expected = EdgeConfiguration(
      machine: try MachineID("MAH001"),
      database: "/etc/drover/app.db",
      connection: BrokerConnection(
        broker: BrokerEndpoint(host: "127.0.0.1", port: 1883, usesTLS: false), credentials: nil, tls: nil,
        clientID: "drover-edge-MAH001", keepAlive: .seconds(30), sessionExpiry: .seconds(604_800)),
      logLevel: .info,
      window: .init(events: 50_000, bytes: 33_554_432),
      frame: .init(events: 100, bytes: 65_536), compression: .none,
      outbox: .init(
        quota: OutboxQuota(maxBytes: 1_073_741_824, minFreeBytes: 67_108_864, minFreeInodes: 1000),
        retention: .init(age: .seconds(86_400), bytes: 67_108_864)),
      deadLetters: DeadLetterBounds(maxCount: 10_000, maxBytes: 268_435_456),
      backup: BackupPlan(every: nil, folder: "/etc/drover/backups", keep: 7),
      streams: [
        StreamDeclaration(name: try StreamName("stock"), kind: .snapshot, table: "stock")
      ])
    #expect(try edge(leastEdge) == expected)
  }

  @Test func `every key of a full file is read`() throws {
    let yaml = """
      machine: MAH-7
      database: /var/lib/app/app.db
      broker: mqtts://broker.example.com
      credentials: {username: maria, password_file: secrets}
      tls: {ca: ca.pem, certificate: ./client.pem, key: client.key}
      client_id: seven
      keep_alive: 1m
      session_expiry: 2h
      log_level: debug
      window: {events: 500, bytes: 1MiB}
      frame: {events: 50, bytes: 2kB}
      compression: deflate
      dead_letters: {max_count: 8, max_bytes: 9MiB}
      backup: {every: 1h, folder: ./copies, keep: 3}
      outbox: {max_bytes: 2MiB, min_free_bytes: 0, min_free_inodes: 7, retention: {age: 2h, bytes: 3MB}}
      streams:
        - table: local_stock_snapshots
          kind: snapshot
          synced_column: synced
          time_column: assessed_at
          name: stock
        - name: temperature
          kind: payload
        - {table: cattle, kind: batch, complete_when: "closed IS NOT NULL"}
      """
    let files = ["secrets": "hunter2\n", "ca.pem": "", "client.pem": "", "client.key": ""]
    try withFolder(files) { folder in
      let expected = EdgeConfiguration(
        machine: try MachineID("MAH-7"),
        database: "/var/lib/app/app.db",
        connection: BrokerConnection(
          broker: BrokerEndpoint(host: "broker.example.com", port: 8883, usesTLS: true),
          credentials: Credentials(username: "maria", password: "hunter2"),
          tls: TLSFiles(
            ca: folder + "/ca.pem", identity: .init(certificate: folder + "/client.pem", key: folder + "/client.key")),
          clientID: "seven", keepAlive: .seconds(60), sessionExpiry: .seconds(7200)),
        logLevel: .debug,
        window: .init(events: 500, bytes: 1 << 20),
        frame: .init(events: 50, bytes: 2000), compression: .deflate,
        outbox: .init(
          quota: OutboxQuota(maxBytes: 2 << 20, minFreeBytes: 0, minFreeInodes: 7),
          retention: .init(age: .seconds(7200), bytes: 3_000_000)),
        deadLetters: DeadLetterBounds(maxCount: 8, maxBytes: 9 << 20),
        backup: BackupPlan(every: .seconds(3600), folder: folder + "/copies", keep: 3),
        streams: [
          StreamDeclaration(name: try StreamName("stock"), kind: .snapshot, table: "local_stock_snapshots") {
            $0.syncedColumn = "synced"
            $0.timeColumn = "assessed_at"
          },
          StreamDeclaration(name: try StreamName("temperature"), kind: .payload),
          try StreamDeclaration(name: StreamName("cattle"), kind: .batch, table: "cattle") {
            $0.completeWhen = try Condition(parsing: "closed IS NOT NULL")
          },
        ])
      #expect(try edge(yaml, in: folder) == expected)
    }
  }

  @Test func `a missing required key is named with a line to add`() {
    #expect(
      problems(try edge("log_level: info")) == [
        "edge.yaml: machine: missing; add for example `machine: MAH001`",
        "edge.yaml: database: missing; add for example `database: ./app.db`",
        "edge.yaml: broker: missing; add for example `broker: mqtt://127.0.0.1:1883`",
        "edge.yaml: streams: missing; add for example `streams: [{table: local_stock_snapshots, kind: snapshot}]`",
      ])
  }

  @Test func `a machine's name keeps to its rule`() {
    #expect(
      problems(try edge(leastEdge(with: "machine: -MAH"))) == [
        """
        edge.yaml:1:1: machine: a machine is named by 1 to 64 letters, digits, dots, underscores and hyphens, \
        beginning with a letter or digit; found "-MAH"
        """
      ])
  }

  @Test func `text is taken as it is written, whatever YAML would make of it`() throws {
    #expect(try edge(leastEdge(with: "machine: 007")).machine.text == "007")
    #expect(try edge(leastEdge(with: "machine: no")).machine.text == "no")
    #expect(try edge(leastEdge(with: "machine: 1e3")).machine.text == "1e3")
  }

  @Test func `a key without a value is an error`() {
    #expect(
      problems(try edge(leastEdge(with: "database:"))) == ["edge.yaml:2:1: database: expected a path; found nothing"])
    #expect(
      problems(try edge(leastEdge(with: "database: ''"))) == ["edge.yaml:2:1: database: expected a path; found \"\""])
    #expect(problems(try edge(leastEdge + "client_id: ~")).first?.hasSuffix("found nothing") == true)
  }

  @Test(arguments: [
    "window: {events: 0}", "frame: {events: 10001}", "frame: {bytes: 1023}",
    "frame: {bytes: 65MiB}",
    "outbox: {max_bytes: 1023KiB}",
    "outbox: {min_free_inodes: -1}", "outbox: {retention: {age: 1}}",
  ])
  func `a bound that makes no sense is an error`(line: String) {
    let found = problems(try edge(leastEdge + line))
    #expect(found.count == 1)
    #expect(found.first?.contains("expected a") == true)
  }

  @Test func `a window holds at least one frame`() {
    #expect(
      problems(try edge(leastEdge + "window: {events: 99, bytes: 63KiB}")) == [
        """
        edge.yaml:5:10: window.events: expected a window that holds at least one frame: \
        window.events is 99, frame.events is 100
        """,
        """
        edge.yaml:5:22: window.bytes: expected a window that holds at least one frame: \
        window.bytes is 63KiB, frame.bytes is 64KiB
        """,
      ])
    #expect(
      problems(try edge(leastEdge + "frame: {bytes: 33MiB}")) == [
        """
        edge.yaml:5:9: frame.bytes: expected a window that holds at least one frame: \
        window.bytes is 32MiB, frame.bytes is 33MiB
        """
      ])
    #expect(problems(try edge(leastEdge + "window: {events: 100, bytes: 64KiB}")) == [])
  }

  @Test func `a file is loaded with paths relative to its own folder`() throws {
    try withFolder(["edge.yaml": leastEdge]) { folder in
      let configuration = try EdgeConfiguration.load(path: folder + "/edge.yaml", environment: [:])
      #expect(configuration.database == folder + "/app.db")
    }
  }

  @Test func `a path stays right when the file was named relative to the working directory`() throws {
    try withFolder(["edge.yaml": leastEdge]) { folder in
      let current = FileManager.default.currentDirectoryPath
      let up = String(repeating: "../", count: current.split(separator: "/").count)
      let configuration = try EdgeConfiguration.load(path: up + folder.dropFirst() + "/edge.yaml", environment: [:])
      #expect(configuration.database.hasPrefix(current + "/"))
      #expect(configuration.database.hasSuffix(folder + "/app.db"))
    }
  }
}
