// How many requests a client may make: a bucket for each client, which holds the requests of one second and fills again at that rate. The
// decision is a value: it has no clock.

struct RequestRate {
  /// More clients than a server of this kind has; beyond it, those that have waited longest are forgotten, whose buckets are full again or nearly so.
  private static let mostClients = 10_000

  private struct Bucket {
    /// When it would have been empty, had it always been filling.
    var emptyAt: Duration
  }

  private let perSecond: Int
  private var buckets: [String: Bucket] = [:]

  /// How many clients are remembered.
  var clients: Int { buckets.count }

  init(perSecond: Int) { self.perSecond = perSecond }

  /// Takes one request of a client. Returns nil, or how long the client has to wait.
  /// - Parameter now: of a clock that does not go back.
  mutating func take(_ client: String, now: Duration) -> Duration? {
    let pause = Duration.seconds(1) / perSecond
    let full = now - .seconds(1)
    var bucket = buckets[client] ?? Bucket(emptyAt: full)
    bucket.emptyAt = max(bucket.emptyAt, full) + pause
    guard bucket.emptyAt <= now else { return bucket.emptyAt - now }
    if buckets[client] == nil, buckets.count >= Self.mostClients { forgetOldest() }
    buckets[client] = bucket
    return nil
  }

  private mutating func forgetOldest() {
    let oldest = buckets.values.map(\.emptyAt).sorted()[Self.mostClients / 2]
    buckets = buckets.filter { $0.value.emptyAt > oldest }
  }
}
