// What people do to a sink table, in one list for every store. Each thing was seen to stop all streams of all machines for as long as it lasted, or for
// good, or to end the consumer. Here a machine's frames go through a consumer into the store, while somebody else is at work in it: the
// machine's other stream goes on, the cause is told, and all is equal in the end.

import DroverCloud
package import DroverCore
import DroverWire
import Logging
import Testing

/// The store from outside.
package protocol SinkVandal {
  /// Runs statements in one transaction that is committed.
  func run(_ sql: String) throws
  /// Runs statements in a transaction that stays open until the next call of `end`; nil where another's transaction holds up a whole store.
  func begin(_ sql: String) throws
  func end() throws
  /// Rows of a table of the machine's, as texts, sorted.
  func rows(_ sql: String) throws -> [String]
}

package struct SinkAbuse: Sendable, CustomTestStringConvertible {
  /// What each store's statements are.
  package struct Statements: Sendable, ExpressibleByStringLiteral {
    var postgreSQL: String?
    var sqlite: String?

    package init(stringLiteral both: String) { (postgreSQL, sqlite) = (both, both) }
    init(postgreSQL: String? = nil, sqlite: String? = nil) { (self.postgreSQL, self.sqlite) = (postgreSQL, sqlite) }

    func of(_ store: Store) -> String? { store == .postgreSQL ? postgreSQL : sqlite }
  }

  package enum Store: Sendable { case postgreSQL, sqlite }

  package let testDescription: String
  let deed: Statements
  /// Ends what blocks; nil where nothing blocks for longer than a try.
  let undoing: Statements?
  /// What is told while it blocks.
  let told: [String]
  /// It stays in a transaction of somebody's until it is undone.
  let isOpen: Bool
  /// The app adds a column to its table too.
  let newColumn: String?
  /// How many events are dead letters afterwards, and a quantity that one of them has.
  let letters: Int
  /// Columns of the app's that are compared.
  let columns: String

  init(
    _ name: String, _ deed: Statements, undoing: Statements? = nil, told: [String] = [], isOpen: Bool = false,
    newColumn: String? = nil, letters: Int = 0, columns: String = "id, name, qty"
  ) {
    testDescription = name
    self.deed = deed
    self.undoing = undoing
    self.told = told
    self.isOpen = isOpen
    self.newColumn = newColumn
    self.letters = letters
    self.columns = columns
  }

  /// For a store whose user is no superuser.
  package static let rowSecurity = SinkAbuse(
    "row-level security that hides the rows",
    .init(
      postgreSQL: """
        ALTER TABLE stock ENABLE ROW LEVEL SECURITY; ALTER TABLE stock FORCE ROW LEVEL SECURITY;
        CREATE POLICY hides ON stock USING (false) WITH CHECK (true)
        """),
    undoing: "ALTER TABLE stock DISABLE ROW LEVEL SECURITY", told: ["row-level security", "BYPASSRLS"])

  /// Those that a store knows.
  package static func all(for store: Store) -> [SinkAbuse] { list.filter { $0.deed.of(store) != nil } }

  private static let boom = """
    CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'boom'; END $$;
    """

  private static let list: [SinkAbuse] = [
    // MARK: locks
    .init(
      "rows are locked by an UPDATE that is not committed", .init(postgreSQL: "UPDATE stock SET qty = 0"),
      undoing: "", told: ["thoughtless", "pg_terminate_backend", "transaction open"], isOpen: true),
    .init(
      "LOCK TABLE", .init(postgreSQL: "LOCK TABLE stock"), undoing: "",
      told: ["thoughtless", "has locked it", "AccessExclusiveLock"], isOpen: true),
    .init(
      "an idle transaction while a column is to be added", .init(postgreSQL: "SELECT count(*) FROM stock"),
      undoing: "", told: ["thoughtless"], isOpen: true, newColumn: "weight"),
    // MARK: altered
    .init("a dropped column", "ALTER TABLE stock DROP COLUMN qty"),
    .init("a renamed column", "ALTER TABLE stock RENAME COLUMN qty TO quantity"),
    .init(
      "another type", .init(postgreSQL: "ALTER TABLE stock ALTER COLUMN qty TYPE uuid USING NULL"),
      undoing: "ALTER TABLE stock ALTER COLUMN qty TYPE bigint USING NULL", told: ["qty", "uuid", "bigint"]),
    .init(
      "another type that Drover has", .init(postgreSQL: "ALTER TABLE stock ALTER COLUMN qty TYPE text")),
    // It was found when the first value came that did not fit.
    .init("a narrower column", .init(postgreSQL: "ALTER TABLE stock ALTER COLUMN qty TYPE smallint")),
    .init(
      "narrower columns of Drover's",
      .init(postgreSQL: "DELETE FROM stock; ALTER TABLE stock ALTER COLUMN drover_version TYPE integer")),
    // Each change of such a row was a dead letter that told of a trigger.
    .init(
      "no values in a column of Drover's",
      .init(
        postgreSQL: "ALTER TABLE stock ALTER COLUMN drover_epoch DROP NOT NULL; UPDATE stock SET drover_epoch = NULL",
        sqlite: """
          ALTER TABLE stock RENAME TO strict;
          CREATE TABLE stock (machine_id TEXT, id INTEGER, name TEXT, qty INTEGER, drover_epoch INTEGER, drover_version INTEGER,
                              PRIMARY KEY (machine_id, id));
          INSERT INTO stock SELECT machine_id, id, name, qty, NULL, drover_version FROM strict; DROP TABLE strict
          """)),
    .init("a renamed part of the key", "ALTER TABLE stock RENAME COLUMN id TO number"),
    .init(
      "a dropped column of Drover's",
      .init(
        postgreSQL: "ALTER TABLE stock DROP COLUMN drover_version",
        sqlite: "ALTER TABLE stock DROP COLUMN drover_version")),
    .init(
      "a dropped primary key",
      .init(
        postgreSQL: "ALTER TABLE stock DROP CONSTRAINT stock_pkey",
        sqlite: "CREATE TABLE copied AS SELECT * FROM stock; DROP TABLE stock; ALTER TABLE copied RENAME TO stock")),
    .init(
      "no primary key, and two rows with one",
      .init(
        postgreSQL: "ALTER TABLE stock DROP CONSTRAINT stock_pkey; INSERT INTO stock SELECT * FROM stock WHERE id = 3"),
      undoing: "DELETE FROM stock WHERE ctid = (SELECT max(ctid) FROM stock WHERE id = 3)", told: ["unique", "one key"]),
    .init("a renamed table", "ALTER TABLE stock RENAME TO stock_of_old"),
    .init("a dropped table", "DROP TABLE stock"),
    .init(
      "a table that is dropped with everything",
      .init(
        postgreSQL: "DROP TABLE stock CASCADE; DELETE FROM drover_sink WHERE name = 'stock'",
        sqlite: "DROP TABLE stock; DELETE FROM drover_sink WHERE stream = 'stock'")),
    .init(
      "a view in the place of the table",
      "ALTER TABLE stock RENAME TO stock_of_old; CREATE VIEW stock AS SELECT DISTINCT * FROM stock_of_old",
      undoing: "DROP VIEW stock", told: ["view"]),
    // MARK: constrained
    .init(
      "a check that no row meets",
      .init(postgreSQL: "ALTER TABLE stock ADD CONSTRAINT never CHECK (qty < -1) NOT VALID"),
      undoing: "ALTER TABLE stock DROP CONSTRAINT never", told: ["never"]),
    .init(
      "a column that is never NULL",
      .init(
        postgreSQL:
          "ALTER TABLE stock ADD COLUMN owner text; UPDATE stock SET owner = 'x'; ALTER TABLE stock ALTER COLUMN owner SET NOT NULL"
      ),
      undoing: "ALTER TABLE stock ALTER COLUMN owner DROP NOT NULL", told: ["owner"]),
    // Each row that came was a dead letter.
    .init(
      "an empty table with a check that no row meets",
      .init(
        postgreSQL: "DELETE FROM stock; ALTER TABLE stock ADD CONSTRAINT never CHECK (false)",
        sqlite: "DELETE FROM stock; ALTER TABLE stock ADD COLUMN never INTEGER CHECK (never IS NOT NULL)"),
      undoing: .init(
        postgreSQL: "ALTER TABLE stock DROP CONSTRAINT never", sqlite: "ALTER TABLE stock DROP COLUMN never"),
      told: ["never"]),
    .init(
      "a table with partitions, of which there is none",
      .init(
        postgreSQL:
          "ALTER TABLE stock RENAME TO stock_of_old; CREATE TABLE stock (LIKE stock_of_old INCLUDING ALL) PARTITION BY HASH (machine_id)"
      ),
      undoing: "CREATE TABLE stock_0 PARTITION OF stock FOR VALUES WITH (MODULUS 1, REMAINDER 0)", told: ["partition"]),
    .init(
      "a check that one row breaks",
      .init(postgreSQL: "ALTER TABLE stock ADD CONSTRAINT small CHECK (qty < 1000)"), letters: 1),
    .init(
      "a unique index that one row breaks",
      .init(
        postgreSQL: "CREATE UNIQUE INDEX one ON stock ((qty > 1000)) WHERE qty > 1000",
        sqlite: "CREATE UNIQUE INDEX one ON stock (qty > 1000) WHERE qty > 1000")),
    // MARK: triggers, rules and policies
    .init(
      "a trigger that always fails",
      .init(
        postgreSQL: boom
          + "CREATE TRIGGER boom AFTER INSERT OR UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION boom()",
        sqlite: """
          CREATE TRIGGER boom AFTER INSERT ON stock BEGIN SELECT RAISE(ABORT, 'boom'); END;
          CREATE TRIGGER boom2 AFTER UPDATE ON stock BEGIN SELECT RAISE(ABORT, 'boom'); END
          """),
      undoing: .init(postgreSQL: "DROP TRIGGER boom ON stock", sqlite: "DROP TRIGGER boom; DROP TRIGGER boom2"),
      told: ["boom", "trigger"]),
    .init(
      "a trigger that ends the transaction",
      .init(sqlite: "CREATE TRIGGER boom BEFORE INSERT ON stock BEGIN SELECT RAISE(ROLLBACK, 'boom'); END"),
      undoing: "DROP TRIGGER boom", told: ["boom", "ROLLBACK"]),
    .init(
      "a trigger that names a table which is not there",
      .init(
        postgreSQL: """
          CREATE FUNCTION audits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (1); RETURN NEW; END $$;
          CREATE TRIGGER audits AFTER INSERT OR UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION audits()
          """,
        sqlite: "CREATE TRIGGER audits AFTER INSERT ON stock BEGIN INSERT INTO audit VALUES (1); END"),
      undoing: .init(postgreSQL: "DROP TRIGGER audits ON stock", sqlite: "DROP TRIGGER audits"), told: ["audit"]),
    .init(
      "a trigger that fails at the commit",
      .init(
        postgreSQL: boom
          + "CREATE CONSTRAINT TRIGGER boom AFTER INSERT OR UPDATE ON stock DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION boom()"
      ), undoing: "DROP TRIGGER boom ON stock", told: ["boom"]),
    .init(
      "a trigger that refuses one row",
      .init(
        postgreSQL: """
          CREATE FUNCTION choosy() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF NEW.qty > 1000 THEN RAISE EXCEPTION 'too many'; END IF; RETURN NEW; END $$;
          CREATE TRIGGER choosy BEFORE INSERT OR UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION choosy()
          """,
        sqlite: """
          CREATE TRIGGER choosy BEFORE INSERT ON stock WHEN NEW.qty > 1000 BEGIN SELECT RAISE(ABORT, 'too many'); END
          """), letters: 1),
    // A row that a trigger leaves out without an error counted as superseded, and a fact ended the consumer.
    .init(
      "a trigger that leaves every row out in silence",
      .init(
        postgreSQL: """
          CREATE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
          CREATE TRIGGER mute BEFORE INSERT OR UPDATE OR DELETE ON stock FOR EACH ROW EXECUTE FUNCTION mute()
          """,
        sqlite: """
          CREATE TRIGGER mute BEFORE INSERT ON stock BEGIN SELECT RAISE(IGNORE); END;
          CREATE TRIGGER mute2 BEFORE UPDATE ON stock BEGIN SELECT RAISE(IGNORE); END;
          CREATE TRIGGER mute3 BEFORE DELETE ON stock BEGIN SELECT RAISE(IGNORE); END
          """),
      undoing: .init(
        postgreSQL: "DROP TRIGGER mute ON stock", sqlite: "DROP TRIGGER mute; DROP TRIGGER mute2; DROP TRIGGER mute3"),
      told: ["mute", "without an error", "trigger"]),
    .init(
      "a trigger that leaves one row out in silence",
      .init(
        postgreSQL: """
          CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF NEW.qty > 1000 THEN RETURN NULL; END IF; RETURN NEW; END $$;
          CREATE TRIGGER picky BEFORE INSERT OR UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION picky()
          """,
        sqlite: """
          CREATE TRIGGER picky BEFORE INSERT ON stock WHEN NEW.qty > 1000 BEGIN SELECT RAISE(IGNORE); END
          """), letters: 1),
    .init(
      "a rule that keeps rows from being deleted",
      .init(postgreSQL: "CREATE RULE keeps AS ON DELETE TO stock DO INSTEAD NOTHING"),
      undoing: "DROP RULE keeps ON stock", told: ["keeps"]),
    .init(
      "a trigger and a column that work",
      .init(
        postgreSQL: """
          ALTER TABLE stock ADD COLUMN seen bigint DEFAULT 0;
          CREATE FUNCTION sees() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.seen := 1; RETURN NEW; END $$;
          CREATE TRIGGER sees BEFORE INSERT OR UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION sees()
          """,
        sqlite: """
          ALTER TABLE stock ADD COLUMN seen INTEGER DEFAULT 0; CREATE TABLE log (id);
          CREATE TRIGGER sees AFTER INSERT ON stock BEGIN INSERT INTO log VALUES (NEW.id); END
          """)),
    .init(
      "a rule", .init(postgreSQL: "CREATE RULE nope AS ON INSERT TO stock DO INSTEAD NOTHING"),
      undoing: "DROP RULE nope ON stock", told: ["rules nope"]),
    // MARK: columns of two
    .init(
      "somebody's column, and then the app's of that name",
      .init(
        postgreSQL: "ALTER TABLE stock ADD COLUMN color text DEFAULT 'blue'",
        sqlite: "ALTER TABLE stock ADD COLUMN color TEXT DEFAULT 'blue'"), newColumn: "color",
      columns: "id, name, qty, color"),
    .init(
      "somebody's column of another type, and then the app's",
      .init(postgreSQL: "ALTER TABLE stock ADD COLUMN color varchar(3)"),
      undoing: "ALTER TABLE stock RENAME COLUMN color TO my_color", told: ["color", "character varying(3)"],
      newColumn: "color", columns: "id, name, qty, color"),
    // MARK: rows and bookkeeping
    .init("deleted rows", "DELETE FROM stock WHERE id = 2; UPDATE stock SET qty = 12 WHERE id = 3"),
    .init(
      "a note of a column that is deleted",
      .init(postgreSQL: "DELETE FROM drover_sink_column WHERE sink = 'stock' AND name = 'qty'")),
    .init(
      "a note of the key that is deleted",
      .init(postgreSQL: "DELETE FROM drover_sink_column WHERE sink = 'stock' AND name = 'id'")),
    .init(
      "the note of a table that is deleted",
      .init(
        postgreSQL: "DELETE FROM drover_sink WHERE name = 'stock'",
        sqlite: "DELETE FROM drover_sink WHERE stream = 'stock'")),
    .init(
      "all notes of a stream that are deleted",
      .init(
        postgreSQL: "DELETE FROM drover_sink WHERE name = 'stock'; DELETE FROM drover_schema WHERE stream = 'stock'",
        sqlite: "DELETE FROM drover_sink WHERE stream = 'stock'; DELETE FROM drover_schema WHERE stream = 'stock'"),
      newColumn: "weight"),
    .init(
      "a part of a description that is deleted",
      "DELETE FROM drover_schema_column WHERE stream = 'stock' AND position = 1"),
    .init("a description that is deleted", "DELETE FROM drover_schema WHERE stream = 'stock'"),
    .init("received ranges that are deleted", "DELETE FROM drover_received WHERE stream = 'stock'"),
  ]
}

