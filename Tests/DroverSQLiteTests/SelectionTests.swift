import DroverCore
import DroverSQLite
import GRDB
import Testing

/// What of a table leaves the machine: columns, rows, and values as a hash.
@Suite struct SelectionTests {
  private static let people = """
    CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, secret, synced INT);
    INSERT INTO people VALUES (1, 'Ann', 40, 'a', 0), (2, 'Ben', 12, 'b', 0);
    """

  private func people(_ selection: Selection, kind: Kind = .snapshot, synced: String? = nil) throws -> StreamDeclaration
  {
    StreamDeclaration(name: try StreamName("people"), kind: kind, table: "people") {
      $0.syncedColumn = synced
      $0.selection = selection
    }
  }

  private func waiting(_ selection: Selection) throws -> [String] {
    let app = try AppDatabase(Self.people)
    let edge = try app.attach([people(selection)], settled: false)
    return try withExtendedLifetime(app) {
      try edge.bringAll()
      return try edge.waiting()
    }
  }

  private let adults = try! Condition(parsing: "AGE >= 18 AND secret <> 'x'")
  private let key = HashKey(bytes: Array("0123456789abcdef".utf8))

  @Test func `only chosen columns travel, and the key always`() throws {
    #expect(try waiting(Selection(include: ["NAME"])) == ["put 1: 1, 'Ann'", "put 2: 2, 'Ben'"])
    #expect(try waiting(Selection(exclude: ["secret", "synced", "age"])) == ["put 1: 1, 'Ann'", "put 2: 2, 'Ben'"])
  }

  @Test func `the app's flag is set also where it does not travel`() throws {
    let app = try AppDatabase(Self.people)
    let edge = try app.attach([people(Selection(include: ["name"]), synced: "synced")], settled: false)
    try edge.bringAll()
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT synced FROM people") == ["1", "1"])
    try app.run("UPDATE people SET synced = 0; UPDATE people SET name = 'Bo' WHERE id = 2")
    try #require(try edge.waiting() == ["put 2: 2, 'Bo'"])
  }

  @Test(arguments: [Kind.snapshot, .batch])
  func `a row that does not match, or no longer, is a delete`(kind: Kind) throws {
    let app = try AppDatabase(Self.people)
    let edge = try app.attach([people(Selection(exclude: ["age", "secret", "synced"], filter: adults), kind: kind)])
    try app.run("UPDATE people SET age = 20 WHERE id = 2; UPDATE people SET secret = 'x' WHERE id = 1")
    #expect(try edge.waiting() == ["put 2: 2, 'Ben'", "delete 1"])
    try app.run("UPDATE people SET secret = NULL")
    #expect(try edge.waiting() == ["delete 1", "delete 2"])
    try app.run("INSERT INTO people VALUES (3, 'Cy', 3, '', 0), (4, 'Di', 33, '', 0)")
    #expect(try edge.waiting() == ["delete 1", "delete 2", "delete 3", "put 4: 4, 'Di'"])
  }

  @Test func `a fact that does not match is not sent, nor kept when the app deletes it`() throws {
    let app = try AppDatabase(Self.people)
    let edge = try app.attach([people(Selection(include: ["name"], filter: adults), kind: .payload)])
    #expect(edge.streams[0].isFiltered)
    try app.run("INSERT INTO people VALUES (3, 'Cy', 3, '', 0), (4, 'Di', 33, '', 0)")
    try app.run("DELETE FROM people")
    #expect(try edge.waiting() == ["delete 3", "put 4: 4, 'Di'"])
    #expect(try app.lines("SELECT DISTINCT value FROM drover_kept ORDER BY 1") == ["4", "'Di'"])
  }

  @Test func `a row that does not travel is not called synced`() throws {
    let app = try AppDatabase(Self.people)
    let edge = try app.attach([people(Selection(filter: adults), synced: "synced")], settled: false)
    try edge.bringAll()
    try edge.acknowledgeAll()
    #expect(try app.lines("SELECT id, synced FROM people") == ["1, 1", "2, 0"])
  }

