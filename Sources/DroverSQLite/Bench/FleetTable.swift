// The rows that a simulated fleet makes: each by a rule from its machine's number and its ID, so that the cloud's can be held against it.

package import DroverCore
import GRDB

package enum FleetTable {
  package static let name = "reading"
  package static let schema = try! StreamSchema(
    kind: .snapshot,
    columns: [
      ("id", "INTEGER"), ("measured_at", "TEXT"), ("sensor", "TEXT"), ("temperature", "REAL"), ("humidity", "REAL"),
      ("cycles", "INTEGER"), ("is_alarm", "INTEGER"), ("note", "TEXT"),
    ].map { DroverCore.Column(name: $0.0, declaredType: $0.1) }, key: [0])

  /// A row's values, about 200 bytes as JSON.
  package static func values(of id: Int64, machine: Int) -> [Value] {
    let seed = id + Int64(machine) * 104_729
    return [
      .integer(id), .text(Timestamp.text(microseconds: 1_795_000_000_000_000 + seed * 100_000)),
      .text("press-\(seed % 40)/bearing"), .real(18 + Double(seed % 900) / 100),
      seed % 7 == 0 ? .null : .real(Double(seed * 31 % 1000) / 10), .integer(seed * 7919 % 1_000_000),
      .integer(seed % 500 == 0 ? 1 : 0),
      .text("checked by operator \(seed % 100), nothing unusual was heard or seen on the line"),
    ]
  }

  /// What became of the rows that machines made.
  package struct Comparison: Equatable, Sendable {
    /// Not in the cloud as they were made.
    package var lost = 0
    /// In the cloud without having been made, or applied more than once.
    package var doubled = 0
  }

  /// Holds the cloud's rows against what machines made.
  /// - Parameters:
  ///   - path: the cloud's database.
  ///   - machines: their place is their number.
  ///   - made: how many rows each made; their IDs begin with 1.
  package static func compare(path: String, machines: [MachineID], made: Int64) throws -> Comparison {
    var configuration = Configuration()
    configuration.readonly = true
    configuration.busyMode = .timeout(10)
    return try DatabaseQueue(path: path, configuration: configuration).inDatabase { database in
      let names = schema.columns.map { quoted($0.name) }.joined(separator: ", ")
      let select = try Statement(database, "SELECT \(names) FROM \(name) WHERE machine_id = ?1")
      var right = 0
      for (number, machine) in machines.enumerated() {
        select.reset()
        select.bind(machine.text, at: 1)
        while try select.step() {
          let id = select.integer(0)
          let row = schema.columns.indices.map { select.value(Int32($0)) }
          if id >= 1, id <= made, row == values(of: id, machine: number) { right += 1 }
        }
      }
      let present = try Int.fetchOne(database, sql: "SELECT count(*) FROM \(name)")!
      let applied = try Int.fetchOne(
        database, sql: "SELECT sum(applied) FROM drover_progress WHERE stream = ?", arguments: [name])!
      let all = machines.count * Int(made)
      return Comparison(lost: all - right, doubled: present - right + max(0, applied - all))
    }
  }
}