package struct SinkAbuseConformance {
  private let store: any CloudStore
  private let replica: any Replica
  private let vandal: any SinkVandal
  private let kind: SinkAbuse.Store

  /// For an empty store.
  package init(
    store: any CloudStore, replica: any Replica, vandal: any SinkVandal, kind: SinkAbuse.Store
  ) {
    self.store = store
    self.replica = replica
    self.vandal = vandal
    self.kind = kind
  }

  package func check(_ abuse: SinkAbuse) throws {
    let machine = Machine(store: store, replica: replica)
    for id in 1...6 { machine.put("stock", id, "stock \(id)", Int64(id)) }
    machine.put("pen", 1, "pen 1", 1)
    try machine.run()
    try machine.run()
    #expect(try vandal.rows("SELECT id, name, qty FROM stock") == machine.rows("stock", "id, name, qty"))
    // Somebody is at work.
    let deed = abuse.deed.of(kind)!
    try abuse.isOpen ? vandal.begin(deed) : vandal.run(deed)
    if let column = abuse.newColumn { machine.addColumn(column) }
    machine.put("stock", 1, "changed", 11)
    machine.put("stock", 7, "new", 7)
    machine.delete("stock", 4)
    if abuse.letters > 0 { machine.put("stock", 8, "refused", 1001) }
    machine.put("pen", 2, "pen 2", 2)
    try machine.run()
    #expect(try rows("pen", abuse) == machine.rows("pen", abuse.columns), "the other stream goes on")
    if let undoing = abuse.undoing {
      // Also while it lasts.
      machine.put("pen", 3, "pen 3", 3)
      try machine.run()
      #expect(try rows("pen", abuse) == machine.rows("pen", abuse.columns), "the other stream goes on")
      let blocked = try store.transaction { try $0.blockedSinks() }
      let text = blocked.map { "\($0.text); \($0.blocked.advice)" }.joined(separator: "\n")
      #expect(blocked.count == 1 && abuse.told.allSatisfy { text.contains($0) }, "told: \(text)")
      #expect(machine.isHeld("stock"))
      try abuse.isOpen ? vandal.end() : vandal.run(undoing.of(kind)!)
    }
    for _ in 0..<6 { try machine.run() }
    try machine.repair()
    for _ in 0..<3 { try machine.run() }
    if abuse.letters > 0 { machine.forget("stock", 8) }
    #expect(try rows("stock", abuse) == machine.rows("stock", abuse.columns))
    #expect(try rows("pen", abuse) == machine.rows("pen", abuse.columns))
    #expect(try store.transaction { try $0.blockedSinks() } == [])
    #expect(machine.isConfirmed)
    let letters = try vandal.rows("SELECT reason FROM drover_dead_letter")
    #expect(letters == [String](repeating: "store", count: abuse.letters))
  }

  private func rows(_ stream: String, _ abuse: SinkAbuse) throws -> [String] {
    try vandal.rows("SELECT \(stream == "stock" ? abuse.columns : "id, name, qty") FROM \(stream)")
  }
}

