// How two sides find out whether they hold the same rows without sending them: a digest for each row, and the sum of digests for each of
// many parts of a table. A row's part follows from its local ID, so that no side's order, collation or database decides it
// (docs/decisions/0010-parts-by-hash.md).

/// A 64-bit digest of values, the same on every machine. It finds accidents, and does not protect against attackers.
///
/// Mixing as in wyhash (https://github.com/wangyi-fudan/wyhash): a full multiplication, folded.
package struct Digest: Sendable {
  package private(set) var state: UInt64 = 0x9e37_79b9_7f4a_7c15

  package init() {}

  package init(of row: some Swift.Sequence<Value>) { for value in row { combine(value) } }

  package static func of(_ row: some Swift.Sequence<Value>) -> UInt64 { Digest(of: row).state }

  package static func of(localID: String) -> UInt64 {
    var digest = Digest()
    var localID = localID
    localID.withUTF8 { digest.combine(lent: .text(UnsafeRawBufferPointer($0))) }
    return digest.state
  }

  package mutating func combine(_ value: Value) { value.lend { combine(lent: $0) } }

  package mutating func combine(lent value: LentValue) {
    switch value {
    case .null: combineNull()
    case .integer(let integer): combine(integer)
    case .real(let real): combine(real)
    case .text(let bytes): combine(bytes, type: 4)
    case .blob(let bytes): combine(bytes, type: 5)
    }
  }

  // The type goes in with the value: 1, 1.0 and '1' are three values.
  package mutating func combineNull() { mix(1) }

  package mutating func combine(_ integer: Int64) {
    mix(2)
    mix(UInt64(bitPattern: integer))
  }

  package mutating func combine(_ real: Double) {
    mix(3)
    mix(real.bitPattern)
  }

  /// The rows of one child table, in whatever order.
  package mutating func combine(lines: [[Value]]) {
    var sum: UInt64 = 0
    for line in lines { sum &+= Digest.of(line) }
    combine(Int64(lines.count))
    combine(Int64(bitPattern: sum))
  }

  private mutating func combine(_ bytes: UnsafeRawBufferPointer, type: UInt64) {
    mix(type | UInt64(bytes.count) << 3)
    var offset = 0
    while offset + 8 <= bytes.count {
      mix(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
      offset += 8
    }
    guard offset < bytes.count else { return }
    var tail: UInt64 = 0
    for (shift, byte) in bytes[offset...].enumerated() { tail |= UInt64(byte) << (8 * UInt64(shift)) }
    mix(tail)
  }

  private mutating func mix(_ word: UInt64) {
    let product = (word ^ 0xa076_1d64_78bd_642f).multipliedFullWidth(by: state ^ 0xe703_7ed1_a0b4_28db)
    state = product.high ^ product.low ^ word
  }
}

/// What a set of rows comes to: equal sets have equal sums, in whatever order they are read.
package struct Fingerprint: Equatable, Sendable {
  package var rows = 0
  package var sum: UInt64 = 0

  package init(rows: Int = 0, sum: UInt64 = 0) {
    self.rows = rows
    self.sum = sum
  }

  /// - Parameters:
  ///   - id: the digest of the row's local ID.
  ///   - row: the digest of its values.
  package mutating func add(id: UInt64, row: UInt64) {
    rows += 1
    // Both go in: two rows that have exchanged their values are another set.
    var digest = Digest()
    digest.combine(Int64(bitPattern: id))
    digest.combine(Int64(bitPattern: row))
    sum &+= digest.state
  }
}

/// A table in 2^`bits` parts.
package struct Parts: Equatable, Sendable {
  package static let mostBits = 11

  package let bits: Int
  /// The parts that hold rows.
  package private(set) var fingerprints: [Int: Fingerprint] = [:]

  package init(bits: Int, fingerprints: [Int: Fingerprint] = [:]) {
    self.bits = bits
    self.fingerprints = fingerprints
  }

  /// As many bits as make parts of about 256 rows.
  package static func bits(rows: Int) -> Int {
    var bits = 0
    while bits < mostBits, rows >> bits > 256 { bits += 1 }
    return bits
  }

  /// - Parameter id: the digest of a local ID.
  package static func part(of id: UInt64, bits: Int) -> Int { bits == 0 ? 0 : Int(id >> (64 - UInt64(bits))) }

  package mutating func add(id: UInt64, row: UInt64) {
    fingerprints[Self.part(of: id, bits: bits), default: Fingerprint()].add(id: id, row: row)
  }

  package var rows: Int { fingerprints.values.reduce(0) { $0 + $1.rows } }

  /// The parts in which two sides differ.
  package func differing(from other: Parts) -> Set<Int> {
    Set(fingerprints.keys).union(other.fingerprints.keys).filter { fingerprints[$0] != other.fingerprints[$0] }
  }
}
