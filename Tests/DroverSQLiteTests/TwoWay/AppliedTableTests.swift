import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// Rows that come down into tables of every kind, with and without triggers of the app's.
@Suite struct AppliedTableTests {
  static let tables: [(schema: String, key: [String]?, first: [Value], second: [Value])] = [
    ("CREATE TABLE t (k TEXT PRIMARY KEY, n INT, v)", nil, ["a", 1, 2.5], ["a", 1, .null]),
    (
      "CREATE TABLE t (k TEXT, n INT, v, PRIMARY KEY (k, n)) WITHOUT ROWID", nil, ["é\0x", -7, .blob([0xff])],
      ["é\0x", -7, "later"]
    ),
    (
      "CREATE TABLE t (k TEXT, n INT, v, PRIMARY KEY (n, k))", nil, ["", .integer(.max), .blob([])],
      ["", .integer(.max), .real(-0.0)]
    ),
    (
      "CREATE TABLE t (k BLOB PRIMARY KEY, n, v) WITHOUT ROWID", nil, [.blob([0]), .null, 1],
      [.blob([0]), .null, .real(.infinity)]
    ),
    ("CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT NOT NULL UNIQUE, v)", ["k"], [5, "key", 1], [5, "key", 2]),
    ("CREATE TABLE t (k TEXT PRIMARY KEY, n INT, v ANY) STRICT", nil, ["a", 1, .null], ["a", 2, .blob([1])]),
  ]

  @Test(arguments: tables)
  func `a row of any table is inserted, changed and removed`(
    schema: String, key: [String]?, first: [Value], second: [Value]
  ) throws {
    let it = try TwoWayEdge(schema, .twoWay("t", key: key))
    func rows() throws -> [[Value]] { try it.app.connection.inDatabase { try rawRows($0, "SELECT * FROM t") } }
    #expect(try it.apply(it.put(first, 10)) == "applied 1")
    #expect(try rows() == [first])
    #expect(try it.apply(it.put(second, 11)) == "applied 1")
    #expect(try rows() == [second])
    // The same once more finds its bookkeeping.
    #expect(try it.apply(it.put(second, 11)) == "old 1")
    var gone = it.put(second, 12)
    gone.content = .none
    #expect(try it.apply(gone) == "applied 1")
    #expect(try rows() == [] && it.edge.waiting() == [] && it.app.integer("SELECT count(*) FROM drover_row") == 1)
  }

  @Test func `a key in another case is another row`() throws {
    let it = try TwoWayEdge("CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE, a)", .twoWay("t"))
    try it.apply(it.put(["ABC", 1], 10))
    #expect(try it.apply(it.put(["abc", 2], 11)) == "refused 1")
    #expect(try it.apply(it.delete("ABC", version: 12), it.put(["abc", 3], 13)) == "applied 2")
    #expect(try it.rows() == ["'abc', 3"] && it.letters() == [])
  }

