// What a stream's rows look like: the columns as the source declares them and which of them are the key. The cloud makes
// the sink table of it; every frame names the schema it was written under.

package struct Column: Hashable, Sendable {
  package let name: String
  /// The declared type as it stands in the source's CREATE TABLE, e.g. `NVARCHAR(160)`; may be empty.
  package let declaredType: String
  /// SQLite's column affinity. Source: https://www.sqlite.org/datatype3.html, section 3.1.
  package let affinity: Affinity

  package init(name: String, declaredType: String) {
    self.name = name
    self.declaredType = declaredType
    affinity = Self.affinity(of: declaredType)
  }

  package static func == (a: Self, b: Self) -> Bool {
    a.name.isExactly(b.name) && a.declaredType.isExactly(b.declaredType)
  }

  package func hash(into hasher: inout Hasher) { ExactText(name).hash(into: &hasher) }

  private static func affinity(of declaredType: String) -> Affinity {
    // By bytes, and in upper case by ASCII alone, as SQLite compares.
    let type = declaredType.utf8.map { (0x61...0x7a).contains($0) ? $0 - 0x20 : $0 }
    func has(_ word: String) -> Bool {
      type.indices.contains { type[$0...].starts(with: word.utf8) }
    }
    if has("INT") { return .integer }
    if has("CHAR") || has("CLOB") || has("TEXT") { return .text }
    if has("BLOB") || type.isEmpty { return .blob }
    if has("REAL") || has("FLOA") || has("DOUB") { return .real }
    return .numeric
  }
}

/// Names one schema of a stream: 16 hexadecimal digits computed from its content.
package struct SchemaID: Hashable, Sendable, CustomStringConvertible {
  package let text: String
  package init(text: String) { self.text = text }
  package var description: String { text }

  package static func == (a: Self, b: Self) -> Bool { a.text.isExactly(b.text) }
  package func hash(into hasher: inout Hasher) { ExactText(text).hash(into: &hasher) }
}

