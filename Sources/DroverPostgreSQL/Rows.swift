// What a statement gave, in binary. It is libpq's memory, and goes with this object; what is taken out of it is copied.

private import CPostgreSQL

package final class Rows {
  private let result: OpaquePointer

  init(_ result: OpaquePointer) { self.result = result }

  deinit { PQclear(result) }

  package var count: Int { Int(PQntuples(result)) }
  /// How many rows an INSERT, UPDATE or DELETE changed.
  package var changed: Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

  package func isNull(_ row: Int, _ column: Int) -> Bool { PQgetisnull(result, Int32(row), Int32(column)) != 0 }

  package func integer(_ row: Int, _ column: Int) -> Int64 {
    bytes(row, column).reduce(into: Int64(0)) { $0 = $0 << 8 | Int64($1) }
  }
  package func boolean(_ row: Int, _ column: Int) -> Bool { integer(row, column) != 0 }
  package func text(_ row: Int, _ column: Int) -> String { String(decoding: bytes(row, column), as: UTF8.self) }
  package func optionalText(_ row: Int, _ column: Int) -> String? { isNull(row, column) ? nil : text(row, column) }
  package func optionalInteger(_ row: Int, _ column: Int) -> Int64? {
    isNull(row, column) ? nil : integer(row, column)
  }

  /// The type of a column; nil for one that Drover makes none of.
  package func type(_ column: Int) -> TypeNumber? { TypeNumber(rawValue: PQftype(result, Int32(column))) }

  package func bytes(_ row: Int, _ column: Int) -> [UInt8] {
    let start = UnsafeRawPointer(PQgetvalue(result, Int32(row), Int32(column)))
    return Array(UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(result, Int32(row), Int32(column)))))
  }
}