/// An agent, as far as it matters here: what is not covered it sends again, what it is asked it describes, and where it is told to wait it waits.
private final class Machine {
  private struct Row: Equatable { var name, qty: String; var others: [String: String] = [:] }
  private struct Event { var seq: Int64; var stream: String; var id: Int; var row: Row? }

  private final class Broker: Publisher {
    var said: [OutboundMessage] = []

    func publish(_ message: OutboundMessage) -> PublishToken {
      said.append(message)
      return PublishToken(rawValue: Int32(said.count))
    }
  }

  private final class Clock { var now: Int64 = 1_795_000_000_000_000 }

  private let store: any CloudStore
  private let replica: any Replica
  private let consumer: Consumer
  private let broker = Broker()
  private let clock = Clock()
  private var tables: [String: [Int: Row]] = ["stock": [:], "pen": [:]]
  private var others: [String] = []
  private var outbox: [Event] = []
  private var seq: Int64 = 0
  private var held: [String: Int64] = [:]
  private var wasHeld: Set<String> = []
  private var isDescribed = false

  init(store: any CloudStore, replica: any Replica) {
    self.store = store
    self.replica = replica
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let clock = clock
    consumer = Consumer(store: store, limits: .init(confirmInterval: .zero), logger: logger, wallClock: { clock.now })
    consumer.sessionOpened(SessionInfo(sessionPresent: true, protocolLevel: 5), publisher: broker)
  }

