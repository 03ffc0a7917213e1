// The retained documents: what one side writes the other reads, and what is damaged is refused whole, because an edge forgets what
// a confirmation says.

import DroverCore
import DroverTesting
import DroverWire
import Foundation
import Testing

@Suite struct DocumentTests {
  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  // MARK: Schema

  @Test(arguments: UInt64(0)..<100) func `a schema comes out as it went in`(seed: UInt64) throws {
    var random = Seeded(seed)
    let schema = seed % 2 == 0 ? random.unitSchema() : random.schema(kind: seed % 4 == 1 ? .batch : nil)
    #expect(try StreamSchema(document: schema.document) == schema, "seed \(seed)")
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(schema.document)) }
  }

  @Test func `a schema reads well`() {
    let schema = Samples.schema([("a", "INTEGER"), ("b/\"", "")], key: [1, 0], kind: .batch)
    #expect(
      text(schema.document)
        == #"{"v":1,"schema":"\#(schema.id)","kind":"batch","key":["b/\"","a"],"columns":[{"name":"a","type":"INTEGER"},{"name":"b/\"","type":""}]}"#
    )
  }

  @Test(arguments: [
    (#""v":1"#, #""v":2"#), (#""v":1"#, #""v":"1""#), (#""v":1"#, #""w":1"#), (#""batch""#, #""bunch""#),
    (#""batch""#, #""snapshot""#),
    (#""key":["a"]"#, #""key":["b"]"#), (#""key":["a"]"#, #""key":["x"]"#), (#""key":["a"]"#, #""key":[]"#),
    (#""key":["a"]"#, #""key":[0]"#),
    (#""key":["a"]"#, #""key":["a","a"]"#), (#""key":["a"]"#, #""key":"a""#), (#""key":["a"]"#, #""key":["a\u0000x"]"#),
    (#""INTEGER""#, #""INT""#),
    (#""INTEGER""#, "null"), (#""INTEGER""#, "7"), (#""name":"b""#, #""name":"A""#), (#""name":"b""#, #""name":"c""#),
    (#""name":"b""#, #""name":"drover_x""#),
    (#""name":"b""#, #""nom":"b""#), (#"{"name":"b","type":""}"#, "7"), (#","type":"""#, ""),
    (#""schema":""#, #""schema":"0"#),
    (#"{"name":"b","type":""}"#, #"{"name":"b","type":""},{"name":"c","type":""}"#), ("]}", "]"), ("]}", "]}x"),
    ("]}", "]}{}"), ("]}", "]]"), ("]}", "]}\0x"),
  ])
  func `a schema that is damaged is refused`(part: String, damaged: String) {
    let whole = text(Samples.schema([("a", "INTEGER"), ("b", "")], kind: .batch).document)
    #expect(whole.contains(part))
    #expect(throws: WireError.self) { try StreamSchema(document: bytes(whole.replacing(part, with: damaged))) }
  }

  @Test func `the tables of lines travel with their header's schema`() throws {
    let lines = try LineSchema(
      table: StreamName("sales"), columns: ["no", "receipt_id"].map { Column(name: $0, declaredType: "INT") }, key: [0],
      references: [1])
    let schema = try StreamSchema(
      kind: .batch, columns: [Column(name: "id", declaredType: "INT")], key: [0], lines: [lines])
    let whole = text(schema.document)
    let with =
      #""with":[{"table":"sales","key":["no"],"columns":[{"name":"no","type":"INT"},{"name":"receipt_id","type":"INT"}],"references":{"receipt_id":"id"}}]"#
    #expect(whole.hasSuffix(",\(with)}"))
    for (part, damaged) in [
      (#"{"receipt_id":"id"}"#, #"{"receipt_id":"no"}"#), (#"{"receipt_id":"id"}"#, #"{"item":"id"}"#),
      (#"{"receipt_id":"id"}"#, "{}"), (#"{"receipt_id":"id"}"#, #"{"receipt_id":"id","no":"id"}"#),
      (#""sales""#, #""drover_sales""#), (#""sales""#, #""others""#), (#"["no"]"#, "[]"),
      (#""references""#, #""reference""#), ("batch", "snapshot"),
    ] {
      #expect(whole.contains(part))
      #expect(throws: WireError.self, "\(damaged)") {
        try StreamSchema(document: bytes(whole.replacing(part, with: damaged)))
      }
    }
  }

  @Test func `when a batch is complete travels with its schema`() throws {
    let schema = Samples.schema([("a", "INTEGER"), ("b", "")], kind: .batch, completeWhen: "b = 'x'")
    let whole = text(schema.document)
    #expect(whole.hasSuffix(#","complete_when":"\"b\" = 'x'"}"#))
    #expect(try StreamSchema(document: schema.document).completeWhen == Condition(parsing: "b = 'x'"))
    for damaged in [#""c\" = 'x'"#, #""b\" = 'y'"#, #""b\" ="#, #""b\" = 'x' OR load_extension('x')"#] {
      #expect(throws: WireError.self) {
        try StreamSchema(document: bytes(whole.replacing(#""b\" = 'x'"#, with: damaged)))
      }
    }
    #expect(throws: WireError.self) {
      try StreamSchema(document: bytes(whole.replacing(#""\"b\" = 'x'""#, with: "1")))
    }
  }

  @Test func `by what rows are matched travels with their schema`() throws {
    func schema(_ others: [String]) throws -> StreamSchema {
      try StreamSchema(
        kind: .snapshot, columns: ["id", "code", "b/"].map { Column(name: $0, declaredType: "") }, key: [0],
        naturalKey: NaturalKey(columns: ["code", "id"], fallback: others))
    }
    let (one, other) = try (schema([]), schema(["b/"]))
    #expect(text(one.document).hasSuffix(#","identity":["code","id"]}"#))
    let whole = text(other.document)
    #expect(whole.hasSuffix(#","identity":["code","id"],"else":["b/"]}"#))
    for schema in [one, other] { #expect(try StreamSchema(document: schema.document) == schema) }
    for (part, damaged) in [
      (#"["code","id"]"#, #"["code"]"#), (#"["code","id"]"#, #"["id","code"]"#), (#"["code","id"]"#, "[]"),
      (#"["code","id"]"#, #"["code","code"]"#), (#"["code","id"]"#, #"["code","x"]"#), (#"["code","id"]"#, #""code""#),
      (#"["code","id"]"#, #"["code",7]"#), (#""identity""#, #""identify""#), (#","else":["b/"]"#, ""),
      (#"["b/"]"#, #"["b"]"#), (#"["b/"]"#, "null"), (#""snapshot""#, #""batch""#),
    ] {
      #expect(whole.contains(part))
      #expect(throws: WireError.self, "\(damaged)") {
        try StreamSchema(document: bytes(whole.replacing(part, with: damaged)))
      }
    }
  }

  // MARK: Confirmation

  @Test(arguments: UInt64(0)..<100) func `a confirmation comes out as it went in`(seed: UInt64) throws {
    var random = Seeded(seed)
    var streams: [StreamName: IntervalSet] = [:]
    for _ in 0..<Int.random(in: 0...5, using: &random) {
      guard let name = try? StreamName(random.text()) else { continue }
      var set = IntervalSet()
      for _ in 0..<Int.random(in: 0...4, using: &random) {
        let after = random.percent(30) ? 0 : Int64.random(in: 0...(1 << 60), using: &random)
        set.insert(Interval(after: after, through: after + .random(in: 1...1000, using: &random)))
      }
      streams[name] = set
    }
    var runs = Runs()
    for _ in 0..<Int.random(in: 0...8, using: &random) {
      runs.raise(.random(in: 0...(1 << 53), using: &random), to: .random(in: 0...(1 << 60), using: &random))
    }
    let confirmation = Confirmation(
      epoch: Samples.epoch, session: random.text(), at: .random(in: Bounds.time, using: &random), streams: streams,
      runs: runs,
      answer: random.percent(50) ? nil : .random(in: 0...(1 << 53), using: &random),
      maxMessageBytes: random.percent(50) ? nil : .random(in: 1 << 10...(1 << 28), using: &random))
    #expect(
      try Confirmation(document: confirmation.document) == confirmation, "seed \(seed): \(text(confirmation.document))")
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(confirmation.document)) }
  }

  @Test func `a confirmation reads well`() throws {
    let set = IntervalSet([Interval(after: 0, through: 40), Interval(after: 42, through: 50)])
    let confirmation = Confirmation(
      epoch: Samples.epoch, session: "s", at: 1_795_170_600_123_000,
      streams: [
        try StreamName("stock"): set, try StreamName("pens"): IntervalSet([Interval(after: 7, through: 9)]),
      ], runs: Runs([Run(number: 0, reached: 40), Run(number: 1_795_170_500_000_000, reached: 52)]), answer: 77)
    #expect(
      text(confirmation.document) == """
        {"v":1,"epoch":"3f9c2a","session":"s","at":"2026-11-20T10:30:00.123Z","at_us":1795170600123000,"answer":77,\
        "runs":[[0,40],[1795170500000000,52]],"streams":{"pens":{"through":0,"ahead":[[7,9]]},"stock":{"through":40,"ahead":[[42,50]]}}}
        """)
  }

  @Test(arguments: [
    (#""v":1"#, #""v":0"#), (#""3f9c2a""#, #""3F""#), (#""3f9c2a""#, "3"), (#""session":"s""#, #""session":null"#),
    (#","at_us":5"#, ""),
    (#""at_us":5"#, #""at_us":5.0"#), (#""through":40"#, #""through":"40""#), (#""through":40"#, #""through":40.0"#),
    (#""through":40"#, #""through":null"#),
    (#""through":40"#, #""through":-1"#), (#""through":40,"#, ""), (#"[42,50]"#, "[50,42]"), (#"[42,50]"#, "[42,42]"),
    (#"[42,50]"#, "[-2,50]"), (#"[42,50]"#, "[42]"),
    (#"[42,50]"#, "[42,50,60]"), (#"[42,50]"#, #"["42",50]"#), (#"[42,50]"#, "42,50"), (#"[42,50]"#, "[null,50]"),
    (#"[[42,50]]"#, "7"), (#","ahead":[[42,50]]"#, ""), (#"[[3,9]]"#, "[[3]]"),
    (#"[[3,9]]"#, "[[-3,9]]"), (#"[[3,9]]"#, "[[3,-9]]"), (#"[[3,9]]"#, "3"), (#"[[3,9]]"#, #"[["3",9]]"#),
    (#""stock""#, #""a/b""#), (#""stock""#, #""""#), (#"{"stock":"#, #"["stock","#),
    (#"{"through":40,"ahead":[[42,50]]}"#, "7"), ("}}}", "}}"), ("}}}", "}}}}"),
    ("}}}", "}}} 1"), ("}}}", "}}}\0"),
  ])
  func `a confirmation that is damaged is refused`(part: String, damaged: String) {
    let whole =
      #"{"v":1,"epoch":"3f9c2a","session":"s","at_us":5,"runs":[[3,9]],"streams":{"stock":{"through":40,"ahead":[[42,50]]}}}"#
    #expect(throws: Never.self) { try Confirmation(document: bytes(whole)) }
    #expect(whole.contains(part))
    #expect(throws: WireError.self) { try Confirmation(document: bytes(whole.replacing(part, with: damaged))) }
  }

  // json-c bends an integer of more than 64 bits to the nearest that fits: a damaged front became the largest number there is, and the
  // edge would have forgotten its whole outbox.
  @Test(arguments: [
    "99999999999999999999", "9223372036854775808", "18446744073709551615", "18446744073709551616",
    "-9223372036854775809",
  ])
  func `an integer of more than 64 bits is refused, not bent`(number: String) {
    for whole in [
      #"{"v":1,"epoch":"3f","session":"s","at_us":5,"streams":{"stock":{"through":\#(number),"ahead":[]}}}"#,
      #"{"v":1,"epoch":"3f","session":"s","at_us":5,"streams":{"stock":{"through":1,"ahead":[[3,\#(number)]]}}}"#,
      #"{"v":1,"epoch":"3f","session":"s","at_us":\#(number),"streams":{}}"#,
    ] {
      #expect(throws: WireError.self) { try Confirmation(document: bytes(whole)) }
    }
  }

  @Test func `no beginning of a document is a document`() throws {
    let whole =
      #"{"v":1,"epoch":"3f9c2a","session":"s","at_us":5,"streams":{"stock":{"through":40,"ahead":[[42,50]],"version":9}}}"#
    for count in 0..<whole.utf8.count {
      #expect(throws: WireError.self, "\(count) bytes") { try Confirmation(document: Array(whole.utf8.prefix(count))) }
    }
  }

  // MARK: Status

  @Test(arguments: [
    MachineStatus(isOnline: true, epoch: Samples.epoch, software: "1.0 \"x\"", at: 1_795_170_600_123_000),
    MachineStatus(isOnline: false, epoch: nil, software: nil, at: nil),
    MachineStatus(isOnline: true, epoch: nil, software: "", at: 0),
    MachineStatus(isOnline: false, epoch: Samples.epoch, software: "größe\0", at: Bounds.time.upperBound),
    MachineStatus(
      isOnline: true, epoch: nil, software: nil, at: 7,
      outbox: OutboxFigures(waiting: 12, oldest: -3, deadLetters: 4, freeBytes: .max)),
    MachineStatus(
      isOnline: true, epoch: nil, software: nil, at: 7,
      outbox: OutboxFigures(waiting: 0, oldest: nil, deadLetters: 0, freeBytes: nil)),
    MachineStatus(
      isOnline: true, epoch: nil, software: nil, at: 7,
      gaps: [try! StreamName("stock"): "3f9c2a", try! StreamName("Käse"): "0"]),
    MachineStatus(
      isOnline: true, epoch: nil, software: nil, at: 7,
      waits: [
        StreamWait(
          stream: try! StreamName("Käse"), table: "", reason: "größe\0", advice: String(repeating: "ö", count: 600),
          since: 7)
      ]),
  ])
  func `a status comes out as it went in`(status: MachineStatus) throws {
    #expect(try MachineStatus(document: status.document) == status)
  }

  @Test func `a last will says only that the machine is gone`() {
    #expect(
      text(MachineStatus(isOnline: false, epoch: nil, software: nil, at: nil).document) == #"{"v":1,"online":false}"#)
  }

  @Test(arguments: [
    "", "{}", "[]", "null", "1", "x", #"{"v":1}"#, #"{"online":true}"#, #"{"v":1,"online":1}"#,
    #"{"v":1,"online":"true"}"#, #"{"v":2,"online":true}"#,
    #"{"v":1,"online":true,"epoch":7}"#, #"{"v":1,"online":true,"epoch":"X"}"#, #"{"v":1,"online":true,"software":7}"#,
    #"{"v":1,"online":true,"at_us":"now"}"#,
    #"{"v":1,"online":true,}"#, #"{'v':1,'online':true}"#, #"{"v":1,"online":true}/**/"#, #"/**/{"v":1,"online":true}"#,
    #"{"v":1,"online":TRUE}"#, #"{"v":1,"online":true,"outbox":7}"#, #"{"v":1,"online":true,"outbox":{"waiting":1}}"#,
    #"{"v":1,"online":true,"outbox":{"waiting":-1,"dead_letters":0}}"#,
    #"{"v":1,"online":true,"outbox":{"waiting":1,"dead_letters":0,"free_bytes":-1}}"#,
    #"{"v":1,"online":true,"outbox":{"waiting":1,"dead_letters":0,"oldest_us":"x"}}"#,
    #"{"v":1,"online":true,"gaps":{}}"#, #"{"v":1,"online":true,"gaps":[["t"]]}"#,
    #"{"v":1,"online":true,"gaps":[["t","X"]]}"#, #"{"v":1,"online":true,"gaps":[["a/b","1"]]}"#,
    #"{"v":1,"online":true,"gaps":[["t",1]]}"#,
    #"{"v":1,"online":true,"waits":[{"stream":"a/b","table":"t","reason":"r","advice":"a","since_us":1}]}"#,
    #"{"v":1,"online":true,"waits":[{"stream":"t"}]}"#, #"{"v":1,"online":true,"waits":{}}"#,
  ])
  func `a status that is damaged is refused`(document: String) {
    #expect(throws: WireError.self) { try MachineStatus(document: bytes(document)) }
  }

  @Test func `what a newer version adds is passed over`() throws {
    #expect(try MachineStatus(document: bytes(#"{"v":1,"new":[{}],"online":true}"#)).isOnline)
  }

  @Test func `a document is not nested without end`() {
    for depth in [31, 33, 100_000] {
      let nested = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
      let document = bytes(#"{"v":1,"online":true,"x":\#(nested)}"#)
      if depth < 32 {
        #expect(throws: Never.self) { try MachineStatus(document: document) }
      } else {
        #expect(throws: WireError.self) { try MachineStatus(document: document) }
      }
    }
  }

  @Test(arguments: Samples.notUTF8) func `a document that is not UTF-8 is refused`(bytes: [UInt8]) {
    let document = Array(#"{"v":1,"online":true,"software":""#.utf8) + bytes.filter { $0 != 0x22 } + Array("\"}".utf8)
    #expect(throws: WireError.self) { try MachineStatus(document: document) }
  }

  // MARK: What the commands print

  @Test(arguments: Samples.texts) func `any text is escaped`(text: String) throws {
    let printed = JSON.object([("text", .string(text)), ("list", .array([.string(text)]))]).text()
    var scanner = JSONScanner(printed)
    var read: [ArraySlice<UInt8>] = []
    try scanner.readObject { (name, scanner) throws(WireError) in
      if name.elementsEqual("text".utf8) {
        read.append(try scanner.readString())
      } else {
        try scanner.readArray { (scanner) throws(WireError) in read.append(try scanner.readString()) }
      }
    }
    #expect(read == [ArraySlice(text.utf8), ArraySlice(text.utf8)])
    #expect(!printed.utf8.contains { $0 < 0x20 }, "one line, and no control characters for the terminal")
  }

  @Test func `the printed form is exact`() {
    let json = JSON.object([
      ("null", .null), ("yes", true), ("no", false), ("int", .integer(.min)), ("real", .real(0.1)), ("whole", .real(1)),
      ("text", "a/b"), ("empty", .object([])), ("none", .array([])),
    ])
    #expect(
      json.text()
        == #"{"null":null,"yes":true,"no":false,"int":-9223372036854775808,"real":0.1,"whole":1.0,"text":"a/b","empty":{},"none":[]}"#
    )
    let pretty = json.text(pretty: true)
    #expect(pretty.contains("\n") && pretty.contains("  \"yes\": true"))
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(pretty.utf8)) }
  }

  // JSON has no infinity: `inf` in the output of --json would have stopped whoever reads it.
  @Test(arguments: [Double.infinity, -.infinity, .nan]) func `a number that JSON has not is printed as null`(
    real: Double
  ) {
    #expect(JSON.array([.real(real)]).text() == "[null]")
  }
}
