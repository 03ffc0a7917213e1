// A schema's id stands in every frame and in the cloud's tables: it must never change for the same content, nor stay for another.

import DroverCore
import Testing

@Suite struct StreamSchemaTests {
  private func schema(
    _ kind: Kind = .snapshot, _ columns: [(String, String)] = [("id", "INTEGER"), ("name", "TEXT")], key: [Int] = [0]
  ) throws -> StreamSchema {
    try StreamSchema(kind: kind, columns: columns.map { Column(name: $0.0, declaredType: $0.1) }, key: key)
  }

  // Written down: an id that changes with the code would make every frame in a broker's queue unreadable.
  @Test func `the id of a schema is the same on every machine and day`() throws {
    #expect(try schema().id.text == "92f1ed222e9ce2d1")
    #expect(try schema().id.text.utf8.count == 16)
  }

  @Test func `FNV-1a gives the published values`() {
    // Source: http://www.isthe.com/chongo/src/fnv/test_fnv.c
    func hash(_ text: String) -> UInt64 {
      var hash = FNV1a()
      hash.combine(text.utf8)
      return hash.state
    }
    #expect(hash("") == 0xcbf2_9ce4_8422_2325)
    #expect(hash("a") == 0xaf63_dc4c_8601_ec8c)
    #expect(hash("foobar") == 0x8594_4171_f739_67e8)
    #expect(FNV1a().hexadecimal == "cbf29ce484222325")
  }

  @Test func `a small hash keeps its leading zeros`() {
    var hash = FNV1a()
    var number = 0
    while hash.state >> 56 != 0 {
      number += 1
      hash = FNV1a()
      hash.combine(String(number))
    }
    #expect(hash.hexadecimal.utf8.count == 16 && hash.hexadecimal.hasPrefix("00"))
    #expect(UInt64(hash.hexadecimal, radix: 16) == hash.state)
  }

  @Test func `schemas that differ in anything have different ids`() throws {
    let schemas = try [
      schema(), schema(.payload), schema(.batch), schema(key: [1]), schema(key: [0, 1]), schema(key: [1, 0]),
      schema(.snapshot, [("id", "INTEGER"), ("name", "")]), schema(.snapshot, [("id", "INT"), ("name", "TEXT")]),
      schema(.snapshot, [("name", "TEXT"), ("id", "INTEGER")], key: [1]), schema(.snapshot, [("id", "INTEGER")]),
      schema(.snapshot, [("ID", "INTEGER"), ("name", "TEXT")]),
      schema(.snapshot, [("i", "dINTEGER"), ("name", "TEXT")]),
      schema(.snapshot, [("id", "INTEGER"), ("name", "TEXT"), ("x", "")]),
      schema(.snapshot, [("id", "INTEGER"), ("nam", "eTEXT")]),
      schema(.snapshot, [("e\u{301}", "")]), schema(.snapshot, [("\u{e9}", "")]),
    ]
    #expect(Set(schemas.map(\.id)).count == schemas.count)
    #expect(Set(schemas).count == schemas.count)
  }

  @Test func `when a batch is complete is part of its schema's identity`() throws {
    func schema(_ condition: String?, kind: Kind = .batch) throws -> StreamSchema {
      try StreamSchema(
        kind: kind, columns: [Column(name: "id", declaredType: "INTEGER"), Column(name: "Done", declaredType: "")],
        key: [0], completeWhen: condition.map { try Condition(parsing: $0) })
    }
    let schemas = try [nil, "done = 1", "done = 2", "done = '1'", "NOT done = 1"].map { try schema($0) }
    #expect(Set(schemas.map(\.id)).count == schemas.count)
    #expect(try schema("done=1").id == schema("(\"DONE\" = +1)").id)
    // Written down, as above.
    #expect(try schema("done = 1").id.text == "575d379bc850f5ca")
    #expect { try schema("ready = 1") } throws: { "\($0)".contains("no column ready") }
    #expect(throws: InvalidName.self) { try schema("done = 1", kind: .snapshot) }
  }

