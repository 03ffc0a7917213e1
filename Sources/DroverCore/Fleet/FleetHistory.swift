// How fast each machine's events were applied lately. The store keeps totals; a program that reads them regularly has the differences.

package struct FleetHistory: Sendable {
  /// How many of them are kept, and how long each is.
  package static let buckets = 60
  package static let bucketSeconds: Int64 = 60

  private struct Machine {
    /// What had been applied when it was looked at last.
    var total: Int
    /// A ring, by the bucket's number.
    var counts = [UInt32](repeating: 0, count: buckets)
  }

  private var machines: [ExactText: Machine] = [:]
  /// The number of the newest bucket, counted from 1970.
  private var newest: Int64?

  package init() {}

  /// Takes note of how many events have been applied in all, by machine. A machine's first total is where its count begins, and so is one that is
  /// lower than the last: the store is another one now.
  /// - Parameter moment: microseconds since 1970.
  package mutating func note(_ totals: [(machine: String, applied: Int)], at moment: Int64) {
    advance(to: moment / (Self.bucketSeconds * 1_000_000))
    let place = Self.place(newest!)
    for (name, applied) in totals {
      let name = ExactText(name)
      guard var machine = machines[name] else {
        machines[name] = Machine(total: applied)
        continue
      }
      machine.counts[place] += UInt32(clamping: max(0, applied - machine.total))
      machine.total = applied
      machines[name] = machine
    }
  }

  /// How many events were applied in each bucket, the oldest first; the last one goes on. Empty for a machine that was not noted.
  package func counts(of machine: String) -> [Int] {
    guard let newest, let known = machines[ExactText(machine)] else { return [] }
    return (0..<Int64(Self.buckets)).reversed().map { Int(known.counts[Self.place(newest - $0)]) }
  }

  /// What lies between two looks is empty, and so is what a clock that was set back comes to again.
  private mutating func advance(to bucket: Int64) {
    defer { newest = bucket }
    guard let newest, bucket != newest else { return }
    let isFar = bucket < newest || bucket - newest >= Int64(Self.buckets)
    let places = isFar ? Array(0..<Self.buckets) : ((newest + 1)...bucket).map(Self.place)
    for name in machines.keys { for place in places { machines[name]!.counts[place] = 0 } }
  }

  /// The hour before 1970 has negative numbers.
  private static func place(_ bucket: Int64) -> Int {
    let rest = Int(bucket % Int64(buckets))
    return rest < 0 ? rest + buckets : rest
  }
}
