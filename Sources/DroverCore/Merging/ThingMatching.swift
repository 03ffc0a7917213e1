// Which rows of different machines are one thing, and what is ambiguous: docs/decisions/0016. A store brings the tables, here it is decided.
// The sink's row of a thing is made of what the machines hold of it now, so it does not depend on the order in which events came.

/// A row of a table in which machines hold rows of their own.
package struct RowKey: Hashable, Sendable {
  package var machine: Value
  package var local: [Value]

  package init(machine: Value, local: [Value]) {
    self.machine = machine
    self.local = local
  }
}

/// What a row is known by.
package struct Standing: Equatable, Sendable {
  package enum Known: Equatable, Sendable {
    case identity([Value])
    case fallback([Value])
    /// It is like no other.
    case nothing
  }

  /// nil: none yet.
  package let thing: Int64?
  package let known: Known
  /// Of the columns of `else`, where not all of them are NULL.
  package let fallback: [Value]?

  /// - Parameter takesPart: whether the machine's rows are matched with others'; where they are not, a row is like no other.
  package init(thing: Int64?, identity: [Value], fallback others: [Value], takesPart: Bool = true) {
    self.thing = thing
    guard takesPart else {
      (fallback, known) = (nil, .nothing)
      return
    }
    fallback = others.allSatisfy { $0 == .null } ? nil : others
    known = identity.contains(.null) ? fallback.map { .fallback($0) } ?? .nothing : .identity(identity)
  }
}

/// What the machines hold of a stream, and the sink that shows it.
package protocol ThingTables {
  /// nil where the machine holds no such row.
  func standing(of row: RowKey) throws -> Standing?
  /// The things of which a machine holds a row with these values of the natural key.
  func things(withIdentity values: [Value], besides thing: Int64) throws -> [Int64]
  /// The same with these values of the columns of `else`.
  /// - Parameter unidentified: only those of which no machine knows the natural key.
  func things(withFallback values: [Value], besides thing: Int64, unidentified: Bool) throws -> [Int64]
  func isHeld(_ thing: Int64, by machine: Value) throws -> Bool
  /// A number that no thing has.
  func nextThing() throws -> Int64
  func put(_ row: RowKey, in thing: Int64) throws
  /// Makes the sink's row of a thing what the machines hold of it; without a machine that holds it there is none.
  func refresh(_ thing: Int64) throws
  /// Takes the row out of the sink, where it stands for its thing.
  func hide(_ row: RowKey) throws
  /// Rows that have no thing yet, some of them, the oldest versions first.
  func unplaced() throws -> [RowKey]
}

package struct ThingMatching<Tables: ThingTables> {
  private let key: NaturalKey
  private let tables: Tables

  package init(key: NaturalKey, tables: Tables) {
    self.key = key
    self.tables = tables
  }

  /// Shows what a machine's event has changed in what it holds.
  /// - Parameters:
  ///   - isDelete: whether the row is gone.
  ///   - before: what the row was until then.
  /// - Returns: why it cannot be said which thing the row is, or nil.
  package func follow(_ row: RowKey, isDelete: Bool, before: Standing?) throws -> String? {
    guard !isDelete else {
      try tables.hide(row)
      if let thing = before?.thing { try tables.refresh(thing) }
      return nil
    }
    let now = try tables.standing(of: row)!
    if let thing = now.thing {
      if let before, now.known != before.known {
        let others = try things(knownBy: now.known, besides: thing).count
        guard others == 0 else {
          return "its \(names(now.known)) changed to those of \(others == 1 ? "another row" : "\(others) other rows")"
        }
      }
      try tables.refresh(thing)
      return nil
    }
    let found = try things(for: now)
    guard found.count <= 1 else { return "\(found.count) rows have its \(names(now.known))" }
    if let thing = found.first, try tables.isHeld(thing, by: row.machine) {
      return "1 row has its \(names(now.known)), and the machine holds that under another key"
    }
    try put(row, in: try found.first ?? tables.nextThing())
    return nil
  }

  /// Merges a group's events one by one. A thing that got another local key is a put of the new one and a delete of the old one, in either
  /// order: what is ambiguous is tried once more at the end.
  package func merge(
    _ events: [SinkEvent], _ one: (SinkEvent) throws -> MergeOutcome
  ) rethrows -> [MergeOutcome] {
    var outcomes = try events.map(one)
    for (index, event) in events.enumerated() {
      if case .refused(.ambiguous, _) = outcomes[index] { outcomes[index] = try one(event) }
    }
    return outcomes
  }

  /// Places every row that has no thing yet.
  package func placeAll() throws {
    while true {
      let rows = try tables.unplaced()
      guard !rows.isEmpty else { return }
      for row in rows {
        let found = try things(for: try tables.standing(of: row)!)
        let isOne = try found.count == 1 && !tables.isHeld(found[0], by: row.machine)
        try put(row, in: isOne ? found[0] : tables.nextThing())
      }
    }
  }

  /// The things that a row could be which is none yet. One that is not known by its identity so far may be what this one is: it would
  /// have been found from the other side too.
  private func things(for row: Standing) throws -> [Int64] {
    let known = try things(knownBy: row.known, besides: 0)
    guard known.isEmpty, case .identity = row.known, !key.fallback.isEmpty, let fallback = row.fallback else {
      return known
    }
    return try tables.things(withFallback: fallback, besides: 0, unidentified: true)
  }

  /// The things of which a machine holds a row with these values.
  private func things(knownBy known: Standing.Known, besides thing: Int64) throws -> [Int64] {
    switch known {
    case .identity(let values): try tables.things(withIdentity: values, besides: thing)
    case .fallback(let values): try tables.things(withFallback: values, besides: thing, unidentified: false)
    case .nothing: []
    }
  }

  private func put(_ row: RowKey, in thing: Int64) throws {
    try tables.put(row, in: thing)
    try tables.refresh(thing)
  }

  private func names(_ known: Standing.Known) -> String {
    if case .fallback = known { key.fallback.joined(separator: ", ") } else { key.columns.joined(separator: ", ") }
  }
}

extension NaturalKey {
  /// As a person reads it.
  package var words: String {
    columns.joined(separator: ", ") + (fallback.isEmpty ? "" : ", else by \(fallback.joined(separator: ", "))")
  }

  /// Why rows cannot be matched by this where another one is in force, which another machine declares.
  package func refusal(against present: NaturalKey, _ stream: StreamName) -> String {
    "its rows are matched by \(words), and those of the sink table \(stream) by \(present.words)"
  }
}
