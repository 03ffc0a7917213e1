import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// A migration tool drops the tables that the app's models do not know, all of Drover's or some, and with them the triggers fail that write into
/// them. The agent makes them again as soon as it sees it; where what they held could mean other events, in a new epoch.
@Suite(.ownThread) struct MigrationToolTests {
  private static let tables = """
    CREATE TABLE stock (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO stock VALUES (1, 'a');
    CREATE TABLE facts (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO facts VALUES (1, 'f');
    CREATE TABLE orders (id INTEGER PRIMARY KEY, done INT); INSERT INTO orders VALUES (1, 0);
    CREATE TABLE lines (no INTEGER PRIMARY KEY, order_id INT);
    """

  private var streams: [StreamDeclaration] {
    get throws {
      try [
        .table("stock"), .table("facts", kind: .payload),
        .batch("orders", completeWhen: "done = 1", with: .lines("lines", ["order_id": "id"])),
      ]
    }
  }

  /// What the agent does when another program has committed.
  private func work(_ edge: EdgeDatabase) throws {
    for _ in 0..<4 {
      do {
        _ = try edge.hasChanged()
        _ = try edge.everything()
        try edge.watchSpace()
        try edge.bringAll()
        return
      } catch EdgeStoreError.schemaChanged {
        do { _ = try edge.refresh() } catch EdgeStoreError.otherDatabase(let reason) {
          try edge.startEpoch(because: reason)
        }
      } catch EdgeStoreError.otherDatabase(let reason) {
        try edge.startEpoch(because: reason)
      }
    }
    Issue.record("the agent does not come to an end with it")
  }

  @Test(arguments: ["running", "stopped"])
  func `whichever of Drover's tables, views and triggers are dropped, the app's writes work again and are captured`(
    agent: String
  ) throws {
    let names = try {
      let app = try AppDatabase(Self.tables)
      _ = try app.attach(streams)
      return try app.lines("SELECT name FROM sqlite_master WHERE name LIKE 'drover%' AND type <> 'index' ORDER BY name")
        .map { String($0.dropFirst().dropLast()) }
    }()
    #expect(names.count > 20)
    for dropped in names.map({ [$0] }) + [
      names, names.filter { !$0.contains("outbox") }, Array(names.prefix(names.count / 2)),
    ] {
      let app = try AppDatabase(Self.tables)
      var edge: EdgeDatabase? = try app.attach(streams)
      if agent == "stopped" { edge = nil }
      for name in dropped {
        let type = try app.lines("SELECT upper(type) FROM sqlite_master WHERE name = '\(name)'").first?.dropFirst()
          .dropLast()
        // What stood on a table went with it.
        if let type { try app.run("DROP \(type) \(name)") }
      }
      if let edge { try work(edge) } else { edge = try app.attach(streams, settled: false) }
      guard let edge else { continue }
      // A connection for which a trigger's table was not there reads the schema anew with any other statement.
      try app.run(
        "SELECT 1 FROM stock; INSERT INTO stock VALUES (2, 'b'); INSERT INTO facts VALUES (2, 'g'); INSERT INTO orders VALUES (2, 0); INSERT INTO lines VALUES (1, 2)"
      )
      try work(edge)
      let waiting = Set(try edge.waiting())
      for expected in [": 2, 'b'", ": 2, 'g'", "put 2: 2, 0 [1, 2]"] {
        #expect(waiting.contains { $0.contains(expected) }, "\(dropped) while \(agent): \(waiting)")
      }
      #expect(edge.waits.isEmpty, "\(dropped)")
      try edge.acknowledgeAll()
      try edge.confirmAll()
      #expect(try app.integer("SELECT count(*) FROM drover_kept") == 0)
    }
  }
}