  // MARK: The app

  func put(_ stream: String, _ id: Int, _ name: String, _ qty: Int64) {
    let row = Row(
      name: name, qty: "\(qty)",
      others: stream == "stock" ? Dictionary(uniqueKeysWithValues: others.map { ($0, "red") }) : [:])
    tables[stream]![id] = row
    enter(stream, id, row)
  }

  func delete(_ stream: String, _ id: Int) {
    tables[stream]![id] = nil
    enter(stream, id, nil)
  }

  /// The app does not have it any more, and nobody is told.
  func forget(_ stream: String, _ id: Int) { tables[stream]![id] = nil }

  func addColumn(_ name: String) {
    others.append(name)
    for (id, row) in tables["stock"]! {
      var row = row
      row.others[name] = "red"
      tables["stock"]![id] = row
      enter("stock", id, row)
    }
    isDescribed = false
  }

  private func enter(_ stream: String, _ id: Int, _ row: Row?) {
    seq += 1
    outbox.removeAll { $0.stream == stream && $0.id == id }
    outbox.append(Event(seq: seq, stream: stream, id: id, row: row))
  }

  func rows(_ stream: String, _ columns: String) -> [String] {
    tables[stream]!.map { id, row in
      let values = ["id": "\(id)", "name": row.name, "qty": row.qty].merging(row.others) { first, _ in first }
      let names = stream == "stock" ? columns : "id, name, qty"
      return names.split(separator: ", ").map { values[String($0)] ?? "" }.joined(separator: "|")
    }.sorted()
  }

