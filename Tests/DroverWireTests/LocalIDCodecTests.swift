// No two keys share a text, and every text leads back to its key: otherwise two rows would become one in the cloud.

import DroverCore
import DroverTesting
import DroverWire
import Testing

@Suite struct LocalIDCodecTests {
  private static let types = ["INTEGER", "TEXT", "VARCHAR(9)", "REAL", "BLOB", "", "NUMERIC", "DATETIME"]

  /// Keys that want to be mistaken for each other.
  private static let tricky: [Value] =
    [.null] + [0, 1, 7, -7, .max, .min].map(Value.integer) + [7.0, -0.0, 0.0, 1e300, .infinity].map(Value.real)
    + [
      "", "7", "-7", "07", "+7", " 7", "7 ", "7.0", "null", "true", "[", "[7]", "[\"7\"]", "[null]", "\"7\"",
      "{\"$blob\":\"Nw==\"}",
      "[{\"$blob\":\"Nw==\"}]", "MAH-7", "\0", "a\0", "é", "e\u{301}", "🐄", "9223372036854775808",
    ].map { Value.text($0) } + [[], [0x37], [0x5b], [0xff]].map { Value.blob($0[...]) }
    + Samples.notUTF8.map { Value.text($0[...]) }

  @Test(arguments: types) func `one key, one text, and back`(type: String) throws {
    let schema = Samples.schema([("id", type)])
    var texts: [[UInt8]: Value] = [:]
    for value in Self.tricky {
      let text = LocalIDCodec.text(key: [value], schema: schema)
      #expect(!text.isEmpty)
      #expect(try LocalIDCodec.key(text, schema: schema) == [value], "\(type): \(text)")
      let other = texts.updateValue(value, forKey: Array(text.utf8))
      #expect(other == nil, "\(text) stands for \(value) too")
    }
  }

  // What a dead letter, an export or a reader of the change feed knows a row by stays when its table uses a key again.
  @Test(arguments: types) func `the first life of a key has the text that the key had, and another has its own`(
    type: String
  ) throws {
    let plain = try StreamSchema(kind: .payload, columns: [Column(name: "id", declaredType: type)], key: [0])
    let schema = plain.tellingLives()
    var texts: Set<[UInt8]> = []
    for value in Self.tricky {
      let text = LocalIDCodec.text(key: [value, ""], schema: schema)
      #expect(text == LocalIDCodec.text(key: [value], schema: plain))
      #expect(LocalIDCodec.text(keyOf: [value, ""], schema: schema) == text)
      #expect(try LocalIDCodec.key(text, schema: schema) == [value, ""])
      let other = LocalIDCodec.text(key: [value, "f0"], schema: schema)
      #expect(try LocalIDCodec.key(other, schema: schema) == [value, "f0"])
      #expect(texts.insert(Array(text.utf8)).inserted && texts.insert(Array(other.utf8)).inserted)
    }
  }

  @Test func `composite keys lead back to their values`() throws {
    let schema = Samples.schema([("a", "TEXT"), ("b", "INTEGER"), ("c", "")], key: [2, 0])
    var texts: Set<[UInt8]> = []
    for first in Self.tricky {
      for second in Self.tricky {
        let text = LocalIDCodec.text(key: [first, second], schema: schema)
        #expect(try LocalIDCodec.key(text, schema: schema) == [first, second])
        #expect(texts.insert(Array(text.utf8)).inserted)
      }
    }
  }

  @Test func `random keys lead back to their values`() throws {
    var random = Seeded(11)
    for _ in 0..<2000 {
      let schema = random.schema()
      let key = schema.key.map { _ in random.value() }
      let text = LocalIDCodec.text(key: key, schema: schema)
      #expect(try LocalIDCodec.key(text, schema: schema) == key, "\(text)")
    }
  }

  @Test func `keys read as a person expects`() {
    func text(_ key: [Value], _ columns: [(String, String)]) -> String {
      LocalIDCodec.text(key: key, schema: Samples.schema(columns, key: Array(columns.indices)))
    }
    #expect(text([.integer(7)], [("id", "INTEGER")]) == "7")
    #expect(text([.text("MAH-7")], [("id", "TEXT")]) == "MAH-7")
    #expect(text([.integer(1), .integer(3402)], [("a", "INTEGER"), ("b", "INTEGER")]) == "[1,3402]")
    #expect(text([.text("7")], [("id", "INTEGER")]) == #"["7"]"#)
    #expect(text([.integer(7)], [("id", "TEXT")]) == "[7]")
    #expect(text([.text("[")], [("id", "TEXT")]) == #"["["]"#)
    #expect(text([.text("")], [("id", "TEXT")]) == #"[""]"#)
    #expect(text([.blob([1])], [("id", "BLOB")]) == #"[{"$blob":"AQ=="}]"#)
    #expect(text([.null], [("id", "TEXT")]) == "[null]")
  }

  @Test(arguments: ["7", "", "[1]", "[1,2,3]", "[]", "[1,2", "[1,2]x", "[1,[2]]", "[1,{}]", "[1,2,]"])
  func `a text that is no key of two columns is refused`(text: String) {
    let schema = Samples.schema([("a", "INTEGER"), ("b", "TEXT")], key: [0, 1])
    #expect(throws: WireError.self) { try LocalIDCodec.key(text, schema: schema) }
  }

  @Test func `a bare text is the key of a third party's row`() throws {
    #expect(try LocalIDCodec.key("7", schema: Samples.schema([("id", "INTEGER")])) == [.integer(7)])
    #expect(try LocalIDCodec.key("7", schema: Samples.schema([("id", "TEXT")])) == [.text("7")])
    #expect(try LocalIDCodec.key("x7", schema: Samples.schema([("id", "INTEGER")])) == [.text("x7")])
  }
}
