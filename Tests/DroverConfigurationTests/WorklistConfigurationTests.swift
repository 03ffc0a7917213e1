import DroverConfiguration
import DroverCore
import Testing

/// A table that the cloud refills with orders.
@Suite struct WorklistConfigurationTests {
  private func text(_ worklist: String, _ stream: String = "", key: String = "key: [mo_id], ") -> String {
    """
    machine: M
    database: a.db
    broker: mqtt://b
    streams:
      - {table: mo_batch, kind: batch, \(key)complete_when: "done = 1", \(stream)worklist: {\(worklist)}}
    """
  }

  @Test func `a worklist is read, with its defaults`() throws {
    let least = try edge(text("order_key: mo_id")).streams[0].worklist
    #expect(least == WorklistDeclaration(orderKey: "mo_id"))
    #expect(least?.interval == .seconds(300))
    let all = try edge(
      text(
        "order_key: MO_ID, interval: 15m, limit: 1000, number: batch_no, refill_when: finished, enabled: false, columns: {a: b, c: b}"
      )
    ).streams[0].worklist
    #expect(
      all
        == WorklistDeclaration(
          orderKey: "MO_ID", interval: .seconds(900), limit: 1000, number: "batch_no", refillWhen: .finished,
          isEnabled: false, fields: [.init(column: "a", field: "b"), .init(column: "c", field: "b")]))
    #expect(try edge(text("order_key: mo_id", key: "")).streams[0].worklist != nil)
    #expect(try edge(leastEdge).streams[0].worklist == nil)
  }

  @Test(arguments: [
    ("number: batch_no", "", "worklist.order_key: missing; it names the column with the order's key"),
    ("order_key: id", "", "worklist.order_key: the stream's key is mo_id, and the cloud knows an order by that"),
    ("order_key: mo_id", "synced_column: mo_id, ", "worklist.order_key: mo_id is `synced_column`"),
    ("order_key: mo_id, number: MO_ID", "", "worklist.number: MO_ID is `order_key`; the numbers begin with 1"),
    ("order_key: mo_id, number: s", "synced_column: S, ", "worklist.number: s is `synced_column`"),
    ("order_key: mo_id, columns: {Mo_id: x}", "", "worklist.columns: Mo_id is `order_key`, which takes the order's"),
    ("order_key: mo_id, number: n, columns: {N: x}", "", "worklist.columns: N is `number`, which counts"),
    ("order_key: mo_id, columns: {s: x}", "synced_column: s, ", "worklist.columns: s is `synced_column`"),
    ("order_key: mo_id, columns: {a: x, A: y}", "", "worklist.columns: A stands there twice"),
    ("order_key: mo_id, limit: 0", "", "worklist.limit: expected a whole number from 1 to 1000"),
    ("order_key: mo_id, interval: 0s", "", "worklist.interval: expected a duration in whole seconds from 1s to 1d"),
    ("order_key: mo_id, refill_when: full", "", "worklist.refill_when: expected one of empty, finished"),
    ("order_key: mo_id, refill: x", "", "unknown key `refill`"),
    ("order_key: mo_id", "with: [{table: l}], ", "worklist: a worklist does not go with `with`: an order is one row"),
    ("order_key: mo_id", "where: \"a = 1\", ", "worklist: a worklist does not go with `where`: the cloud knows what"),
    ("order_key: mo_id", "direction: both, ", "worklist: a worklist does not go with `direction: both`: rows would"),
  ])
  func `what cannot work is found in its place, with the reason`(worklist: String, stream: String, problem: String) {
    let found = problems(try edge(text(worklist, stream)))
    #expect(found.contains { $0.contains(problem) }, "\(found)")
  }

  @Test(arguments: [
    ("table: t, kind: snapshot", "does not go with `kind: snapshot`: an order is a unit of work"),
    ("name: t, kind: batch", "does not go with a stream without `table`: the orders are rows"),
    ("table: t, kind: batch", "does not go with a stream without `complete_when`: it says which"),
    ("table: t, kind: snapshot, identity: [a]", "does not go with `identity`: an order is the work of one machine"),
  ])
  func `a stream that has no such table is refused`(stream: String, problem: String) {
    let found = problems(
      try edge(
        "machine: M\ndatabase: a.db\nbroker: mqtt://b\nstreams:\n  - {\(stream), worklist: {order_key: mo_id}}"))
    #expect(found.contains { $0.contains("streams[0].worklist: a worklist \(problem)") }, "\(found)")
  }
}
