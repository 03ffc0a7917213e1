// What a comparison asks about the way down.

package import DroverCore
import GRDB

extension SQLiteReplica {
  package func underway(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws -> [Bool] {
    try queue.read { database in
      let owner = stream.owner.text
      let edited = try Self.editedKeys(stream, among: Set(ids.map(\.key)), database)
      let received = try Self.received(stream, database)
      let number = try Statement(
        database, "SELECT number FROM drover_row WHERE machine_id = ?1 AND stream = ?2 AND local_id = ?3")
      number.bind(owner, at: 1)
      number.bind(stream.stream.text, at: 2)
      return try ids.map { key, localID in
        guard !edited.contains(key) else { return true }
        number.bind(localID, at: 3)
        defer { number.reset() }
        guard try number.step(), !number.isNull(0) else { return false }
        return !received.contains(number.integer(0))
      }
    }
  }

  private static func received(_ stream: ReplicatedStream, _ database: Database) throws -> IntervalSet {
    var received = IntervalSet()
    for row in try Row.fetchAll(
      database,
      sql: "SELECT after_seq, through_seq FROM drover_down_received WHERE machine_id = ? AND stream = ?",
      arguments: [stream.machine.text, stream.stream.text])
    {
      if let interval = Interval(believing: row["after_seq"], row["through_seq"]) { received.insert(interval) }
    }
    return received
  }

  package func received(_ stream: ReplicatedStream) throws -> IntervalSet {
    try queue.read { try Self.received(stream, $0) }
  }

  package func rowsDown(
    _ stream: ReplicatedStream, in received: IntervalSet, since before: IntervalSet
  ) throws -> Int {
    try queue.read { database in
      let numbers = try Statement(
        database, "SELECT number FROM drover_row WHERE stream = ?1 AND machine_id = ?2 AND number > ?3")
      numbers.bind(stream.stream.text, at: 1)
      numbers.bind(stream.owner.text, at: 2)
      numbers.bind(before.front, at: 3)
      var rows = 0
      while try numbers.step() {
        let number = numbers.integer(0)
        if received.contains(number), !before.contains(number) { rows += 1 }
      }
      return rows
    }
  }

  /// Those of the keys whose rows people have edited and the consumer has not looked at yet.
  private static func editedKeys(
    _ stream: ReplicatedStream, among keys: Set<[Value]>, _ database: Database
  ) throws -> Set<[Value]> {
    let columns = CloudTwoWay.keyColumns(stream.schema.key.count).joined(separator: ", ")
    let edits = try Statement(
      database, "SELECT \(columns) FROM drover_edit WHERE stream = ?1 AND machine_id = ?2 AND is_displaced = 0")
    edits.bind(stream.stream.text, at: 1)
    edits.bind(stream.owner.text, at: 2)
    var edited: Set<[Value]> = []
    while try edits.step() {
      let key = stream.schema.key.indices.map { edits.value(Int32($0)) }
      if keys.contains(key) { edited.insert(key) }
    }
    return edited
  }

  package func sendDown(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws {
    try queue.writeWithoutTransaction { database in
      try database.inTransaction(.immediate) {
        let columns = CloudTwoWay.keyColumns(stream.schema.key.count)
        // As if a person had edited the rows: the consumer gives them their numbers.
        let insert = try Statement(
          database,
          """
          INSERT INTO drover_edit (stream, machine_id, old_epoch, old_version, \(columns.joined(separator: ", ")))
          VALUES (?1, ?2, 0, 0, \(columns.indices.map { "?\($0 + 3)" }.joined(separator: ", ")))
          """)
        insert.bind(stream.stream.text, at: 1)
        insert.bind(stream.owner.text, at: 2)
        for (key, _) in ids {
          for (index, value) in key.enumerated() { insert.bind(value, at: Int32(index + 3)) }
          try insert.run()
        }
        return .commit
      }
    }
  }
}