  @Test func `by what rows are matched is part of their schema's identity`() throws {
    func schema(_ identity: [String]?, else others: [String] = [], kind: Kind = .snapshot) throws -> StreamSchema {
      try StreamSchema(
        kind: kind, columns: ["id", "Code", "a", "b"].map { Column(name: $0, declaredType: "") }, key: [0],
        naturalKey: identity.map { try NaturalKey(columns: $0, fallback: others) })
    }
    let schemas = try [
      schema(nil), schema(["code"]), schema(["a"]), schema(["a", "b"]), schema(["b", "a"]), schema(["a"], else: ["b"]),
      schema(["a"], else: ["b", "Code"]), schema(["a", "b"], else: ["Code"]),
    ]
    #expect(Set(schemas.map(\.id)).count == schemas.count)
    #expect(try schema(["CODE"]) == schema(["Code"]))
    // Written down, as above.
    #expect(try schema(["a"], else: ["b"]).id.text == "f709ae3354f21481")
    #expect { try schema(["c"]) } throws: { "\($0)".contains("no column c, which `identity` names") }
    #expect { try schema(["a"], else: ["c"]) } throws: { "\($0)".contains("no column c, which `else` names") }
    for kind in [Kind.payload, .batch] { #expect(throws: InvalidName.self) { try schema(["a"], kind: kind) } }
    #expect(throws: InvalidName.self) { try schema([]) }
    #expect(throws: InvalidName.self) { try schema(["a", "A"]) }
    #expect(throws: InvalidName.self) { try schema(["a"], else: ["b", "B"]) }
    #expect(throws: InvalidName.self) { try NaturalKey(columns: (0..<33).map { "c\($0)" }) }
    #expect(throws: InvalidName.self) { try NaturalKey(columns: ["a"], fallback: (0..<33).map { "c\($0)" }) }
  }

  @Test func `no sink table without columns, key or distinct names`() {
    #expect(throws: InvalidName.self) { try schema(.snapshot, [], key: [0]) }
    #expect(throws: InvalidName.self) { try schema(key: []) }
    #expect(throws: InvalidName.self) { try schema(key: [2]) }
    #expect(throws: InvalidName.self) { try schema(key: [-1]) }
    #expect(throws: InvalidName.self) { try schema(key: [0, 0]) }
    #expect(throws: InvalidName.self) { try schema(.snapshot, [("a", ""), ("A", "")]) }
    #expect(throws: InvalidName.self) { try schema(.snapshot, [("", "")]) }
    #expect(throws: InvalidName.self) { try schema(.snapshot, [("a\0", "")]) }
  }

  @Test(arguments: ["drover_machine_id", "drover_seq", "DROVER_x", "drover_"])
  func `a column may not have the name of Drover's own bookkeeping`(name: String) {
    #expect(throws: InvalidName.self) { try schema(.snapshot, [("id", ""), (name, "")]) }
  }

  @Test(arguments: ["drover", "droverx", "machine_id", "select", "a b", "\"", "größe", StreamSchema.rowidColumn])
  func `a column may have any other name`(name: String) throws {
    #expect(try schema(.snapshot, [("id", ""), (name, "")]).columns[1].name == name)
  }

  @Test func `the key's values come in the key's order`() throws {
    let schema = try schema(.batch, [("a", ""), ("b", ""), ("c", "")], key: [2, 0])
    #expect(schema.keyValues(of: [.integer(1), .integer(2), .integer(3)]) == [.integer(3), .integer(1)])
  }

  // https://www.sqlite.org/datatype3.html, sections 3.1 and 3.1.1, row by row, and the two traps the page warns of.
  @Test(arguments: [
    ("INT", Affinity.integer), ("INTEGER", .integer), ("TINYINT", .integer), ("SMALLINT", .integer),
    ("MEDIUMINT", .integer),
    ("BIGINT", .integer), ("UNSIGNED BIG INT", .integer), ("INT2", .integer), ("INT8", .integer),
    ("CHARACTER(20)", .text), ("VARCHAR(255)", .text), ("VARYING CHARACTER(255)", .text), ("NCHAR(55)", .text),
    ("NATIVE CHARACTER(70)", .text), ("NVARCHAR(100)", .text), ("TEXT", .text), ("CLOB", .text),
    ("BLOB", .blob), ("", .blob), ("REAL", .real), ("DOUBLE", .real), ("DOUBLE PRECISION", .real), ("FLOAT", .real),
    ("NUMERIC", .numeric), ("DECIMAL(10,5)", .numeric), ("BOOLEAN", .numeric), ("DATE", .numeric),
    ("DATETIME", .numeric),
    ("STRING", .numeric), ("FLOATING POINT", .integer), ("CHARINT", .integer), ("BLOBTEXT", .text), ("REALBLOB", .blob),
    ("int", .integer), ("Varchar", .text), ("XYZ", .numeric), ("POINT", .integer), (" ", .numeric),
  ])
  func `a declared type has SQLite's affinity`(type: String, affinity: Affinity) {
    #expect(Column(name: "a", declaredType: type).affinity == affinity)
  }

  // SQLite looks at bytes and knows the letters of ASCII alone; Swift's upper case made INT of a Turkish `ınt`, and a combining mark
  // hid a word from it.
  @Test(arguments: [
    ("\u{131}nt", Affinity.numeric), ("\u{fb02}oa", .numeric), ("INT\u{301}", .integer), ("TEXT\u{200d}", .text),
  ])
  func `affinity is decided byte by byte`(type: String, affinity: Affinity) {
    #expect(Column(name: "a", declaredType: type).affinity == affinity)
  }

  @Test func `values are equal when their bits and their kind are`() {
    #expect(Value.real(0.0) != .real(-0.0) && Value.real(-0.0) == .real(-0.0))
    #expect(
      Value.real(1) != .integer(1) && Value.text("1") != .integer(1) && Value.text("a") != .blob(ArraySlice("a".utf8)))
    #expect(Value.null == .null && Value.null != .integer(0) && Value.text("") != .null && Value.text("") == .text(""))
    let bytes = Array("xaxa".utf8)
    #expect(Value.text(bytes[1...1]) == .text(bytes[3...3]), "slices are compared by what they hold, not where")
  }
}
