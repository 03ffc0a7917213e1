// Whether another client takes the session again and again. A broker may say so; others close the connection, soon after it began. A broker that
// restarts, or a network that comes and goes, seldom does so this often. The decision is a value.

package struct SessionWatch: Sendable {
  /// So many within this time are no accident.
  private static let most = 3
  private static let memory: Int64 = 600_000_000
  /// A connection that ends within this time of its beginning, without a word of the broker's, may have been taken over.
  private static let soon: Int64 = 60_000_000

  private var openedAt: Int64?
  private var times: [Int64] = []
  /// How often, since the first that counts.
  private var count = 0
  private var since: Int64 = 0

  package init() {}

  package mutating func opened(now: Int64) { openedAt = now }

  /// - Parameters:
  ///   - isTaken: the broker said that another client has the session; nil where it closed the connection without a word.
  ///   - now: microseconds.
  /// - Returns: what is wrong, where that is no accident any more.
  package mutating func closed(isTaken: Bool?, now: Int64) -> Trouble? {
    defer { openedAt = nil }
    guard isTaken ?? openedAt.map({ now - $0 < Self.soon }) ?? false else { return nil }
    if let last = times.last, now - last > Self.memory { (times, count) = ([], 0) }
    if times.isEmpty { since = now }
    times.append(now)
    count += 1
    times = times.suffix(Self.most)
    guard times.count == Self.most, now - times[0] <= Self.memory else { return nil }
    return Trouble(.session, since: since, last: now, count: count)
  }

  /// Whether another client has taken the session within some microseconds.
  package func wasTaken(within span: Int64, now: Int64) -> Bool { times.last.map { now - $0 <= span } ?? false }
}
