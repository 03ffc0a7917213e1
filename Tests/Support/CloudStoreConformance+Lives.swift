// Facts whose table uses keys again: one key of the source's, several facts in the cloud.

import DroverCore
import Testing

extension StreamSchema {
  /// The schema of a table with a key that was used again.
  static func lives(_ further: String...) -> StreamSchema {
    let plain = further.map { column in
      let parts = column.split(separator: " ", maxSplits: 1).map(String.init)
      return (parts[0], parts.count > 1 ? parts[1] : "")
    }
    let columns = [("id", "INTEGER")] + plain + [(lifeColumn, "TEXT")]
    return make(columns, key: [0, columns.count - 1], kind: .payload)
  }
}

extension CloudStoreConformance {
  static let lives: [Claim] = [
    Claim("facts of one key with different lives are different facts") { scene throws in
      let schema = StreamSchema.lives("a TEXT")
      #expect(try scene.adopt(schema, .stock) == nil)
      let sink = Sink.table(schema)
      #expect(try scene.merge(sink, .life(1, 1, "x", ""), .life(2, 1, "x", "f0")) == [.applied, .applied])
      #expect(try scene.merge(sink, .life(3, 1, "x", "f0"), .life(4, 1, "x", "")) == [.superseded, .superseded])
      #expect(try scene.merge(sink, .life(5, 1, "y", "f0")).map(\.refusal) == [.conflict])
      #expect(try scene.reader.rows(of: "stock").count == 2)
    },
    Claim("a table gets lives without losing a row, and rows from before are the first of their keys") { scene throws in
      let (old, new) = (StreamSchema.columns("a TEXT", kind: .payload), StreamSchema.lives("a TEXT"))
      #expect(try scene.adopt(old, .stock) == nil)
      try scene.merge(.table(old), .put(1, 1, "x"), .put(2, 2, "y"))
      try scene.merge(.table(old, machine: .b), .put(1, 1, "of b"))
      #expect(try scene.adopt(new, .stock) == nil)
      #expect(
        try scene.merge(.table(new), .life(3, 1, "x", ""), .life(4, 1, "z", "f0")) == [.superseded, .applied])
      #expect(
        try scene.lines(.stock) == [
          "id=1 a=of b drover_life= machine_id=MAH002 drover_version=1",
          "id=1 a=x drover_life= machine_id=MAH001 drover_version=1",
          "id=1 a=z drover_life=f0 machine_id=MAH001 drover_version=4",
          "id=2 a=y drover_life= machine_id=MAH001 drover_version=2",
        ])
    },
    Claim("in a table with lives machines and frames without them go on") { scene throws in
      let (old, new) = (StreamSchema.columns("a TEXT", kind: .payload), StreamSchema.lives("a TEXT"))
      #expect(try scene.adopt(new, .stock) == nil)
      try scene.merge(.table(new), .life(1, 1, "x", ""), .life(2, 1, "y", "f0"))
      #expect(try scene.adopt(old, .stock, machine: .b) == nil)
      let sink = Sink.table(old, machine: .b)
      #expect(try scene.merge(sink, .put(1, 1, "b"), .put(2, 2, "b")) == [.applied, .applied])
      #expect(try scene.merge(sink, .put(3, 1, "b")) == [.superseded])
      #expect(try scene.merge(sink, .put(4, 1, "c")).map(\.refusal) == [.conflict])
      // A frame of the machine itself from before, and its schema once more.
      #expect(try scene.merge(.table(old), .put(5, 1, "x")) == [.superseded])
      #expect(try scene.adopt(old, .stock) == nil)
      #expect(try scene.merge(.table(old), .put(6, 3, "z")) == [.applied])
      #expect(try scene.reader.rows(of: "stock").filter { $0["drover_life"] == "" }.count == 4)
    },
    Claim("lives alone are no other schema, and a column that comes later fills rows of every life") { scene throws in
      let (old, new) = (StreamSchema.columns("a TEXT", kind: .payload), StreamSchema.lives("a TEXT"))
      for schema in [old, new, old] { #expect(try scene.adopt(schema, .stock) == nil) }
      try scene.merge(.table(old), .put(1, 1, "x"))
      try scene.merge(.table(new), .life(2, 1, "y", "f0"))
      #expect(try !scene.reader.columns(of: "stock").contains(TableShape.schemaColumn))
      let later = StreamSchema.make(
        [("id", "INTEGER"), ("a", "TEXT"), ("b", "INT"), (StreamSchema.lifeColumn, "TEXT")], key: [0, 3], kind: .payload
      )
      #expect(try scene.adopt(later, .stock) == nil)
      let outcomes = try scene.merge(
        .table(later), .row(3, [1, "x", 5, ""], key: [1, ""]), .row(4, [1, "y", 6, "f0"], key: [1, "f0"]),
        .row(5, [1, "z", 7, "f0"], key: [1, "f0"]))
      #expect(outcomes.prefix(2) == [.applied, .applied])
      #expect(outcomes.last?.refusal == .conflict)
      #expect(try Set(scene.reader.rows(of: "stock").map { $0["b"] }) == [5, 6])
    },
    Claim("a key of several columns gets lives too, and another key waits as ever") { scene throws in
      func schema(_ key: [Int], lives: Bool) -> StreamSchema {
        let columns =
          [("shop", "INT"), ("nr", "INT"), ("a", "TEXT")] + (lives ? [(StreamSchema.lifeColumn, "TEXT")] : [])
        return .make(columns, key: key + (lives ? [3] : []), kind: .payload)
      }
      #expect(try scene.adopt(schema([0, 1], lives: false), .stock) == nil)
      try scene.merge(.table(schema([0, 1], lives: false)), .row(1, [1, 2, "x"], key: [1, 2]))
      #expect(try scene.adopt(schema([0, 1], lives: true), .stock) == nil)
      #expect(
        try scene.merge(.table(schema([0, 1], lives: true)), .row(2, [1, 2, "y", "f0"], key: [1, 2, "f0"])) == [
          .applied
        ])
      #expect(try scene.adopt(schema([0], lives: true), .stock)?.contains("its key is") == true)
      #expect(try scene.adopt(schema([1], lives: false), .stock)?.contains("its key is") == true)
      #expect(try scene.reader.rows(of: "stock").count == 2)
    },
  ]
}

extension SinkEvent {
  static func life(_ version: Int64, _ id: Int64, _ a: Value, _ life: Value) -> SinkEvent {
    row(version, [.integer(id), a, life], key: [.integer(id), life])
  }
}
