/// One value of a row, as SQLite knows it. Text is bytes, because SQLite's text may hold any: NUL and invalid UTF-8
/// included; slices, because a decoded frame's values share the frame's bytes.
package enum Value: Hashable, Sendable {
  case null
  case integer(Int64)
  /// Never NaN: SQLite stores that as NULL. Compared by its bits, so that -0.0 is not 0.0.
  case real(Double)
  case text(ArraySlice<UInt8>)
  case blob(ArraySlice<UInt8>)

  package static func text(_ string: String) -> Value { .text(ArraySlice(string.utf8)) }

  package static func == (a: Value, b: Value) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.integer(let x), .integer(let y)): x == y
    case (.real(let x), .real(let y)): x.bitPattern == y.bitPattern
    case (.text(let x), .text(let y)): x == y
    case (.blob(let x), .blob(let y)): x == y
    default: false
    }
  }

  package func hash(into hasher: inout Hasher) {
    switch self {
    case .null: hasher.combine(0)
    case .integer(let integer): hasher.combine(integer)
    case .real(let real): hasher.combine(real.bitPattern)
    case .text(let bytes), .blob(let bytes): hasher.combine(bytes)
    }
  }
}