  // What the cloud had in a generated column stayed there, although the machine's row had another value.
  @Test func `generated columns are computed here and sent again without an edit, and the app's flag is set`() throws {
    let it = try TwoWayEdge(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a, twice AS (a * 2), kept AS (a + 1) STORED, synced DEFAULT 0)",
      .twoWay("t", synced: "synced"))
    try it.apply(it.put([1, 5, 99, 99, .null], 10))
    #expect(try it.rows() == ["1, 5, 10, 6, 1"])
    #expect(try it.told() == ["put 1: 1, 5, 10, 6, 1 (base 10, again)"])
    try it.edge.confirmAll()
    try it.apply(it.put([1, 6, 12, 7, 0], 11))
    #expect(try it.rows() == ["1, 6, 12, 7, 1"] && it.edge.waiting() == [])
  }

  @Test func `a wide key has its place in the bookkeeping`() throws {
    let it = try TwoWayEdge(
      "CREATE TABLE t (a, b, c, d, e, f, v, PRIMARY KEY (a, b, c, d, e, f)) WITHOUT ROWID", .twoWay("t"))
    #expect(try it.apply(it.put([1, 2, 3, 4, 5, 6, "x"], 10), it.put([1, 2, 3, 4, 5, 7, "y"], 11)) == "applied 2")
    #expect(try it.apply(it.put([1, 2, 3, 4, 5, 7, "z"], 11)) == "old 1")
    try it.app.run("UPDATE t SET v = 'mine'")
    #expect(try it.told().map { $0.suffix(9) } == ["(base 10)", "(base 11)"])
    try it.edge.confirmAll()
    #expect(try it.app.integer("SELECT count(*) FROM drover_row WHERE mine > 0") == 2)
  }

  @Test func `a table that has changed is looked at before anything is applied`() throws {
    let it = try TwoWayEdge("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", .twoWay("t"))
    let frame = it.frame([it.put([1, "x"], 10)])
    try it.app.run("ALTER TABLE t ADD COLUMN b")
    #expect {
      try it.edge.apply(frame)
    } throws: {
      if case EdgeStoreError.schemaChanged = $0 { true } else { false }
    }
    _ = try it.edge.refresh()
    #expect(try it.edge.apply(frame) == nil)
    try it.edge.bringAll()
    try it.edge.confirmAll()
    #expect(throws: EdgeStoreError.self) { try it.edge.apply(frame) }
    #expect(try it.rows() == [] && it.edge.downReceived() == nil)
  }

  // MARK: Triggers

  private static let log =
    "CREATE TABLE log (x); CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.a); END"

  @Test func `the app's triggers fire for what comes down only where they are meant to`() throws {
    for fires in [false, true] {
      let it = try TwoWayEdge(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a); \(Self.log)", .twoWay("t", firesAppTriggers: fires), .table("log"))
      #expect(try it.apply(it.put([1, "x"], 10)) == "applied 1")
      #expect(try it.app.lines("SELECT x FROM log") == (fires ? ["'x'"] : []))
      // What a trigger writes elsewhere is the app's. The row itself makes no event.
      #expect(try it.edge.waiting() == (fires ? ["put 1: 1, 'x'"] : []))
      #expect(try it.edge.hasChanged() || !fires)
      try it.app.run("UPDATE t SET a = 'y'")
      #expect(try it.told().last == "put 1: 1, 'y' (base 10)")
    }
  }

  @Test func `a trigger of the app's that changes the row makes one edit`() throws {
    let it = try TwoWayEdge(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, a, n DEFAULT 0);
      CREATE TRIGGER i AFTER INSERT ON t BEGIN UPDATE t SET n = 5 WHERE id = NEW.id; END;
      CREATE TRIGGER u AFTER UPDATE OF a ON t BEGIN UPDATE t SET n = OLD.n + 1 WHERE id = NEW.id; END
      """, .twoWay("t", firesAppTriggers: true))
    #expect(try it.apply(it.put([1, "x", 0], 10)) == "applied 1")
    #expect(try it.told() == ["put 1: 1, 'x', 5 (base 10)"] && it.book()[0].hasPrefix("1, 10, "))
    try it.edge.confirmAll()
    let mine = try Int64(it.app.integer("SELECT mine FROM drover_row"))
    #expect(try it.apply(it.put([1, "y", 6], 11, edge: it.seen(mine))) == "applied 1")
    #expect(try it.rows() == ["1, 'y', 6"] && it.edge.waiting() == [])
  }

  @Test func `a row that goes to and fro is listed in the end`() throws {
    let it = try TwoWayEdge(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, a);
      CREATE TRIGGER i AFTER INSERT ON t BEGIN UPDATE t SET a = 'no' WHERE id = NEW.id; END;
      CREATE TRIGGER u AFTER UPDATE OF a ON t WHEN NEW.a <> 'no' BEGIN UPDATE t SET a = 'no' WHERE id = NEW.id; END
      """, .twoWay("t", firesAppTriggers: true))
    for version: Int64 in 10..<13 {
      let mark = try it.seen(Int64(it.app.integer("SELECT ifnull(max(mine), 0) FROM drover_row")))
      #expect(try it.apply(it.put([1, "yes"], version, edge: mark)) == "applied 1")
      #expect(try it.told() == ["put 1: 1, 'no' (base \(version))"])
      try it.edge.confirmAll()
    }
    let mark = try it.seen(Int64(it.app.integer("SELECT mine FROM drover_row")))
    #expect(try it.apply(it.put([1, "yes"], 13, edge: mark)) == "refused 1")
    #expect(try it.letters().map(\.reason) == ["app_trigger"] && it.edge.waiting() == [] && it.rows() == ["1, 'no'"])
    // A minute later it is tried anew.
    let later = it.put([1, "yes"], 70_000_000, edge: mark)
    #expect(try it.apply(later) == "applied 1" && it.letters() == [])
  }

  @Test(arguments: ["ABORT", "FAIL", "ROLLBACK"])
  func `a trigger of the app's that refuses a row leaves the others alone`(how: String) throws {
    let it = try TwoWayEdge(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, a); CREATE TABLE log (x);
      CREATE TRIGGER r AFTER INSERT ON t WHEN NEW.a = 'bad' BEGIN INSERT INTO log VALUES (1); SELECT RAISE(\(how), 'no'); END
      """, .twoWay("t", firesAppTriggers: true))
    #expect(
      try it.apply(it.put([1, "a"], 10), it.put([2, "bad"], 11), it.put([3, "c"], 12)) == "applied 2, refused 1")
    #expect(try it.rows() == ["1, 'a'", "3, 'c'"] && it.rows("log") == [] && it.edge.waiting() == [])
    #expect(try it.letters()[0].detail.contains("no (SQLite code"))
  }

  @Test func `a trigger that ignores a row makes an edit of what is there`() throws {
    let it = try TwoWayEdge(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, a);
      CREATE TRIGGER r BEFORE UPDATE ON t BEGIN SELECT RAISE(IGNORE); END; INSERT INTO t VALUES (1, 'stays')
      """, .twoWay("t", firesAppTriggers: true))
    #expect(try it.apply(it.put([1, "x"], 10)) == "applied 1")
    #expect(try it.told() == ["put 1: 1, 'stays' (base 10)"])
  }

  @Test func `doctor names what matters for rows that come down`() throws {
    let app = try AppDatabase(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, a, b AS (a + 1)); CREATE TABLE log (x);
      CREATE TABLE child (id INTEGER PRIMARY KEY, t REFERENCES t);
      CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.a); END
      """)
    _ = try app.attach(.twoWay("t"))
    let off = DatabaseCheck.advice(on: try .twoWay("t"), path: app.path)
    #expect(off.count == 3, "\(off)")
    #expect(off[0].contains("triggers tr do not fire") && off[1].contains("generated columns b"))
    #expect(off[2].hasSuffix("make an index on child (t)"))
    try app.run("CREATE INDEX child_t ON child (t)")
    let on = DatabaseCheck.advice(on: try .twoWay("t", firesAppTriggers: true), path: app.path)
    #expect(on.count == 2 && on[0].contains("triggers tr fire"))
    #expect(DatabaseCheck.advice(on: try .table("t"), path: app.path) == [])
  }

  @Test
  func `doctor names constraints that a row which comes down may break, and a search index that does not learn of it`()
    throws
  {
    let app = try AppDatabase(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT UNIQUE, c TEXT, n INTEGER NOT NULL DEFAULT 0);
      CREATE UNIQUE INDEX part ON t (c) WHERE b IS NULL;
      CREATE TABLE k (a TEXT PRIMARY KEY, b TEXT) WITHOUT ROWID;
      CREATE VIRTUAL TABLE found USING fts5 (a); CREATE TABLE founded (a);
      CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO found VALUES (NEW.a); END;
      CREATE TRIGGER other AFTER INSERT ON k BEGIN INSERT INTO founded VALUES (NEW.a); END
      """)
    var natural = try StreamDeclaration.twoWay("t")
    natural.flow.isKeyNatural = true
    let advice = DatabaseCheck.advice(on: natural, path: app.path)
    #expect(advice.count == 4, "\(advice)")
    #expect(advice[0].contains("the search index found does not know them"))
    #expect(advice[1].contains("unique values (c), (b)"))
    #expect(advice[2].contains("columns a, n are NOT NULL here"))
    #expect(advice[3].contains("its key id is INTEGER PRIMARY KEY"))
    let plain = DatabaseCheck.advice(on: try .twoWay("k"), path: app.path)
    #expect(plain.count == 1 && plain[0].contains("triggers other do not fire"), "\(plain)")
  }
}