  // MARK: The agent

  var isConfirmed: Bool { outbox.isEmpty }

  func isHeld(_ stream: String) -> Bool { wasHeld.contains(stream) }

  private func schema(_ stream: String) throws -> StreamSchema {
    let names =
      [("id", "INTEGER"), ("name", "TEXT"), ("qty", "INTEGER")] + (stream == "stock" ? others.map { ($0, "TEXT") } : [])
    return try StreamSchema(kind: .snapshot, columns: names.map { Column(name: $0.0, declaredType: $0.1) }, key: [0])
  }

  /// Ten seconds: what is not confirmed is sent again, one frame for each stream.
  func run() throws {
    clock.now += 10_000_000
    _ = consumer.turn(now: .now)
    heed()
    var messages: [InboundMessage] = []
    if !isDescribed { messages += try ["stock", "pen"].map(description) }
    isDescribed = true
    for stream in ["stock", "pen"] where held[stream].map({ $0 <= clock.now }) ?? true {
      if let frame = try frame(stream) { messages.append(frame) }
    }
    try consumer.received(messages)
    _ = consumer.turn(now: .now)
    heed()
    // What was asked for is there before the next try.
    if !isDescribed {
      try consumer.received(["stock", "pen"].map(description))
      isDescribed = true
      _ = consumer.turn(now: .now)
      heed()
    }
    let covered = try store.transaction { transaction in
      try Dictionary(
        uniqueKeysWithValues: ["stock", "pen"].map {
          ($0, try transaction.received(machine: .a, epoch: .one, stream: StreamName($0)))
        })
    }
    outbox.removeAll { covered[$0.stream]!.contains($0.seq) }
  }

