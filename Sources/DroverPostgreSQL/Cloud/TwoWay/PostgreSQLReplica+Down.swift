// What a comparison asks about the way down.

package import DroverCore

extension PostgreSQLReplica {
  package func underway(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws -> [Bool] {
    try looking(at: stream) { source in
      let name = TwoWayTables.name(stream.stream)
      let places = source.rows.key.indices.map { "k\($0)" }.joined(separator: ", ")
      let given = source.rows.key.indices.map { "given.k\($0)" }.joined(separator: ", ")
      let arrays = source.rows.key.enumerated().map { "$\($0 + 5)::\(source.rows.columns[$1].type.name)[]" }
      let rows = try connection.query(
        """
        SELECT EXISTS (SELECT 1 FROM drover_edit AS edit WHERE edit.stream = $2 AND edit.machine_id = $1
                          AND edit.key = jsonb_build_array(\(given)))
            OR EXISTS (SELECT 1 FROM drover_row AS entry
                        WHERE entry.machine_id = $1 AND entry.stream = $2 AND entry.local_id = given.id AND entry.number IS NOT NULL
                          AND NOT EXISTS (SELECT 1 FROM drover_down_received AS received
                                           WHERE received.machine_id = $3 AND received.stream = $2
                                             AND received.after_seq < entry.number AND received.through_seq >= entry.number))
          FROM unnest($4::text[], \(arrays.joined(separator: ", "))) WITH ORDINALITY AS given (id, \(places), place)
         ORDER BY given.place
        """,
        [.text(stream.owner.text), .text(name), .text(stream.machine.text), .texts(ids.map(\.localID))]
          + source.rows.keyArrays(ids.map { source.key($0.key) }), isKept: false)
      return (0..<rows.count).map { rows.boolean($0, 0) }
    }
  }

  package func received(_ stream: ReplicatedStream) throws -> IntervalSet {
    try connection.looking {
      let noted = try connection.query(
        "SELECT after_seq, through_seq FROM drover_down_received WHERE machine_id = $1 AND stream = $2",
        [.text(stream.machine.text), .text(TwoWayTables.name(stream.stream))])
      var received = IntervalSet()
      for row in 0..<noted.count {
        if let interval = Interval(believing: noted.integer(row, 0), noted.integer(row, 1)) {
          received.insert(interval)
        }
      }
      return received
    }
  }

  package func rowsDown(
    _ stream: ReplicatedStream, in received: IntervalSet, since before: IntervalSet
  ) throws -> Int {
    try connection.looking {
      var rows = 0
      try connection.pieces(
        of: "SELECT number FROM drover_row WHERE stream = $1 AND machine_id = $2 AND number > $3",
        [.text(TwoWayTables.name(stream.stream)), .text(stream.owner.text), .integer(before.front)]
      ) { piece in
        for row in 0..<piece.count {
          let number = piece.integer(row, 0)
          if received.contains(number), !before.contains(number) { rows += 1 }
        }
      }
      return rows
    }
  }

  package func sendDown(_ stream: ReplicatedStream, ids: [(key: [Value], localID: String)]) throws {
    try connection.transaction {
      let source = try ReplicaSource(stream, in: place, connection)
      let places = source.rows.key.indices.map { "k\($0)" }.joined(separator: ", ")
      let given = source.rows.key.indices.map { "given.k\($0)" }.joined(separator: ", ")
      let arrays = source.rows.key.enumerated().map { "$\($0 + 3)::\(source.rows.columns[$1].type.name)[]" }
      // As if a person had edited the rows: the consumer gives them their numbers.
      try connection.query(
        """
        INSERT INTO drover_edit (stream, machine_id, key)
        SELECT $2, $1, jsonb_build_array(\(given))
          FROM unnest(\(arrays.joined(separator: ", "))) AS given (\(places))
        """,
        [.text(stream.owner.text), .text(TwoWayTables.name(stream.stream))]
          + source.rows.keyArrays(ids.map { source.key($0.key) }), operation: "write to", isKept: false)
      try connection.query("SELECT pg_notify('drover_edit', '')")
    }
  }
}