package struct StreamSchema: Hashable, Sendable {
  package let kind: Kind
  package let columns: [Column]
  /// Positions in `columns` of the local key, in the key's own order; never empty.
  package let key: [Int]
  /// When a row is complete and never changes again; nil where no row ever is. Of a batch alone.
  package let completeWhen: Condition?
  /// The child tables whose rows travel with a row of this one. Of a batch alone.
  package let lines: [LineSchema]
  /// By what rows of different machines are matched in the cloud; nil where each machine's are its own. Of a snapshot alone.
  package let naturalKey: NaturalKey?
  /// Whether the last part of the key, `drover_life`, tells facts apart that bear one key of the source's, one after the other.
  package let tellsLives: Bool
  /// In which direction its rows travel.
  package let flow: Flow
  package let id: SchemaID

  /// The column that stands for SQLite's rowid where a table has no primary key of its own.
  package static let rowidColumn = "drover_rowid"

  /// The last part of a fact's key where its table has used keys again: empty for the first row of a key, a random mark for each later one.
  package static let lifeColumn = "drover_life"

  /// Columns of Drover's that are part of a row's key.
  package static let ownColumns: Set<SQLName> = [SQLName(rowidColumn), SQLName(lifeColumn)]

  /// Throws when no sink table could be made of it: no columns, no key, doubled or reserved names; or when its condition, lines or
  /// natural key do not fit.
  package init(
    kind: Kind, columns: [Column], key: [Int], completeWhen: Condition? = nil, lines: [LineSchema] = [],
    naturalKey: NaturalKey? = nil, flow: Flow = .up
  ) throws(InvalidName) {
    guard !columns.isEmpty else { throw InvalidName(message: "a table has at least one column") }
    guard !key.isEmpty, Set(key).count == key.count, key.allSatisfy(columns.indices.contains) else {
      throw InvalidName(message: "the key names one or more of the columns, each once")
    }
    var seen: Set<SQLName> = []
    for column in columns {
      let name = SQLName(column.name)
      guard !column.name.isEmpty, !column.name.utf8.contains(0) else {
        throw InvalidName(message: "a column has a name without NUL")
      }
      guard
        !name.text.utf8.starts(with: "drover_".utf8) || Self.ownColumns.contains(name)
      else {
        throw InvalidName(message: "the column name \(column.name) is reserved for Drover's own bookkeeping")
      }
      guard seen.insert(name).inserted else { throw InvalidName(message: "two columns are named \(column.name)") }
    }
    let life = columns.firstIndex { SQLName($0.name) == SQLName(Self.lifeColumn) }
    if let life {
      guard kind == .payload, columns[life] == Self.life, key.count > 1, key.last == life else {
        throw InvalidName(message: "\(Self.lifeColumn) is a text and the last part of a fact's key")
      }
    }
    guard completeWhen == nil || kind == .batch else {
      throw InvalidName(message: "only a batch can be complete, and this is a \(kind.rawValue)")
    }
    guard lines.isEmpty || kind == .batch else {
      throw InvalidName(message: "only a batch has lines, and this is a \(kind.rawValue)")
    }
    guard lines.allSatisfy({ $0.references.count == key.count }) else {
      throw InvalidName(message: "lines refer to the whole key of their header")
    }
    guard Set(lines.map { SQLName($0.table.text) }).count == lines.count else {
      throw InvalidName(message: "two tables of lines have the same name")
    }
    guard naturalKey == nil || kind == .snapshot else {
      throw InvalidName(message: "only a snapshot is matched by a natural key, and this is a \(kind.rawValue)")
    }
    tellsLives = life != nil
    self.flow = try flow.resolved(among: columns, kind: kind, hasLines: !lines.isEmpty, isMatched: naturalKey != nil)
    self.naturalKey = try naturalKey?.resolved(among: columns)
    self.lines = lines
    self.kind = kind
    self.columns = columns
    self.key = key
    self.completeWhen = try completeWhen?.resolved(among: columns)
    var hash = FNV1a()
    hash.combine(kind.rawValue)
    for column in columns {
      hash.combine(column.name)
      hash.combine(column.declaredType)
    }
    for index in key { hash.combine(columns[index].name) }
    if let completeWhen = self.completeWhen {
      hash.combine("drover_complete_when")  // no column has such a name
      hash.combine(completeWhen.text)
    }
    for line in lines {
      hash.combine("drover_with")
      hash.combine(line.table.text)
      hash.combine(line.rows.id.text)
      for index in line.references { hash.combine(line.rows.columns[index].name) }
    }
    if let naturalKey = self.naturalKey {
      hash.combine("drover_identity")
      for column in naturalKey.columns { hash.combine(column) }
      hash.combine("drover_else")
      for column in naturalKey.fallback { hash.combine(column) }
    }
    if self.flow != .up {
      hash.combine("drover_flow")
      for part in self.flow.parts { hash.combine(part) }
    }
    self.id = SchemaID(text: hash.hexadecimal)
  }

  /// The sink table's column for the machine: `machine_id`, but for a source that has a column of that name itself.
  package var machineColumn: String {
    columns.contains { SQLName($0.name) == SQLName("machine_id") } ? "drover_machine_id" : "machine_id"
  }

  // MARK: Lives of a key

  private static let life = Column(name: lifeColumn, declaredType: "TEXT")

  /// The key's positions without `drover_life`.
  package var sourceKey: ArraySlice<Int> { tellsLives ? key.dropLast() : key[...] }

  /// What a part of a key says of a row that is the first of its key.
  package static let firstLife = Value.text([])

  /// The schema with `drover_life` behind its columns. Described as it was: it keeps its id, because no machine has described this one.
  package func tellingLives() -> StreamSchema {
    guard !tellsLives else { return self }
    return StreamSchema(
      columns: columns + [Self.life], key: key + [columns.count], likeElse: self)
  }

  /// The schema of the source itself.
  package func notTellingLives() throws(InvalidName) -> StreamSchema {
    guard tellsLives else { return self }
    let life = key[key.count - 1]
    return try StreamSchema(
      kind: kind, columns: Array(columns[..<life] + columns[(life + 1)...]),
      key: sourceKey.map { $0 < life ? $0 : $0 - 1 })
  }

  /// The same rows as if they only went up: what is declared of the way down changes no value.
  package func goingUp() throws(InvalidName) -> StreamSchema {
    guard flow != .up else { return self }
    return try StreamSchema(
      kind: kind, columns: columns, key: key, completeWhen: completeWhen, lines: lines, naturalKey: naturalKey)
  }

  /// The ids of the schemas that differ from this one by `drover_life` at most, its own among them.
  package func idsButForLives() throws(InvalidName) -> [SchemaID] {
    guard kind == .payload else { return [id] }
    let plain = try notTellingLives()
    let wide = try StreamSchema(
      kind: kind, columns: plain.columns + [Self.life], key: plain.key + [plain.columns.count])
    return [plain.id, wide.id]
  }

  private init(columns: [Column], key: [Int], likeElse schema: StreamSchema) {
    self.columns = columns
    self.key = key
    kind = schema.kind
    completeWhen = schema.completeWhen
    lines = schema.lines
    naturalKey = schema.naturalKey
    flow = schema.flow
    tellsLives = true
    id = schema.id
  }

  /// The id is made of all the rest.
  package func hash(into hasher: inout Hasher) { hasher.combine(id) }

  package func keyValues<Row: RandomAccessCollection<Value>>(of row: Row) -> [Value] where Row.Index == Int {
    key.map { row[$0] }
  }
}

/// Fowler–Noll–Vo, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): the same on every machine and day; names things, guards nothing.
package struct FNV1a {
  package private(set) var state: UInt64 = 0xcbf2_9ce4_8422_2325

  package init() {}

  package mutating func combine(_ text: String) {
    combine(text.utf8)
    combine(CollectionOfOne(0))  // a separator, so that ("ab","c") is not ("a","bc")
  }

  package mutating func combine(_ bytes: some Swift.Sequence<UInt8>) {
    for byte in bytes { state = (state ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
  }

  package var hexadecimal: String {
    let digits = String(state, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