  private func heed() {
    for message in broker.said {
      if message.topic.hasSuffix("/command/schema") { isDescribed = false }
      guard message.topic.hasSuffix("/command/hold") else { continue }
      for name in String(decoding: message.payload, as: UTF8.self).split(separator: "\n") {
        held[String(name)] = clock.now + 10_000_000
        wasHeld.insert(String(name))
      }
    }
    broker.said = []
  }

  private func description(_ stream: String) throws -> InboundMessage {
    InboundMessage(topic: "drover/v1/MAH001/schema/\(stream)", payload: try schema(stream).document)
  }

  private func frame(_ stream: String) throws -> InboundMessage? {
    let events = outbox.filter { $0.stream == stream }
    guard let last = events.last else { return nil }
    let texts = events.map { event in
      let head = "{\"seq\":\(event.seq),\"id\":\"\(event.id)\",\"version\":\(1_795_000_000_000_000 + event.seq)"
      guard let row = event.row else { return head + ",\"op\":\"delete\"}" }
      let others = row.others.sorted { $0.key < $1.key }.map { ",\"\($0.key)\":\"\($0.value)\"" }.joined()
      return head + ",\"body\":{\"id\":\(event.id),\"name\":\"\(row.name)\",\"qty\":\(row.qty)\(others)}}"
    }
    let text = """
      {"v":1,"epoch":"\(Epoch.one.text)","after":\(events[0].seq - 1),"through":\(last.seq),"schema":"\(try schema(stream).id.text)",\
      "events":[\(texts.joined(separator: ","))]}
      """
    return InboundMessage(topic: "drover/v1/MAH001/snapshot/\(stream)", payload: Array(text.utf8))
  }

  /// A comparison that brings everything again, as `drover check --repair` and the check for gaps do with what differs.
  func repair() throws {
    try store.transaction { try $0.heard(machine: .a, epoch: .one) }
    for stream in ["stock", "pen"] {
      for (id, row) in tables[stream]!.sorted(by: { $0.key < $1.key }) where row.qty != "1001" {
        enter(stream, id, row)
      }
    }
  }
}
