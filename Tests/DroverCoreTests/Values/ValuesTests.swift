import DroverCore
import Testing

@Suite struct ValuesTests {
  private static let row: [Value] = [
    .text(""), .null, .integer(.min), .real(-0.0), .text("é"), .blob([]), .blob([0, 255]), .real(.infinity),
  ]

  @Test("rows that share a store are what was put in, however much came after them")
  func shared() {
    let store = ValueStore()
    var rows: [(values: Values, wanted: [Value])] = []
    for number in 0..<1000 {
      let wanted = Self.row + [.integer(Int64(number)), .text(String(repeating: "x", count: number))]
      let first = store.count
      for value in wanted { store.append(value) }
      rows.append((store.values(from: first), wanted))
    }
    for row in rows { #expect(Array(row.values) == row.wanted) }
  }

  @Test("a row is equal to one of another store, value for value and bit for bit")
  func equality() {
    let row = Values(Self.row)
    #expect(row == Values(Self.row))
    #expect(Set([row, Values(Self.row)]).count == 1)
    #expect(([] as Values).isEmpty)
    for (position, other) in [
      (0, Value.blob([])), (1, .integer(0)), (2, .real(Double(Int64.min))), (3, .real(0)), (4, .text("e")),
      (6, .blob([0])), (7, .null),
    ] {
      var changed = Self.row
      changed[position] = other
      #expect(row != Values(changed))
    }
    #expect(row != Values(Self.row.dropLast()))
  }

  @Test("what is lent is what is copied")
  func lending() {
    let row = Values(Self.row)
    var seen: [Value] = []
    row.lendEach { position, value in
      #expect(position == seen.count)
      seen.append(Value(value))
    }
    #expect(seen == Self.row)
    #expect(row.indices.map { row.lend($0) { Value($0) } } == Self.row)
  }

  @Test("the digest of a lent value is that of the value")
  func digests() {
    var lent = Digest()
    Values(Self.row).lendEach { lent.combine(lent: $1) }
    #expect(lent.state == Digest.of(Self.row))
  }
}
