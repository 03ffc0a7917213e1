// Which rows of different machines are one and the same thing: a product is known by its barcode, whatever each shop's own key of it is.
// The edge declares it, the schema carries it, and the cloud's store matches by it.

package struct NaturalKey: Hashable, Sendable {
  /// A row in which none of these is NULL is known by their values. Never empty.
  package let columns: [String]
  /// Any other is known by the values of these, where not all of them are NULL; empty where there are none.
  package let fallback: [String]

  /// More columns than any thing is known by; a comparison of very many would be an expression too deep for a database.
  package static let maximumColumns = 32

  /// Throws when it names no column, too many, or one of them twice.
  package init(columns: [String], fallback: [String] = []) throws(InvalidName) {
    guard !columns.isEmpty else { throw InvalidName(message: "`identity` names at least one column") }
    for (names, what) in [(columns, "identity"), (fallback, "else")] {
      guard names.count <= Self.maximumColumns else {
        throw InvalidName(
          message: "`\(what)` names \(names.count) columns, and at most \(Self.maximumColumns) are taken")
      }
      guard Set(names.map(SQLName.init)).count == names.count else {
        throw InvalidName(message: "`\(what)` names a column twice")
      }
    }
    self.columns = columns
    self.fallback = fallback
  }

  package static func == (a: Self, b: Self) -> Bool {
    a.columns.map(ExactText.init) == b.columns.map(ExactText.init)
      && a.fallback.map(ExactText.init) == b.fallback.map(ExactText.init)
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(columns.map(ExactText.init))
    hasher.combine(fallback.map(ExactText.init))
  }

  /// The same with each name as the column bears it. Throws when a column is not there.
  package func resolved(among columns: [Column]) throws(InvalidName) -> NaturalKey {
    func resolve(_ names: [String], _ what: String) throws(InvalidName) -> [String] {
      var resolved: [String] = []
      for name in names {
        guard let column = columns.first(where: { SQLName($0.name) == SQLName(name) }) else {
          throw InvalidName(message: "no column \(name), which `\(what)` names, exists and travels")
        }
        resolved.append(column.name)
      }
      return resolved
    }
    return try NaturalKey(columns: resolve(self.columns, "identity"), fallback: resolve(fallback, "else"))
  }
}
