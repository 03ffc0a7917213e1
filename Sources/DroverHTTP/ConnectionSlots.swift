// Which connections a server keeps when more come than it has room for. A connection without a known token is never in the way of another:
// it gives its place up. The decision is a value: it has no clock and no network.

struct ConnectionSlots {
  /// What a new connection may be used for.
  enum Admission: Equatable {
    case full
    /// There is no room left but for open paths, such as the health.
    case openPathsOnly
  }

  struct Limits {
    /// Connections of all clients.
    var all: Int
    /// Connections of one address.
    var perAddress: Int
    /// Connections beyond either limit, for open paths alone.
    var reserve: Int
  }

  private struct Connection {
    let address: String
    var admission: Admission
    /// Whether one of its requests had a known token.
    var isKnown = false
    /// Whether it is being used for a request with a known token.
    var isServing = false
    /// It has to give its place up, unless a request with a known token comes on it very soon.
    var isLeaving = false
    /// Rises with each connection, and with each answer to a known token.
    var order: Int
  }

  private let limits: Limits
  private var connections: [Int: Connection] = [:]
  private var count = 0

  init(_ limits: Limits) { self.limits = limits }

  /// Takes a new connection, and says which other one has to give its place up. That one stays for a moment, because its request may be on its
  /// way: many connections come at once before any of them is read.
  mutating func open(from address: String) -> (id: Int, admission: Admission, closing: Int?) {
    count += 1
    var new = Connection(address: address, admission: .full, order: count)
    var closing: Int?
    let full = connections.filter { $0.value.admission == .full && !$0.value.isLeaving }
    let own = full.filter { $0.value.address == address }
    if own.count >= limits.perAddress {
      closing = Self.first(own)
      if closing == nil { new.admission = .openPathsOnly }
    } else if full.count >= limits.all {
      closing = Self.first(crowded(full))
      if closing == nil { new.admission = .openPathsOnly }
    }
    if new.admission == .openPathsOnly {
      let reserve = connections.filter { $0.value.admission == .openPathsOnly && !$0.value.isLeaving }
      if reserve.count >= limits.reserve { closing = Self.first(crowded(reserve)) }
    }
    if let closing { connections[closing]?.isLeaving = true }
    connections[count] = new
    return (count, new.admission, closing)
  }

  /// A request with a known token begins.
  mutating func serve(_ id: Int) {
    connections[id]?.isKnown = true
    connections[id]?.isServing = true
  }

  /// The answer has been sent.
  mutating func answered(_ id: Int) {
    guard connections[id]?.isServing == true else { return }
    count += 1
    connections[id]?.isServing = false
    connections[id]?.order = count
  }

  /// The moment of a connection that had to give its place up is over.
  /// - Returns: whether it has to be closed now; one that is being served has its place again.
  mutating func leave(_ id: Int) -> Bool {
    guard connections[id]?.isServing == true else { return true }
    connections[id]?.isLeaving = false
    return false
  }

  mutating func close(_ id: Int) { connections[id] = nil }

  func admission(_ id: Int) -> Admission? { connections[id]?.admission }

  /// Whether a request with a known token is under way.
  func isServing(_ id: Int) -> Bool { connections[id]?.isServing ?? false }

  // MARK: Who gives its place up

  /// Those without a known token first, and the one that has waited longest of them. None that is being served.
  private static func first(_ candidates: [Int: Connection]) -> Int? {
    candidates.filter { !$0.value.isServing }
      .min { ($0.value.isKnown ? 1 : 0, $0.value.order) < ($1.value.isKnown ? 1 : 0, $1.value.order) }?.key
  }

  /// Those of the address that has most connections which could give their place up.
  private func crowded(_ candidates: [Int: Connection]) -> [Int: Connection] {
    let idle = candidates.filter { !$0.value.isServing }
    let counts = idle.values.reduce(into: [String: Int]()) { $0[$1.address, default: 0] += $1.isKnown ? 0 : 1 }
    guard let most = counts.values.max(), most > 0 else { return idle }
    return idle.filter { counts[$0.value.address] == most }
  }
}
