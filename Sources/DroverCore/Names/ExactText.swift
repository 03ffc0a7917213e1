// A text that is compared by its bytes, as SQLite, PostgreSQL and the broker compare. To Swift two texts that look alike are one, `é` in one code
// point and in two; as names of streams and IDs of rows they are two, and a program that took one for the other would lose a row or a table.

package struct ExactText: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let text: String

  package init(_ text: String) { self.text = text }

  package var description: String { text }

  package static func == (a: Self, b: Self) -> Bool { a.text.isExactly(b.text) }
  package static func < (a: Self, b: Self) -> Bool { a.text.utf8.lexicographicallyPrecedes(b.text.utf8) }

  package func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}

extension String {
  /// Whether both have the same bytes.
  package func isExactly(_ other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}
