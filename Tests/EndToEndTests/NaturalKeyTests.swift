// Two shops bring the same products under keys of their own, with real processes: the cloud has one row for each, and what could be several
// is a dead letter until it can be only one.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct NaturalKeyTests {
  private static let streams = """
      - table: products
        kind: snapshot
        identity: [barcode_number]
        else: [brand, size, color]
    """
  private static let make = """
    db.execute("CREATE TABLE products (id INTEGER PRIMARY KEY, barcode_number TEXT, brand TEXT, size INT, color TEXT, price REAL)")
    """
  private static let everything =
    "SELECT machine_id, id, barcode_number, brand, size, color, price FROM products ORDER BY 1, 2"

  private struct Letters: Decodable {
    struct Letter: Decodable {
      var machine: String
      var detail: String
    }
    var letters: [Letter]
  }

  private func ambiguous(_ road: Road) async throws -> [Letters.Letter] {
    let outcome = try await Road.drover("dead", "list", "--config", road.cloudFile, "--reason", "ambiguous", "--json")
    return try JSONDecoder().decode(Letters.self, from: Data(outcome.output.utf8)).letters
  }

  /// Two shops that have brought their products to one cloud; the first one's road has the consumer.
  private func shops() async throws -> (first: Road, second: Road) {
    let first = try Road(streams: Self.streams)
    let second = try Road("MAH002", broker: first.broker, streams: Self.streams)
    try await first.python(
      Self.make + """

        db.execute("INSERT INTO products VALUES (1, '4006381', 'Stabilo', 1, 'blue', 1.5), (2, NULL, 'Nike', 42, NULL, 80), (3, '111', 'Puma', 40, 'red', 50)")
        """)
    try first.start(.cloud)
    try first.start(.edge)
    try await first.waitUntilConfirmed(atLeast: 3)
    try await second.python(
      Self.make + """

        db.execute("INSERT INTO products VALUES (71, '4006381', 'STABILO', 1, 'blue', 1.75), (72, NULL, 'Nike', 42, NULL, 75), (73, '222', 'Puma', 40, 'red', 51)")
        """)
    try second.start(.edge)
    try await second.waitUntilConfirmed(atLeast: 3)
    return (first, second)
  }

  @Test func `two shops' products are one row each, and an ambiguous one is taken once it can be only one`()
    async throws
  {
    let (first, second) = try await shops()
    let rows = [
      #"["MAH001", 1, "4006381", "STABILO", 1, "blue", 1.75]"#, #"["MAH001", 2, null, "Nike", 42, null, 75.0]"#,
      #"["MAH001", 3, "111", "Puma", 40, "red", 50.0]"#, #"["MAH002", 73, "222", "Puma", 40, "red", 51.0]"#,
    ]
    #expect(try await first.inCloud(Self.everything) == "[\(rows.joined(separator: ", "))]")
    #expect(try await ambiguous(first).isEmpty)

    // Without a barcode it may be the first shop's or the second's.
    try await first.python("db.execute(\"INSERT INTO products VALUES (4, NULL, 'Puma', 40, 'red', 49)\")")
    try await second.python("db.execute(\"INSERT INTO products VALUES (74, NULL, 'Puma', 40, 'red', 48)\")")
    for (road, count) in [(first, 4), (second, 4)] { try await road.waitUntilConfirmed(atLeast: count) }
    let letters = try await ambiguous(first)
    #expect(Set(letters.map(\.machine)) == ["MAH001", "MAH002"])
    #expect(letters.allSatisfy { $0.detail.contains("2 rows have its brand, size, color") }, "\(letters)")
    #expect(try await first.inCloud(Self.everything) == "[\(rows.joined(separator: ", "))]")
    // They are rows that the cloud lacks, and a repair cannot help that: it sends each of them twice, and each time it is a letter.
    let missing = try await Road.drover("check", "--config", first.cloudFile, "--repair")
    #expect(missing.status == 1 && missing.output.split(separator: "1 differs").count == 3, "\(missing.output)")
    for road in [first, second] { try await road.waitUntilConfirmed() }
    let refused = try await ambiguous(first)
    #expect(refused.count == 6)
    let early = try await Road.drover("dead", "replay", "--config", first.cloudFile, "--reason", "ambiguous")
    #expect((early.output + early.errors).contains("refused again"), "\(early)")

    // The second shop sells its own no longer. Its other one is the first shop's then, and the first shop cannot have that twice.
    try await second.python("db.execute('DELETE FROM products WHERE id = 73')")
    try await second.waitUntilConfirmed(atLeast: 5)
    _ = try await Road.drover("dead", "replay", "--config", first.cloudFile, "--reason", "ambiguous")
    let left = try await ambiguous(first)
    #expect(left.map(\.machine) == ["MAH001", "MAH001", "MAH001"])
    #expect(left.first?.detail.contains("the machine holds that under another key") == true, "\(left)")
    #expect(
      try await first.inCloud(Self.everything)
        == "[\(rows[0]), \(rows[1]), [\"MAH001\", 3, null, \"Puma\", 40, \"red\", 48.0]]")
    try await first.python("db.execute('DELETE FROM products WHERE id = 3')")
    try await first.waitUntilConfirmed(atLeast: 5)
    try await second.python("db.execute('DELETE FROM products WHERE id = 74')")
    try await second.waitUntilConfirmed(atLeast: 6)
    _ = try await Road.drover("dead", "replay", "--config", first.cloudFile, "--reason", "ambiguous")
    #expect(try await ambiguous(first).isEmpty)
    #expect(
      try await first.inCloud(Self.everything)
        == "[\(rows[0]), \(rows[1]), [\"MAH001\", 4, null, \"Puma\", 40, \"red\", 49.0]]")
    try await expectEqual(first)
  }

  private func expectEqual(_ road: Road, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    let check = try await Road.drover("check", "--config", road.cloudFile)
    #expect(check.status == 0, "\(check.output)", sourceLocation: sourceLocation)
  }

  @Test func `matched rows are compared, mended, brought again, restored and rebuilt`() async throws {
    let (first, second) = try await shops()
    let before = try await first.inCloud(Self.everything)
    try await expectEqual(first)

    // In the cloud behind Drover's back: the row of a thing, and what a machine holds.
    try await first.python(
      """
      db.execute("UPDATE products SET price = 0 WHERE id = 1")
      db.execute("DELETE FROM products WHERE id = 3")
      db.execute("UPDATE drover_held_products SET price = 7 WHERE id = 73")
      """, database: first.cloud)
    let differs = try await Road.drover("check", "--config", first.cloudFile)
    #expect(differs.status == 1 && differs.output.contains("2 differ") && differs.output.contains("1 differs"))
    let mended = try await Road.drover("check", "--config", first.cloudFile, "--repair")
    #expect(mended.status == 0, "\(mended.output)")
    #expect(try await first.inCloud(Self.everything) == before)

    let resync = try await Road.drover("resync", "--config", first.cloudFile, "--machine", "MAH001")
    #expect(resync.status == 0, "\(resync.errors)")
    try await first.waitUntilConfirmed()
    try await expectEqual(first)
    #expect(try await first.inCloud("SELECT count(*) FROM products") == "[[4]]")

    // Each machine's own rows come back, under its own keys.
    let restored = second.folder.file("restored.db")
    let restore = try await Road.drover(
      "restore", "--config", first.cloudFile, "--machine", "MAH002", "--to", restored)
    #expect(restore.status == 0, "\(restore.errors)")
    let own = "print(json.dumps(db.execute('SELECT * FROM products ORDER BY id').fetchall()))"
    #expect(try await second.python(own, database: restored) == second.python(own))

    first.end(.cloud)
    let rebuild = try await Road.drover("rebuild", "--config", first.cloudFile, "--yes")
    #expect(rebuild.status == 0, "\(rebuild.errors)")
    try first.start(.cloud)
    for road in [first, second] {
      try await road.wait(for: "a new epoch") { road.log(of: .edge).contains("a new epoch") }
      try await road.waitUntilConfirmed()
    }
    #expect(try await first.inCloud("SELECT count(*) FROM products") == "[[4]]")
    try await expectEqual(first)
  }
}
