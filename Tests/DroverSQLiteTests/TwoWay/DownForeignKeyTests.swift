import DroverCore
import DroverSQLite
import DroverTesting
import GRDB
import Testing

/// Rows that come down into tables with foreign keys. The agent's connection enforces none, so it looks itself.
@Suite struct DownForeignKeyTests {
  private static func schema(_ action: String = "") -> String {
    """
    CREATE TABLE parent (id INTEGER PRIMARY KEY, a);
    CREATE TABLE child (id INTEGER PRIMARY KEY, parent INT REFERENCES parent (id) \(action));
    CREATE INDEX of_parent ON child (parent)
    """
  }

  private func family(_ action: String = "") throws -> TwoWayEdge {
    try TwoWayEdge(Self.schema(action), .twoWay("parent"), .twoWay("child"))
  }

  @Test func `a row waits for its parent of a later frame`() throws {
    let it = try family()
    #expect(
      try it.apply(it.put([1, 7], 10, stream: 2), it.put([2, .null], 11, stream: 2), stream: 2)
        == "applied 1, waiting 1")
    #expect(try it.letters().map(\.reason) == ["foreign_key"])
    #expect(try it.letters()[0].detail == "came down: no row of parent has the id that its parent names")
    try it.restart()
    #expect(try it.apply(it.put([7, "x"], 12)) == "applied 2")
    #expect(try it.rows("child") == ["1, 7", "2, NULL"] && it.letters() == [])
  }

  @Test func `rows that name each other come in any order`() throws {
    let it = try TwoWayEdge(
      """
      CREATE TABLE a (id INTEGER PRIMARY KEY, b REFERENCES b); CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a);
      CREATE INDEX a_b ON a (b); CREATE INDEX b_a ON b (a)
      """, .twoWay("a"), .twoWay("b"))
    #expect(try it.apply(it.put([1, 1], 10)) == "waiting 1")
    #expect(try it.apply(it.put([1, 1], 11, stream: 2), stream: 2) == "applied 2")
    #expect(try it.rows("a") == ["1, 1"] && it.rows("b") == ["1, 1"] && it.letters() == [])
  }

  @Test func `a tree comes leaves first`() throws {
    let it = try TwoWayEdge(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, up REFERENCES t); CREATE INDEX t_up ON t (up)", .twoWay("t"))
    #expect(
      try it.apply(
        it.put([3, 2], 10), it.put([2, 1], 11), it.put([5, 4], 12), it.put([1, .null], 13), it.put([6, 6], 14))
        == "applied 4, waiting 1")
    #expect(try it.app.lines("SELECT id FROM t ORDER BY id") == ["1", "2", "3", "6"])
  }

  @Test(arguments: ["", "ON DELETE RESTRICT"])
  func `a parent stays as long as it has children`(action: String) throws {
    let it = try family(action)
    try it.apply(it.put([7, "x"], 10))
    try it.apply(it.put([1, 7], 11, stream: 2), stream: 2)
    #expect(try it.apply(it.delete(7, version: 12)) == "waiting 1")
    #expect(try it.rows("parent") == ["7, 'x'"])
    #expect(try it.apply(it.delete(1, version: 13), stream: 2) == "applied 2")
    #expect(try it.rows("parent") == [] && it.letters() == [] && it.edge.waiting() == [])
  }

  @Test(arguments: [
    ("ON DELETE CASCADE", [String](), ["delete 1", "delete 2"]),
    ("ON DELETE SET NULL", ["1, NULL", "2, NULL"], ["put 1: 1, NULL", "put 2: 2, NULL"]),
  ])
  func `what happens to the children of a deleted row is an edit of theirs`(
    action: String, left: [String], events: [String]
  ) throws {
    let it = try family(action)
    try it.apply(it.put([7, "x"], 10), it.put([8, "y"], 11))
    try it.apply(
      it.put([1, 7], 12, stream: 2), it.put([2, 7], 13, stream: 2), it.put([3, 8], 14, stream: 2), stream: 2)
    #expect(try it.apply(it.delete(7, version: 15)) == "applied 1")
    #expect(try it.rows("child") == left + ["3, 8"])
    #expect(try Set(it.edge.waiting()) == Set(events))
    #expect(try it.told().allSatisfy { $0.hasSuffix("(base 12)") || $0.hasSuffix("(base 13)") })
  }

  @Test func `a cascade that would take facts with it is refused`() throws {
    let it = try TwoWayEdge(Self.schema("ON DELETE CASCADE"), .twoWay("parent"), .table("child", kind: .payload))
    try it.apply(it.put([7, "x"], 10))
    try it.app.run("INSERT INTO child VALUES (1, 7)")
    #expect(try it.apply(it.delete(7, version: 11)) == "waiting 1")
    #expect(try it.rows("child") == ["1, 7"] && it.rows("parent") == ["7, 'x'"])
    #expect(try it.letters()[0].detail.contains("they are facts"))
  }

  @Test func `a cascade goes on to the children's children`() throws {
    let it = try TwoWayEdge(
      """
      CREATE TABLE parent (id INTEGER PRIMARY KEY);
      CREATE TABLE child (id INTEGER PRIMARY KEY, p REFERENCES parent ON DELETE CASCADE);
      CREATE TABLE grandchild (id INTEGER PRIMARY KEY, c REFERENCES child ON DELETE CASCADE);
      CREATE INDEX i ON child (p); CREATE INDEX j ON grandchild (c);
      INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 1); INSERT INTO grandchild VALUES (3, 2), (4, NULL)
      """, .twoWay("parent"), .table("grandchild"))
    #expect(try it.apply(it.delete(1, version: 10)) == "applied 1")
    #expect(try it.rows("child") == [] && it.rows("grandchild") == ["4, NULL"])
    #expect(try it.edge.waiting() == ["delete 3"])
  }
}
