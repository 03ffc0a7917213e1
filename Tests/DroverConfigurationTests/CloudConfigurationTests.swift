import DroverConfiguration
import DroverCore
import Testing

@Suite struct CloudConfigurationTests {
  @Test func `the least file gets the documented defaults`() throws {
    let expected = CloudConfiguration(
      connection: BrokerConnection(
        broker: BrokerEndpoint(host: "127.0.0.1", port: 1883, usesTLS: false), clientID: "drover-cloud",
        keepAlive: .seconds(30), sessionExpiry: .seconds(604_800)),
      store: .sqlite(path: "/etc/drover/cloud.db"),
      logLevel: .info,
      batch: .init(messages: 1000, bytes: 4_194_304),
      limits: .init(messageBytes: 4_194_304, streamsPerMachine: 200, columnsPerTable: 1000),
      deadLetters: DeadLetterBounds(maxCount: 100_000, maxBytes: 1_073_741_824),
      backup: BackupPlan(every: nil, folder: "/etc/drover/backups", keep: 7))
    #expect(try cloud(leastCloud) == expected)
  }

  @Test func `every key is read`() throws {
    let configuration = try cloud(
      """
      broker: mqtt://b
      store: sqlite:/var/lib/drover/c.db
      client_id: two
      log_level: critical
      batch: {messages: 7, bytes: 3MiB}
      limits: {message_bytes: 2MB, streams_per_machine: 5, columns_per_table: 6}
      dead_letters: {max_count: 7, max_bytes: 8MiB}
      backup: {every: 1d, folder: /var/backups, keep: 14}
      """)
    #expect(configuration.store == .sqlite(path: "/var/lib/drover/c.db"))
    #expect(configuration.connection.clientID == "two")
    #expect(configuration.logLevel == .critical)
    #expect(configuration.deadLetters == DeadLetterBounds(maxCount: 7, maxBytes: 8 << 20))
    #expect(configuration.backup == BackupPlan(every: .seconds(86_400), folder: "/var/backups", keep: 14))
    #expect(configuration.batch == .init(messages: 7, bytes: 3 << 20))
    #expect(configuration.limits == .init(messageBytes: 2_000_000, streamsPerMachine: 5, columnsPerTable: 6))
  }

  @Test func `half of the room for dead letters holds a message`() {
    #expect(
      problems(try cloud(leastCloud + "dead_letters: {max_bytes: 8MiB}")) == [
        """
        cloud.yaml:3:16: dead_letters.max_bytes: expected at least 9MiB, so that half of it holds a message: \
        limits.message_bytes is 4MiB
        """
      ])
  }

  @Test(arguments: ["postgresql://u:hunter2@h/db", "postgres://h/db"])
  func `PostgreSQL is recognised and refused`(store: String) {
    #expect(
      problems(try cloud("broker: mqtt://b\nstore: \(store)")) == [
        "cloud.yaml:2:1: store: PostgreSQL is not supported yet by this version; use sqlite:PATH"
      ])
  }

  @Test(arguments: ["./cloud.db", "sqlite:", "sqlite://host/cloud.db", "mysql://u:hunter2@h/db"])
  func `a store is sqlite and a path`(store: String) {
    let found = problems(try cloud("broker: mqtt://b\nstore: \"\(store)\""))
    #expect(found.count == 1)
    #expect(
      found.first?.hasPrefix("cloud.yaml:2:1: store: expected sqlite:PATH, such as sqlite:./cloud.db; found ") == true)
    #expect(found.first?.contains("hunter2") == false)
  }

  @Test func `a batch holds at least one message`() {
    #expect(
      problems(try cloud(leastCloud + "limits: {message_bytes: 5MiB}")) == [
        """
        cloud.yaml:3:10: limits.message_bytes: expected a batch that holds at least one message: \
        batch.bytes is 4MiB, limits.message_bytes is 5MiB
        """
      ])
    #expect(
      problems(try cloud(leastCloud + "batch: {bytes: 1MiB}")).first?.hasPrefix("cloud.yaml:3:9: batch.bytes: ")
        == true)
  }
}
