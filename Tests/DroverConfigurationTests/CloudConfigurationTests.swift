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
      limits: {message_bytes: 2MB, streams_per_machine: 5, columns_per_table: 6, messages_per_second: 11,
        bytes_per_second: 12MiB, dead_letters_per_minute: 13, dead_letter_bytes_per_minute: 14MiB, long_ids_per_minute: 15,
        epochs_per_hour: 16, epochs_kept: 17, schema_changes_per_minute: 18, schemas_per_stream: 19, open_intervals: 20,
        tombstones: 21, tombstone_bytes: 22MiB}
      dead_letters: {max_count: 7, max_bytes: 8MiB}
      backup: {every: 1d, folder: /var/backups, keep: 14}
      """)
    #expect(configuration.store == .sqlite(path: "/var/lib/drover/c.db"))
    #expect(configuration.connection.clientID == "two")
    #expect(configuration.logLevel == .critical)
    #expect(configuration.deadLetters == DeadLetterBounds(maxCount: 7, maxBytes: 8 << 20))
    #expect(configuration.backup == BackupPlan(every: .seconds(86_400), folder: "/var/backups", keep: 14))
    #expect(configuration.batch == .init(messages: 7, bytes: 3 << 20))
    var machine = MachineLimits()
    (machine.messagesPerSecond, machine.bytesPerSecond) = (11, 12 << 20)
    (machine.deadLettersPerMinute, machine.deadLetterBytesPerMinute) = (13, 14 << 20)
    (machine.longIDsPerMinute, machine.epochsPerHour, machine.epochsKept) = (15, 16, 17)
    (machine.schemaChangesPerMinute, machine.schemasPerStream, machine.openIntervals) = (18, 19, 20)
    (machine.tombstones, machine.tombstoneBytes) = (21, 22 << 20)
    #expect(
      configuration.limits
        == .init(messageBytes: 2_000_000, streamsPerMachine: 5, columnsPerTable: 6, machine: machine))
    #expect(configuration.limits.machine.streams == 5)
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

  @Test func `a group needs a PostgreSQL store, and its sessions are short unless told otherwise`() throws {
    let text = "broker: mqtt://b\nstore: postgresql://db/drover\ngroup: fleet\n"
    let configuration = try cloud(text)
    #expect(configuration.group == "fleet" && configuration.connection.sessionExpiry == .seconds(30))
    #expect(try cloud(text + "session_expiry: 1h").connection.sessionExpiry == .seconds(3600))
    #expect(
      problems(try cloud(leastCloud + "group: fleet")) == [
        "cloud.yaml:3:1: group: needs a PostgreSQL store: an SQLite file has one consumer"
      ])
    #expect(
      problems(try cloud("broker: mqtt://b\nstore: postgresql://db/drover\ngroup: a/b")).first?.contains("group")
        == true)
  }

  @Test func `a PostgreSQL store is a URI, and its password stands elsewhere`() throws {
    let uri = "postgresql://drover@db.example/drover?sslmode=verify-full"
    let text = "broker: mqtt://b\nstore: \(uri)\n"
    func store(_ further: String, _ environment: [String: String] = [:]) throws -> CloudConfiguration.Store {
      try CloudConfiguration.parse(yaml: text + further, file: "cloud.yaml", folder: "/", environment: environment)
        .store
    }
    #expect(try store("") == .postgresql(DatabaseServer(uri: uri, password: nil)))
    #expect(
      try store("", ["DROVER_STORE_PASSWORD": "geheim"]) == .postgresql(DatabaseServer(uri: uri, password: "geheim")))
    let named = try store("store_credentials: {password_env: HERE}", ["HERE": "geheim", "DROVER_STORE_PASSWORD": "x"])
    #expect(named == .postgresql(DatabaseServer(uri: uri, password: "geheim")))
    var dumped = ""
    dump(named, to: &dumped)
    #expect(!dumped.contains("geheim") && !"\(named)".contains("geheim"))
  }

  @Test(arguments: [
    "postgresql://u:hunter2@h/db", "postgres://u:hunter2@h/db?sslmode=require",
    "postgresql://h/db?user=u&password=hunter2",
  ])
  func `a password in a store's URI is refused and not shown`(store: String) {
    let found = problems(try cloud("broker: mqtt://b\nstore: \(store)"))
    #expect(found.count == 1 && found[0].contains("do not write a password here"))
    #expect(!found[0].contains("hunter2"))
  }

  @Test func `what a PostgreSQL store cannot do yet is told before anything begins`() {
    let text = "broker: mqtt://b\nstore: postgresql://h/db\n"
    #expect(
      problems(try cloud(text + "check: {every: 1d}\nbackup: {every: 1d}")) == [
        "cloud.yaml:4:10: backup.every: is for SQLite stores; pg_dump makes a PostgreSQL database's"
      ])
    #expect(
      problems(try cloud(leastCloud + "store_credentials: {password_env: HOME}")).contains {
        $0.contains("only a PostgreSQL store has credentials")
      })
  }

  @Test(arguments: ["./cloud.db", "sqlite:", "sqlite://host/cloud.db", "mysql://u:hunter2@h/db"])
  func `a store is sqlite and a path`(store: String) {
    let found = problems(try cloud("broker: mqtt://b\nstore: \"\(store)\""))
    #expect(found.count == 1)
    #expect(
      found.first?.hasPrefix(
        "cloud.yaml:2:1: store: expected sqlite:PATH, such as sqlite:./cloud.db, or postgresql://USER@HOST/DATABASE; found "
      ) == true)
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
