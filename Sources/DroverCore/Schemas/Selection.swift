// What of a captured table leaves the machine: which columns, which rows, and which values only as a hash.

/// What the configuration says of it.
package struct Selection: Equatable, Sendable {
  /// The columns that travel, besides the key; nil: all.
  package var include: [String]?
  /// The columns that do not.
  package var exclude: [String]
  /// Rows of which it does not hold do not travel; to the cloud they are deleted.
  package var filter: Condition?
  /// The columns whose values travel as a hash under `hashKey`.
  package var hashed: [String]
  package var hashKey: HashKey?

  package init(
    include: [String]? = nil, exclude: [String] = [], filter: Condition? = nil, hashed: [String] = [],
    hashKey: HashKey? = nil
  ) {
    self.include = include
    self.exclude = exclude
    self.filter = filter
    self.hashed = hashed
    self.hashKey = hashKey
  }

  package struct ChosenColumn {
    /// Among the table's columns.
    package let position: Int
    package let column: Column
    package let isHashed: Bool
  }

  /// The columns that travel, as they do: a hash is a text.
  /// - Throws: when it names a column that is not there, or takes the key away.
  package func choose(
    from columns: [Column], key: [Int], completeWhen: Condition?
  ) throws(InvalidName) -> [ChosenColumn] {
    func positions(_ names: [String], _ what: String) throws(InvalidName) -> Set<Int> {
      var positions: Set<Int> = []
      for name in names {
        guard let position = columns.firstIndex(where: { SQLName($0.name) == SQLName(name) }) else {
          throw InvalidName(message: "there is no column \(name), which `\(what)` names")
        }
        positions.insert(position)
      }
      return positions
    }
    let keySet = Set(key)
    let excluded = try positions(exclude, "exclude")
    let hashed = try positions(hashed, "hash")
    let chosen = try include.map { names throws(InvalidName) in try positions(names, "include").union(keySet) }
    for (set, what) in [(excluded, "left out"), (hashed, "hashed")] {
      if let position = set.intersection(keySet).min() {
        throw InvalidName(message: "\(columns[position].name) is part of the key, and cannot be \(what)")
      }
    }
    let travelling = (chosen ?? Set(columns.indices)).subtracting(excluded)
    if let position = hashed.subtracting(travelling).min() {
      throw InvalidName(message: "\(columns[position].name) does not travel, so it needs no hash")
    }
    let names = Set(hashed.map { SQLName(columns[$0].name) })
    if let name = completeWhen?.columns.first(where: { names.contains(SQLName($0)) }) {
      throw InvalidName(message: "\(name) travels as a hash, so the cloud could not tell when a row is complete")
    }
    return columns.indices.filter(travelling.contains).map { position in
      let isHashed = hashed.contains(position)
      let column = columns[position]
      return ChosenColumn(
        position: position, column: isHashed ? Column(name: column.name, declaredType: "TEXT") : column,
        isHashed: isHashed)
    }
  }
}
