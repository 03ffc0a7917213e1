// The shop's promise with real processes: a receipt travels with its sales and payments, all or nothing, and stays as it was closed.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct WholeUnitTests {
  private static let receipts = """
      - table: receipts
        kind: batch
        complete_when: "closed = 1"
        with:
          - table: sales
            references: {receipt_id: id}
          - table: payments
    """

  @Test func `a receipt travels with its sales and payments, and is closed with them`() async throws {
    let road = try Road(streams: Self.receipts)
    try await road.python(
      """
      db.executescript('''
        CREATE TABLE receipts (id INTEGER PRIMARY KEY, closed INTEGER);
        CREATE TABLE sales (id INTEGER PRIMARY KEY, receipt_id INTEGER, item TEXT, price REAL);
        CREATE TABLE payments (id INTEGER PRIMARY KEY, receipt_id INTEGER REFERENCES receipts (id), sum REAL);
        INSERT INTO receipts VALUES (1, 0), (2, 0);
        INSERT INTO sales VALUES (1, 1, 'pen', 1.5), (2, 1, 'ink', 2.5), (3, 2, 'nib', 0.5);''')
      """)
    try road.start(.cloud)
    try road.start(.edge)
    try await road.waitUntilConfirmed(atLeast: 2)
    let sales = "SELECT machine_id, receipt_id, id, item FROM sales ORDER BY receipt_id, id"
    #expect(
      try await road.inCloud(sales)
        == #"[["MAH001", 1, 1, "pen"], ["MAH001", 1, 2, "ink"], ["MAH001", 2, 3, "nib"]]"#)

    // A line moves, one goes, the receipt is paid and closed, in one transaction.
    try await road.python(
      """
      db.executescript('''BEGIN;
        UPDATE sales SET receipt_id = 2 WHERE id = 2;
        DELETE FROM sales WHERE id = 3;
        INSERT INTO payments VALUES (1, 1, 1.5);
        UPDATE receipts SET closed = 1 WHERE id = 1;
        COMMIT;''')
      """)
    try await road.waitUntilConfirmed(atLeast: 4)
    let after = #"[["MAH001", 1, 1, "pen"], ["MAH001", 2, 2, "ink"]]"#
    #expect(try await road.inCloud(sales) == after)
    #expect(try await road.inCloud("SELECT receipt_id, sum FROM payments") == "[[1, 1.5]]")

    // What is closed stays, lines and all.
    try await road.python("db.execute('UPDATE sales SET item = \"cap\" WHERE id = 1')")
    try await road.waitUntilConfirmed(atLeast: 5)
    #expect(try await road.inCloud(sales) == after)
    #expect(
      try await road.inCloud("SELECT stream, reason, count FROM drover_dead_letter") == #"[["receipts", "frozen", 1]]"#)
    // A letter that is sent again has its lines with it, and is refused again.
    let replay = try await Road.drover("dead", "replay", "--config", road.cloudFile, "--reason", "frozen")
    #expect((replay.output + replay.errors).contains("refused again"), "\(replay)")

    let edge = try await Road.drover("status", "--config", road.edgeFile)
    #expect(edge.output.contains("batch with sales, payments"), "\(edge.output)")
    let cloud = try await Road.drover("status", "--config", road.cloudFile)
    #expect(cloud.output.contains("  with sales") && cloud.output.contains("  with payments"), "\(cloud.output)")

    try await road.python("db.execute('DELETE FROM receipts WHERE id = 2')")
    try await road.waitUntilConfirmed(atLeast: 6)
    #expect(try await road.inCloud(sales) == #"[["MAH001", 1, 1, "pen"]]"#)
  }
}
