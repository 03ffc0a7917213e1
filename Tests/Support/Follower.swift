// Somebody who follows a store's change feed as a program would: page by page, of any size, at any moment, with what he has in a dictionary. In the
// end he has to have what the sink tables have.

package import DroverCore
import Testing

package struct Follower {
  private struct Identity: Hashable {
    var stream: StreamName
    var machine: String
    var key: [Value]
  }

  private let changes: any ChangeSession
  private let store: any CloudReader
  private var random: Seeded
  private var cursor: ChangeCursor?
  /// Rows as texts. A column that a table gets later is missing in older rows, and is NULL in the table: what is NULL is left out.
  private var rows: [Identity: String] = [:]
  /// How many puts and deletes he has heard of.
  package private(set) var heard = ChangeCounts()
  /// How often he had to begin again.
  package private(set) var beginnings = 0
  /// Puts of rows that he had already as they are.
  package private(set) var repeated = 0

  /// - Parameter store: reads the same store's tables.
  package init(_ changes: any ChangeReader, _ store: any CloudReader, seed: UInt64) throws {
    self.changes = try changes.open()
    self.store = store
    random = Seeded(seed)
  }

  /// Now and then some pages.
  package mutating func look() throws {
    for _ in 0..<random.below(3) { _ = try page(limit: 1 + random.below(4)) }
  }

  /// Reads to the end.
  package mutating func catchUp() throws {
    while try page(limit: 1 + random.below(50)) {}
  }

  /// Whether he has the store's rows, read to the end; and whether everybody who begins with nothing gets them.
  package mutating func expectStore(_ comment: @autoclosure () -> String = "") throws {
    try catchUp()
    let stored = try Self.rows(of: nil, in: store)
    #expect(Self.texts(rows) == Self.texts(stored), "\(comment())")
    for sink in try store.sinks() {
      let own = stored.filter { $0.key.stream == sink.stream }
      #expect(try Self.texts(fromNothing(sink.stream, nil)) == Self.texts(own), "\(comment())")
      for machine in Set(own.keys.map(\.machine)) {
        let ofMachine = own.filter { $0.key.machine == machine }
        #expect(try Self.texts(fromNothing(sink.stream, MachineID(machine))) == Self.texts(ofMachine), "\(comment())")
      }
    }
  }

  // MARK: Reading

  /// - Returns: whether there is more.
  private mutating func page(limit: Int) throws -> Bool {
    var count = 0
    var number = cursor?.number ?? 0
    do {
      let page = try changes.read(ChangeQuestion(after: cursor)) { change in
        try #require(change.cursor.number > number)
        number = change.cursor.number
        take(change)
        count += 1
        return count < limit
      }
      try #require(page.next.number >= number && count <= limit)
      // As it travels.
      cursor = ChangeCursor(page.next.text)
      try #require(cursor != nil)
      return page.hasMore
    } catch ChangesError.gone {
      try #require(cursor != nil)
      cursor = nil
      rows = [:]
      beginnings += 1
      return true
    }
  }

  private mutating func take(_ change: Change) {
    switch change.content {
    case .put(let row):
      heard.puts += 1
      let identity = Self.identity(row, change.sink)
      let text = Self.text(row, change.sink)
      if rows.updateValue(text, forKey: identity) == text { repeated += 1 }
    case .delete(let key):
      heard.deletes += 1
      rows[Identity(stream: change.sink.stream, machine: key.machine, key: key.key)] = nil
    }
  }

  /// Everything there is, page by page; deletes are nothing to somebody who begins with nothing.
  private mutating func fromNothing(_ stream: StreamName, _ machine: MachineID?) throws -> [Identity: String] {
    var question = ChangeQuestion(stream: stream, machine: machine)
    var rows: [Identity: String] = [:]
    var hasMore = true
    while hasMore {
      var left = 1 + random.below(20)
      let page = try changes.read(question) { change in
        guard case .put(let row) = change.content else {
          Issue.record("told of a delete: \(change)")
          return false
        }
        let isNew =
          rows.updateValue(Self.text(row, change.sink), forKey: Self.identity(row, change.sink)) == nil
        #expect(isNew)
        left -= 1
        return left > 0
      }
      question.after = page.next
      hasMore = page.hasMore
    }
    return rows
  }

  private static func rows(of stream: StreamName?, in store: any CloudReader) throws -> [Identity: String] {
    var rows: [Identity: String] = [:]
    try store.readRows(of: stream) { rows[identity($1, $0)] = text($1, $0) }
    return rows
  }

  private static func identity(_ row: SinkRow, _ sink: SinkDescription) -> Identity {
    let key: [Value] =
      switch row.content {
      case .values(let values): sink.schema!.keyValues(of: values)
      case .body(let localID, _, _): [.text(localID)]
      }
    return Identity(stream: sink.stream, machine: row.machine, key: key)
  }

  private static func texts(_ rows: [Identity: String]) -> [String] {
    rows.map { "\($0.key.stream) \($0.key.key) \($0.value)" }.sorted()
  }

  private static func text(_ row: SinkRow, _ sink: SinkDescription) -> String {
    let head = "\(row.machine) \(row.version) "
    guard case .values(let values) = row.content else { return head + "\(row.content)" }
    return head
      + zip(sink.schema!.columns, values).filter { $1 != .null }.map { "\($0.name)=\($1)" }.joined(separator: " ")
  }
}

/// A store whose every transaction is followed by a look at its change feed.
package final class FollowedStore: CloudStore {
  private let store: any CloudStore
  package var follower: Follower

  package init(_ store: any CloudStore, _ follower: Follower) {
    self.store = store
    self.follower = follower
  }

  package var isShared: Bool { store.isShared }

  package func note(_ name: String) throws -> String? { try store.note(name) }
  package func setNote(_ name: String, _ value: String?) throws { try store.setNote(name, value) }

  package func transaction<Result>(_ body: (any CloudTransaction) throws -> Result) throws -> Result {
    let result = try store.transaction(body)
    try follower.look()
    return result
  }
}
