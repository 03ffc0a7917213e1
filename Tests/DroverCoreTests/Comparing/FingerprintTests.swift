import DroverCore
import DroverTesting
import Testing

@Suite(.ownThread) struct FingerprintTests {
  private func parts(_ rows: [(id: String, values: [Value])], bits: Int) -> Parts {
    var parts = Parts(bits: bits)
    for row in rows { parts.add(id: Digest.of(localID: row.id), row: Digest.of(row.values)) }
    return parts
  }

  private let rows = (0..<1000).map { (id: "\($0)", values: [Value.integer($0), .text("name \($0)"), .real(0.5)]) }

  @Test func `the order in which rows are read makes no difference`() {
    for bits in [0, 3, 11] { #expect(parts(rows, bits: bits) == parts(rows.reversed(), bits: bits)) }
  }

  @Test func `one row more, less or otherwise shows in its part, and only there`() {
    for index in rows.indices {
      let part = Parts.part(of: Digest.of(localID: rows[index].id), bits: 6)
      var without = rows
      without.remove(at: index)
      #expect(parts(without, bits: 6).differing(from: parts(rows, bits: 6)) == [part])
      var other = rows
      other[index].values[1] = .text("name \(index) ")
      #expect(parts(other, bits: 6).differing(from: parts(rows, bits: 6)) == [part])
    }
  }

  @Test func `two rows that exchange their values are found`() {
    var exchanged = rows
    exchanged[3].values = rows[4].values
    exchanged[4].values = rows[3].values
    #expect(parts(exchanged, bits: 0) != parts(rows, bits: 0))
  }

  @Test func `values that print alike have other digests`() {
    let alike: [Value] = [
      .null, .integer(1), .real(1), .text("1"), .blob([0x31]), .integer(0), .real(0), .real(-0.0), .text(""), .blob([]),
      .text("a\0"), .text("a"), .text("12345678"), .text("12345678\0"), .integer(.min), .integer(.max),
    ]
    #expect(Set(alike.map { Digest.of([$0]) }).count == alike.count)
    #expect(Digest.of([.text("ab"), .text("c")]) != Digest.of([.text("a"), .text("bc")]))
    #expect(Digest.of([.null]) != Digest.of([.null, .null]))
  }

  // Whoever changes it makes old and new versions take every row for drift.
  @Test func `a digest is the same on every machine and day`() {
    #expect(Digest.of([.integer(7), .text("Käse"), .real(-0.0), .null, .blob([0xff, 0x00])]) == 0xedcf_ae7b_02a6_4a10)
  }

  @Test func `a table has parts of about 256 rows, and at most 2048 of them`() {
    #expect([0, 256, 257, 1000, 100_000, 1_000_000].map(Parts.bits) == [0, 0, 1, 2, 9, 11])
    #expect(Set(rows.map { Parts.part(of: Digest.of(localID: $0.id), bits: 4) }) == Set(0..<16))
  }
}
