/// Another program has locked the store as a whole: every stream of every machine waits until it lets go.
package struct StoreLock: Equatable, Sendable {
  /// Who holds it, as the system tells it: `process 812 (sqlite3)`.
  package var holder: String
  /// When it was met first, microseconds since 1970.
  package var since: Int64

  package init(holder: String, since: Int64) {
    self.holder = holder
    self.since = since.clamped(to: Bounds.time)
  }

  package var text: String { "the store is locked by \(holder), and every stream waits at its machine" }

  package static let advice =
    "end that program or its open transaction (BEGIN without COMMIT); nothing is lost meanwhile, and the streams go on by themselves"
}
