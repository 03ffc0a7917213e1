// Whether an empty sink table refuses a row, or every row. Each of ten rows was a dead letter while nothing could be written into the table; and two rows
// of one machine that a trigger refused held back all machines.

package import DroverCore
import Testing

package struct SinkProbeConformance {
  package struct Rule: Sendable, CustomTestStringConvertible {
    package let testDescription: String
    let postgreSQL: String
    let sqlite: String
    /// Rows that it refuses, and whether that holds back the machine's stream.
    let refused: [Int64]
    let holdsBack: Bool
    /// A row that it takes; nil where it takes none.
    let taken: Int64?
  }

  package static let rules = [
    Rule(
      testDescription: "a check that some rows meet",
      postgreSQL: "ALTER TABLE stock ADD CONSTRAINT rule CHECK (qty < 1000)",
      sqlite: "ALTER TABLE stock ADD COLUMN rule INTEGER CHECK (qty < 1000)", refused: [5000], holdsBack: false,
      taken: 15),
    Rule(
      testDescription: "a trigger that some rows pass, and several that it refuses",
      postgreSQL: """
        CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN IF NEW.qty > 1000 THEN RAISE EXCEPTION 'too many'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER rule BEFORE INSERT OR UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION rule()
        """,
      sqlite:
        "CREATE TRIGGER rule BEFORE INSERT ON stock WHEN NEW.qty > 1000 BEGIN SELECT RAISE(ABORT, 'too many'); END",
      refused: [5000, 6000], holdsBack: false, taken: 15),
    Rule(
      testDescription: "a check that no row meets",
      postgreSQL: "ALTER TABLE stock ADD CONSTRAINT rule CHECK (false)",
      sqlite: "ALTER TABLE stock ADD COLUMN rule INTEGER CHECK (0)", refused: [15], holdsBack: true, taken: nil),
    Rule(
      testDescription: "a column that has to have a value",
      postgreSQL: "ALTER TABLE stock ADD COLUMN rule bigint NOT NULL",
      sqlite: "ALTER TABLE stock ADD COLUMN rule INTEGER CHECK (rule IS NOT NULL)", refused: [15], holdsBack: true,
      taken: nil),
    Rule(
      testDescription: "a trigger that refuses every row",
      postgreSQL: """
        CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$;
        CREATE TRIGGER rule AFTER INSERT ON stock FOR EACH ROW EXECUTE FUNCTION rule()
        """,
      sqlite: "CREATE TRIGGER rule AFTER INSERT ON stock BEGIN SELECT RAISE(ABORT, 'never'); END", refused: [15],
      holdsBack: true, taken: nil),
    Rule(
      testDescription: "a trigger that leaves every row out in silence",
      postgreSQL: """
        CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER rule BEFORE INSERT ON stock FOR EACH ROW EXECUTE FUNCTION rule()
        """,
      sqlite: "CREATE TRIGGER rule BEFORE INSERT ON stock BEGIN SELECT RAISE(IGNORE); END", refused: [15],
      holdsBack: true, taken: nil),
    // Rare, and it cannot be told from the last ones: it waits, until a row that the rule takes comes from any machine.
    Rule(
      testDescription: "a check that few rows meet",
      postgreSQL: "ALTER TABLE stock ADD CONSTRAINT rule CHECK (qty IS NOT NULL AND qty BETWEEN 10 AND 20)",
      sqlite: "ALTER TABLE stock ADD COLUMN rule INTEGER CHECK (qty IS NOT NULL AND qty BETWEEN 10 AND 20)",
      refused: [5000], holdsBack: true, taken: 15),
  ]

  private static let schema = StreamSchema.make([("id", "INTEGER"), ("qty", "INTEGER")], key: [0])

  private let store: any CloudStore
  private let vandal: any SinkVandal
  private let kind: SinkAbuse.Store

  /// For an empty store.
  package init(store: any CloudStore, vandal: any SinkVandal, kind: SinkAbuse.Store) {
    self.store = store
    self.vandal = vandal
    self.kind = kind
  }

  /// - Returns: nil for a machine whose stream has to wait.
  private func bring(_ quantities: [Int64], of machine: MachineID) throws -> [MergeOutcome]? {
    let events = quantities.map { quantity in
      SinkEvent(
        seq: nil, localID: "\(quantity)", version: quantity, at: nil, key: [.integer(quantity)],
        content: .row(Values([.integer(quantity), .integer(quantity)])), lines: [], raw: [])
    }
    return try store.transaction { transaction in
      do {
        return try transaction.merge(events, epoch: .one, into: .table(Self.schema, .stock, machine: machine))
      } catch let blocked as SinkBlocked {
        #expect(blocked.reach == .machine && blocked.cause == .change, "\(blocked)")
        return nil
      }
    }
  }

  package func check(_ rule: Rule) throws {
    for machine in [MachineID.a, .b] {
      let refusal = try store.transaction { try $0.adopt(Self.schema, machine: machine, stream: .stock) }
      #expect(refusal == nil)
    }
    try vandal.run(kind == .postgreSQL ? rule.postgreSQL : rule.sqlite)
    func isRefused(_ outcomes: [MergeOutcome]?) -> Bool {
      outcomes?.count == rule.refused.count
        && outcomes!.allSatisfy { if case .refused(.store, _) = $0 { true } else { false } }
    }
    let outcomes = try bring(rule.refused, of: .a)
    #expect(rule.holdsBack ? outcomes == nil : isRefused(outcomes), "\(rule.testDescription): \(outcomes as Any)")
    guard let taken = rule.taken else { return }
    // Another machine's rows go in, and with a row in it the table can be asked.
    #expect(try bring([taken], of: .b) == [.applied])
    #expect(try isRefused(bring(rule.refused, of: .a)))
    #expect(try vandal.rows("SELECT id FROM stock") == ["\(taken)"])
  }
}
