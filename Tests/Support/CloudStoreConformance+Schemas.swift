// Sink tables come to be from what machines say of their streams, and a machine may say anything.

import DroverCore
import Testing

extension CloudStoreConformance {
  static let schemas: [Claim] = [
    Claim("a schema that was adopted is found again, by its id, for its machine and stream alone") { scene throws in
      let schema = StreamSchema.make([("b", "NVARCHAR(160)"), ("a", ""), ("c", "INT")], key: [2, 0], kind: .batch)
      #expect(try scene.adopt(schema, .stock) == nil)
      try scene.store.transaction { transaction throws in
        #expect(try transaction.schema(schema.id, machine: .a, stream: .stock) == schema)
        #expect(try transaction.latestSchema(machine: .a, stream: .stock) == schema)
        #expect(try transaction.schema(schema.id, machine: .b, stream: .stock) == nil)
        #expect(try transaction.schema(schema.id, machine: .a, stream: .named("other")) == nil)
        #expect(try transaction.schema(StreamSchema.columns().id, machine: .a, stream: .stock) == nil)
        #expect(try transaction.latestSchema(machine: .b, stream: .stock) == nil)
      }
    },
    Claim("a sink table has the source's columns, the machine and the bookkeeping") { scene throws in
      #expect(try scene.adopt(.columns("name TEXT", "level REAL"), .stock) == nil)
      #expect(
        try scene.reader.columns(of: "stock") == [
          "machine_id", "id", "name", "level", "drover_epoch", "drover_version",
        ])
    },
    Claim("a stream without a table has its id, its time and its body") { scene throws in
      try scene.merge(.bodies(.payload), .body(1, "x", "1"))
      #expect(
        try scene.reader.columns(of: "stock") == [
          "machine_id", "local_id", "occurred_at", "body", "drover_epoch", "drover_version",
        ])
    },
    Claim("adopting the same schema again changes nothing") { scene throws in
      for _ in 0..<3 { #expect(try scene.adopt(.columns("a TEXT"), .stock) == nil) }
      #expect(try scene.reader.columns(of: "stock") == ["machine_id", "id", "a", "drover_epoch", "drover_version"])
    },
    Claim("the schema that was told of last is the latest, though the clock stands still") { scene throws in
      let (one, two) = (StreamSchema.columns("a INT"), StreamSchema.columns("a INT", "b INT"))
      for schema in [one, two, one, two] {
        #expect(try scene.adopt(schema, .stock) == nil)
        #expect(try scene.store.transaction { try $0.latestSchema(machine: .a, stream: .stock) } == schema)
      }
    },
    Claim("new columns appear by themselves, and rows of the old schema go on") { scene throws in
      let (old, new) = (StreamSchema.columns("a TEXT"), StreamSchema.columns("B INT", "a TEXT"))
      _ = try scene.adopt(old, .stock)
      try scene.merge(.table(old), .put(1, 1, "x"))
      #expect(try scene.adopt(new, .stock) == nil)
      try scene.merge(.table(new), .put(2, 1, 7, "y"), .put(1, 2, 8, "z"))
      try scene.merge(.table(old), .put(3, 1, "from before"))
      let rows = try scene.lines(.stock)
      #expect(rows.count == 2)
      #expect(rows.contains { $0.contains("B=7") && $0.contains("a=from before") && $0.contains("drover_version=3") })
    },
    Claim("two machines' columns come together in one table") { scene throws in
      let (one, two) = (StreamSchema.columns("a INT"), StreamSchema.columns("b INT"))
      #expect(try scene.adopt(one, .stock) == nil)
      #expect(try scene.adopt(two, .stock, machine: .b) == nil)
      try scene.merge(.table(one), .put(1, 1, 5))
      try scene.merge(.table(two, machine: .b), .put(1, 1, 6))
      #expect(
        try Set(scene.reader.columns(of: "stock")) == ["machine_id", "id", "a", "b", "drover_epoch", "drover_version"])
      #expect(try scene.reader.rows(of: "stock").map { [$0["a"], $0["b"]] }.contains([.null, 6]))
    },
    Claim("a column that is there in another case is the same column") { scene throws in
      _ = try scene.adopt(.columns("Level INT"), .stock)
      let other = StreamSchema.columns("LEVEL INT")
      #expect(try scene.adopt(other, .stock) == nil)
      #expect(try scene.merge(.table(other), .put(1, 1, 5)) == [.applied])
      #expect(try scene.reader.columns(of: "stock").count == 5)
    },
    Claim("another key is refused, and the table stays as it is") { scene throws in
      _ = try scene.adopt(.columns("a TEXT"), .stock)
      let before = try scene.reader.columns(of: "stock")
      for key in [[1], [0, 1], [1, 0]] {
        let other = StreamSchema.make([("id", "INTEGER"), ("a", "TEXT"), ("new", "TEXT")], key: key)
        #expect(try scene.adopt(other, .stock) != nil)
        #expect(
          try scene.merge(.table(other), .row(1, [1, "x", "y"], key: key.map { [1, "x"][$0] })).map(\.refusal) == [
            .schema
          ])
        #expect(try scene.store.transaction { try $0.schema(other.id, machine: .a, stream: .stock) } == nil)
      }
      #expect(try scene.reader.columns(of: "stock") == before)
      #expect(try scene.reader.rows(of: "stock").isEmpty)
    },
    Claim("another kind is refused, in a description and in events") { scene throws in
      _ = try scene.adopt(.columns("a TEXT"), .stock)
      let other = StreamSchema.columns("a TEXT", kind: .payload)
      #expect(try scene.adopt(other, .stock)?.contains("payload") == true)
      #expect(try scene.merge(.table(other), .put(1, 1, "x")).map(\.refusal) == [.schema])
      #expect(try scene.reader.rows(of: "stock").isEmpty)
    },
    Claim("a table of columns takes no bodies, and a table of bodies no columns") { scene throws in
      _ = try scene.adopt(.columns("a TEXT"), .stock)
      #expect(try scene.merge(.bodies(.snapshot), .body(1, "x", "1")).map(\.refusal) == [.schema])
      let other = StreamName.named("bodies")
      try scene.merge(.bodies(.snapshot, other), .body(1, "x", "1"))
      #expect(try scene.adopt(.columns("a TEXT"), other) != nil)
      #expect(try scene.merge(.table(.columns("a TEXT"), other), .put(1, 1, "x")).map(\.refusal) == [.schema])
    },
    Claim("a table of that name that is not Drover's is left alone") { scene throws in
      try scene.reader.makeForeignTable("stock")
      #expect(try scene.adopt(.columns("mine TEXT"), .stock)?.contains("not Drover's") == true)
      #expect(try scene.merge(.table(.columns("mine TEXT")), .put(1, 1, "x")).map(\.refusal) == [.schema])
      #expect(try scene.merge(.bodies(.payload), .body(1, "x", "1")).map(\.refusal) == [.schema])
      #expect(try scene.reader.columns(of: "stock") == ["mine"])
      #expect(try scene.reader.rows(of: "stock").isEmpty)
    },
    Claim("streams whose names differ in case come together or are refused, and nothing is lost without a word") {
      scene throws in
      _ = try scene.adopt(.columns("a TEXT"), .stock)
      let upper = StreamName.named("STOCK")
      try scene.merge(.table(.columns("a TEXT")), .put(1, 1, "lower"))
      let outcomes = try scene.merge(.table(.columns("a TEXT"), upper, machine: .b), .put(1, 2, "upper"))
      if outcomes == [.applied] {
        let tables = try scene.reader.rows(of: "stock") + scene.reader.rows(of: "STOCK")
        #expect(tables.contains { $0["a"] == "upper" })
      } else {
        #expect(outcomes.map(\.refusal) == [.schema])
      }
      #expect(try scene.reader.rows(of: "stock").contains { $0["a"] == "lower" })
    },

    // MARK: Limits

    Claim("a machine may not describe more columns than the limit", conditions { $0.columnsPerTable = 4 }) {
      scene throws in
      #expect(try scene.adopt(.columns("a", "b", "c"), .stock) == nil)
      #expect(
        try scene.adopt(.columns("a", "b", "c", "d"), .named("wider"))?.contains("limits.columns_per_table") == true)
      #expect(try scene.reader.columns(of: "wider").isEmpty)
    },
    // Each schema was within the limit, and each brought other columns, until the database had no room for another. That error was
    // taken for one of the store's, so the message was delivered again for ever and nobody's events were applied any more.
    Claim("schemas that each bring other columns come to the limit too", conditions { $0.columnsPerTable = 6 }) {
      scene throws in
      #expect(try scene.adopt(.columns("a", "b", "c"), .stock) == nil)
      #expect(try scene.adopt(.columns("c", "d", "e"), .stock) == nil)
      #expect(try scene.adopt(.columns("f", "g"), .stock)?.contains("limits.columns_per_table") == true)
      #expect(try scene.adopt(.columns("h"), .stock, machine: .b)?.contains("limits.columns_per_table") == true)
      #expect(try scene.reader.columns(of: "stock").count == 9)
      #expect(try scene.merge(.table(.columns("a", "b", "c")), .put(1, 1, 2, 3, 4)) == [.applied])
    },
    // Only streams that had brought events were counted, so descriptions alone made any number of tables.
    Claim("a machine may not describe more streams than the limit", conditions { $0.streamsPerMachine = 3 }) {
      scene throws in
      for index in 1...3 { #expect(try scene.adopt(.columns("a"), .named("s\(index)")) == nil) }
      #expect(try scene.adopt(.columns("a"), .named("s4"))?.contains("limits.streams_per_machine") == true)
      #expect(try scene.merge(.bodies(.payload, .named("s5")), .body(1, "x", "1")).map(\.refusal) == [.schema])
      #expect(try scene.reader.columns(of: "s4").isEmpty)
      // What it has goes on, and so do others.
      #expect(try scene.adopt(.columns("a", "b"), .named("s3")) == nil)
      #expect(try scene.merge(.table(.columns("a"), .named("s1")), .put(1, 1, 2)) == [.applied])
      #expect(try scene.adopt(.columns("a"), .named("s4"), machine: .b) == nil)
    },
    Claim("streams without a table count against the limit of streams too", conditions { $0.streamsPerMachine = 2 }) {
      scene throws in
      for index in 1...2 {
        let stream = StreamName.named("s\(index)")
        try scene.store.transaction { transaction throws in
          #expect(
            try transaction.merge([.body(1, "x", "1")], epoch: nil, into: .bodies(.payload, stream)) == [.applied])
          try transaction.note(StreamProgress(), machine: .a, stream: stream)
        }
      }
      #expect(try scene.merge(.bodies(.payload, .named("s3")), .body(1, "x", "1")).map(\.refusal) == [.schema])
      #expect(try scene.merge(.bodies(.payload, .named("s2")), .body(1, "y", "1")) == [.applied])
    },
    Claim("five hundred columns travel") { scene throws in
      let schema = StreamSchema.make([("id", "INTEGER")] + (1..<500).map { ("c\($0)", "") }, key: [0])
      #expect(try scene.adopt(schema, .stock) == nil)
      let values = (0..<500).map { Value.integer(Int64($0) + 1) }
      #expect(
        try scene.merge(.table(schema), .row(1, values, key: [1]), .row(2, values.map { $0 == 2 ? "x" : $0 }, key: [1]))
          == [.applied, .applied])
      let row = try #require(try scene.reader.rows(of: "stock").first)
      #expect(row["c1"] == "x" && row["c499"] == 500 && row.count == 503)
    },
  ]

  // MARK: Hostile descriptions

  static let hostile: [Claim] = [
    // What a column was declared as went into CREATE TABLE as it was, where it held nothing but letters, digits, spaces, brackets and
    // commas. 'INT, x TEXT' made a column, and 'table' or '(' a syntax error: the message was delivered again for ever.
    Claim("whatever a column is declared as, the table has that column and no other") { scene throws in
      let types = [
        "INT, x TEXT", "INT)", "(", ")", "NUMERIC(10", "table", "select", "TEXT PRIMARY KEY", "INT NOT NULL",
        "INT DEFAULT 5", "INT); DROP TABLE drover_meta; --",
        "TEXT COLLATE NOCASE", "INT CHECK (0)", "INT REFERENCES t(a)", "INT GENERATED ALWAYS AS (1)", "INT /* */", "\"",
        "'", "`", "[", "INT\u{0}", "größe",
        "1", "1 2", "(1)", "INT (a)", "VARCHAR(1,2,3)", "DECIMAL(10,5)", "UNSIGNED BIG INT", "on", "without rowid",
        "INT UNIQUE ON CONFLICT REPLACE",
        String(repeating: "x", count: 5000), String(repeating: "a ", count: 100), "  INT  ", "\nINT\t", "INT -- x",
        "INT,", ",", "NULL", "double precision",
      ]
      for (index, type) in types.enumerated() {
        let stream = StreamName.named("s\(index)")
        let schema = StreamSchema.make([("id", "INTEGER"), ("c", type)], key: [0])
        #expect(try scene.adopt(schema, stream) == nil, "\(type)")
        #expect(
          try scene.reader.columns(of: stream.text) == ["machine_id", "id", "c", "drover_epoch", "drover_version"],
          "\(type)")
        #expect(
          try scene.merge(.table(schema, stream), .put(1, 1, .null), .put(2, 1, "a"), .put(1, 2, "a")) == [
            .applied, .applied, .applied,
          ], "\(type)")
        #expect(
          try scene.reader.rows(of: stream.text).compactMap { $0["c"] }.filter { $0 == .text("a") }.count == 2,
          "\(type)")
        // The same in a table that is there already, and as the key.
        let wider = StreamSchema.make([("id", "INTEGER"), ("d", type)], key: [0])
        #expect(try scene.adopt(wider, stream) == nil, "\(type)")
        #expect(try scene.reader.columns(of: stream.text).count == 6, "\(type)")
        let key = StreamSchema.make([("k", type), ("c", "")], key: [0])
        #expect(try scene.adopt(key, .named("k\(index)")) == nil, "\(type)")
        #expect(
          try scene.merge(.table(key, .named("k\(index)")), .row(1, ["x", 1], key: ["x"])) == [.applied], "\(type)")
      }
    },
    Claim("a column may be named like anything") { scene throws in
      let names = [
        "a\"b", "a\"\u{301}; --", "it's", "a b", "select", "größe 😀", "a;b", "--", "/*", "]", "`", "?1", ":x", "@x",
        "$x", "rowid",
        "_rowid_", "oid", "excluded", "version",
        "machine", "local_id", "body", "*", "a.b", "\\", "%", "\t", "\n", "\"", "\"\"", "ctid", "xmin", "NULL", "1",
        " ", "a,b", "(", ")",
      ]
      let schema = StreamSchema.make(names.map { ($0, "") }, key: [0, 1])
      #expect(try scene.adopt(schema, .stock) == nil)
      #expect(try scene.reader.columns(of: "stock") == ["machine_id"] + names + ["drover_epoch", "drover_version"])
      let values = names.indices.map { Value.integer(Int64($0)) }
      #expect(
        try scene.merge(.table(schema), .row(1, values, key: [0, 1]), .row(2, values, key: [0, 1])) == [
          .applied, .applied,
        ])
      let row = try #require(try scene.reader.rows(of: "stock").first)
      #expect(names.map { row[$0] } == values)
      #expect(try scene.merge(.table(schema), .delete(3, 0, 1)) == [.applied])
      #expect(try scene.reader.rows(of: "stock").isEmpty)
    },
    // A stream named excluded was never updated: its version was compared with itself. A quote in a name was a syntax error at every
    // delivery again, and a table named pragma_table_info takes SQLite's own function away.
    Claim("a stream may be named like anything that is a stream's name") { scene throws in
      for name in [
        "a\"b", "it's", "a b", "select", "größe 😀", "a;b --", "]", "main.x", "temp", "excluded", "?1", " ", "json_each",
        "pragma_table_info",
      ] {
        let stream = StreamName.named(name)
        #expect(try scene.adopt(.columns("a"), stream) == nil, "\(name)")
        #expect(
          try scene.merge(.table(.columns("a"), stream), .put(1, 1, "x"), .put(2, 1, "y"), .delete(3, 1)) == [
            .applied, .applied, .applied,
          ], "\(name)")
        #expect(try scene.reader.rows(of: name).isEmpty, "\(name)")
        #expect(try scene.adopt(.columns("a", "b"), stream) == nil, "\(name)")
      }
    },
    // A thousand parts of a key made an expression that the database refused to compile, at every event again.
    Claim("a key of very many columns is taken or refused, and stops nobody") { scene throws in
      let count = 999
      let schema = StreamSchema.make((0..<count).map { ("c\($0)", "") }, key: Array(0..<count))
      let values = (0..<count).map { Value.integer(Int64($0)) }
      let reason = try scene.adopt(schema, .stock)
      if reason == nil {
        #expect(try scene.merge(.table(schema), .row(1, values, key: values), .delete(2, 1)) != [])
      } else {
        #expect(try scene.merge(.table(schema), .row(1, values, key: values)).map(\.refusal) == [.schema])
      }
      #expect(try scene.merge(.table(.columns("a"), .named("other")), .put(1, 1, 2)) == [.applied])
    },
  ]

  static func conditions(_ change: (inout CloudStoreConditions) -> Void) -> CloudStoreConditions {
    var conditions = CloudStoreConditions()
    change(&conditions)
    return conditions
  }
}