  // RFC 4231, test case 2, and `printf 40 | openssl dgst -sha256 -hmac 0123456789abcdef`.
  @Test func `a hashed value is its HMAC under the secret, NULL stays NULL, and equal values stay equal`() throws {
    let app = try AppDatabase(
      "CREATE TABLE people (id INTEGER PRIMARY KEY, a, n INTEGER); INSERT INTO people VALUES (1, 'what do ya want for nothing?', NULL)"
    )
    let jefe = try app.attach(
      [people(Selection(hashed: ["a", "n"], hashKey: HashKey(bytes: Array("Jefe".utf8))))], settled: false)
    try jefe.bringAll()
    #expect(
      try jefe.waiting() == ["put 1: 1, '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843', NULL"])
    #expect(jefe.streams[0].schema?.columns.map(\.declaredType) == ["INTEGER", "TEXT", "TEXT"])

    let other = try AppDatabase(
      "CREATE TABLE people (id INTEGER PRIMARY KEY, a, n INTEGER); INSERT INTO people VALUES (1, x'6869', 40), (2, 'hi', '40')"
    )
    let edge = try other.attach([people(Selection(hashed: ["a", "n"], hashKey: key))], settled: false)
    try edge.bringAll()
    let rows = try edge.everything().entries.map { entry -> [Value] in
      guard case .row(let values) = entry.content else { return [] }
      return Array(values[1...])
    }
    #expect(
      rows[0] == rows[1] && rows[0][1] == .text("5d35ee3a01e9832fdf166ef76f2636c8834394cf0879c5d9ff173918f677da31"))
  }

  @Test func `a fact that is kept or a dead letter is hashed once, when it is sent`() throws {
    let app = try AppDatabase(Self.people)
    let edge = try app.attach([people(Selection(include: ["name"], hashed: ["name"], hashKey: key), kind: .payload)])
    try app.run("INSERT INTO people VALUES (4, 'Di', 33, '', 0)")
    let sent = try edge.waiting()
    try app.run("DELETE FROM people WHERE id = 4")
    #expect(try edge.waiting() == sent)
    let seq = try edge.everything().entries[0].seq
    #expect(try edge.moveToDeadLetters(UnsendableEvent(stream: 1, seq: seq, reason: .tooLarge, detail: "", bytes: 1)))
    let letters = try EdgeDeadLetters(path: app.path, machine: MachineID("M"), readOnly: false)
    #expect(try letters.requeue(1) == .queued)
    #expect(try edge.waiting() == sent)
  }

  @Test func `another filter, hash or secret brings every row once more`() throws {
    let app = try AppDatabase(Self.people)
    var selections = [Selection(), Selection(filter: adults), Selection(hashed: ["name"], hashKey: key)]
    selections.append(Selection(hashed: ["name"], hashKey: HashKey(bytes: Array("another secret here".utf8))))
    for selection in selections {
      let edge = try app.attach([people(selection)], settled: false)
      #expect(edge.hasBackfill)
      try edge.bringAll()
      #expect(try app.attach([people(selection)], settled: false).hasBackfill == false)
    }
  }

  @Test(arguments: [
    (Selection(include: ["nam"]), "there is no column nam, which `include` names"),
    (Selection(exclude: ["nam"]), "there is no column nam, which `exclude` names"),
    (Selection(exclude: ["ID"]), "id is part of the key, and cannot be left out"),
    (Selection(hashed: ["id"], hashKey: HashKey(bytes: [1])), "id is part of the key, and cannot be hashed"),
    (Selection(exclude: ["name"], hashed: ["name"], hashKey: HashKey(bytes: [1])), "name does not travel"),
    (Selection(filter: try! Condition(parsing: "rowid = 1")), "there is no column rowid"),
  ])
  func `what cannot be selected is said when attaching`(selection: Selection, reason: String) throws {
    let app = try AppDatabase(Self.people)
    #expect(try app.refusal(people(selection)).contains(reason))
  }

  @Test func `the cloud cannot tell by a hash or a column that does not travel when a batch is complete`() throws {
    let app = try AppDatabase(Self.people)
    for selection in [Selection(hashed: ["name"], hashKey: key), Selection(exclude: ["name"])] {
      var declaration = try people(selection, kind: .batch)
      declaration.completeWhen = try Condition(parsing: "NAME = 'x'")
      #expect(try app.refusal(declaration).contains("people: "))
    }
  }

  @Test func `nothing that prints a secret shows it`() {
    let key = HashKey(bytes: Array("hunter2hunter2hunter2".utf8))
    var dumped = ""
    dump(Selection(hashed: ["a"], hashKey: key), to: &dumped)
    #expect(!"\(key) \(String(reflecting: key)) \(Selection(hashKey: key)) \(dumped)".contains("104, 117"))
  }
}
