// What every store of the edge must hold: the claims are written once against the roles of `EdgeStore`, and the tests of each implementation run
// all of them. What the app does, and what it sees, goes past the store.

package import DroverCore
import Testing

/// The app's database, and the agent's way to it.
package protocol EdgeApp: AnyObject {
  /// Runs the app's statements on a connection of its own.
  func run(_ sql: String) throws
  /// The one integer that a query gives, for the app.
  func integer(_ sql: String) throws -> Int
  /// Opens the store, as each start of the agent does; the one before is over.
  func open(_ streams: [StreamDeclaration], letters: DeadLetterBounds) throws -> any EdgeStore
}

package struct EdgeStoreConformance {
  /// One claim; its name is the sentence that the test's output shows.
  package struct Claim: Sendable, CustomTestStringConvertible {
    package let name: String
    fileprivate let schema: String
    fileprivate let check: @Sendable (Scene) throws -> Void

    init(
      _ name: String, _ schema: String = "CREATE TABLE t (id INTEGER PRIMARY KEY, v, synced INT DEFAULT 0)",
      check: @escaping @Sendable (Scene) throws -> Void
    ) {
      self.name = name
      self.schema = schema
      self.check = check
    }

    package var testDescription: String { name }
  }

  /// Role by role.
  package static let claims = capturedStreams + epochs + outbox + backfill + comparedRows + health

  private let makeApp: () throws -> any EdgeApp

  /// - Parameter makeApp: makes an app with an empty database, which lives until the claim is checked.
  package init(makeApp: @escaping () throws -> any EdgeApp) { self.makeApp = makeApp }

  package func check(_ claim: Claim) throws {
    let app = try makeApp()
    try app.run(claim.schema)
    try claim.check(Scene(app: app))
  }

  /// An app, with the words that claims are written in.
  struct Scene {
    let app: any EdgeApp

    func open(_ streams: StreamDeclaration..., letters: DeadLetterBounds = DeadLetterBounds()) throws -> any EdgeStore {
      try app.open(streams, letters: letters)
    }

    /// Opened, and what was there before is confirmed.
    func settled(_ streams: StreamDeclaration...) throws -> any EdgeStore {
      let store = try app.open(streams, letters: DeadLetterBounds())
      while try store.backfill(limit: 1000) {}
      let last = try all(store).lastSeq
      for stream in store.streams where last > 0 { try confirm(store, 1, last, stream: stream.number) }
      return store
    }

    func all(_ store: any EdgeStore) throws -> OutboxRead {
      try store.read(.fresh(after: 0, through: .max, limit: 1000), maximumBytes: .max)
    }

    /// What waits for the broker: `1: 7 a`, or `2: 7 gone`, with the sequence number first.
    func waiting(_ store: any EdgeStore) throws -> [String] { try all(store).entries.map(Self.line) }

    func acknowledge(_ store: any EdgeStore, _ first: Int64, _ last: Int64, stream: Int = 1) throws {
      var settlement = Settlement()
      settlement.synced[stream] = IntervalSet([Interval(after: first - 1, through: last)])
      try store.settle(settlement)
    }

    /// - Parameter front: up to where everything is confirmed.
    func confirm(
      _ store: any EdgeStore, _ first: Int64, _ last: Int64, front: Int64? = nil, stream: Int = 1
    ) throws {
      var settlement = Settlement()
      settlement.confirmed[stream] = IntervalSet([Interval(after: first - 1, through: last)])
      settlement.fronts[stream] = front ?? last
      try store.settle(settlement)
    }

    static func line(_ entry: OutboxEntry) -> String {
      let key = (0..<entry.key.count).map { text(entry.key[$0]) }.joined(separator: ",")
      return switch entry.content {
      case .none: "\(entry.seq): \(key) gone"
      case .json(let body): "\(entry.seq): \(key) \(String(decoding: body, as: UTF8.self))"
      case .row(let row): "\(entry.seq): \(key) \(text(row[1]))"
      }
    }

    static func text(_ value: Value) -> String {
      switch value {
      case .null: "NULL"
      case .integer(let integer): "\(integer)"
      case .real(let real): "\(real)"
      case .text(let bytes), .blob(let bytes): String(decoding: bytes, as: UTF8.self)
      }
    }
  }
}

// MARK: The words of the claims

extension StreamDeclaration {
  /// Of the table with its name.
  static func table(
    _ name: String, _ kind: Kind = .snapshot, set: (inout StreamDeclaration) -> Void = { _ in }
  ) -> StreamDeclaration {
    StreamDeclaration(name: .named(name), kind: kind, table: name, set: set)
  }

  /// Fed through the intake.
  static func fed(_ name: String) -> StreamDeclaration { StreamDeclaration(name: .named(name), kind: .payload) }
}
