// How much room the outbox may take, and when it has taken too much. The decision is a value: the code that measures asks the gauge, and does
// what it says (EdgeDatabase+Space).

/// What the operator allows. At a limit no more is taken from `drover emit` and the intake; what tables hold is captured all the same.
package struct OutboxQuota: Equatable, Sendable {
  /// Most bytes that Drover's own tables may take; nil without a limit.
  package var maxBytes: Int64?
  /// Least bytes and inodes that stay free on the database's filesystem; 0 without a limit.
  package var minFreeBytes: Int64
  package var minFreeInodes: Int64

  package init(maxBytes: Int64? = nil, minFreeBytes: Int64 = 0, minFreeInodes: Int64 = 0) {
    self.maxBytes = maxBytes
    self.minFreeBytes = minFreeBytes
    self.minFreeInodes = minFreeInodes
  }
}

/// A limit by its name below `outbox:` in the configuration.
package enum OutboxLimit: String, CaseIterable, Sendable {
  case maxBytes = "max_bytes"
  case minFreeBytes = "min_free_bytes"
  case minFreeInodes = "min_free_inodes"
}

/// What was measured.
package struct OutboxSpace: Equatable, Sendable {
  /// What Drover's own tables take, in bytes.
  package var used: Int64
  /// What is left for the database; nil if it was not measured or the filesystem does not say.
  package var freeBytes: Int64?
  package var freeInodes: Int64?

  package init(used: Int64, freeBytes: Int64? = nil, freeInodes: Int64? = nil) {
    self.used = used
    self.freeBytes = freeBytes
    self.freeInodes = freeInodes
  }

  /// How near a limit is: at 1 it is reached, above 1 it is passed. 0 where there is no limit or no measure.
  package func pressure(on limit: OutboxLimit, of quota: OutboxQuota) -> Double {
    func share(_ least: Int64, _ free: Int64?) -> Double {
      guard least > 0, let free else { return 0 }
      return Double(least) / Double(max(1, free))
    }
    return switch limit {
    case .maxBytes: quota.maxBytes.map { Double(used) / Double(max(1, $0)) } ?? 0
    case .minFreeBytes: share(quota.minFreeBytes, freeBytes)
    case .minFreeInodes: share(quota.minFreeInodes, freeInodes)
    }
  }

  /// Measure and limit in words: `the outbox takes 1.2 GiB, and outbox.max_bytes is 1.0 GiB`.
  package func text(_ limit: OutboxLimit, of quota: OutboxQuota) -> String {
    switch limit {
    case .maxBytes:
      "the outbox takes \(byteText(used)), and outbox.max_bytes is \(byteText(quota.maxBytes ?? .max))"
    case .minFreeBytes:
      "\(byteText(freeBytes ?? 0)) are free for the database, and outbox.min_free_bytes is \(byteText(quota.minFreeBytes))"
    case .minFreeInodes:
      "\(freeInodes ?? 0) inodes are free on the database's filesystem, and outbox.min_free_inodes is \(quota.minFreeInodes)"
    }
  }
}

extension OutboxLimit {
  /// What a person can do about it; ends a sentence.
  package var advice: String {
    switch self {
    case .maxBytes:
      "the outbox empties as the cloud confirms: check that agent, broker and consumer run, or raise the limit"
    case .minFreeBytes, .minFreeInodes: "free space on the disk"
    }
  }
}

/// The limits' states, with room between coming and going so that none flaps.
package struct OutboxGauge: Equatable, Sendable {
  package enum Level: Int, Comparable, Sendable {
    /// Becomes `scarce` or `exhausted`.
    case ample
    /// Four fifths of a limit are reached. Becomes `exhausted` at the limit, `ample` below seven tenths.
    case scarce
    /// The limit is reached. Becomes `scarce` or `ample` below nine tenths of it.
    case exhausted

    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  }

  private var levels: [OutboxLimit: Level] = [:]

  package init() {}

  package func level(_ limit: OutboxLimit) -> Level { levels[limit] ?? .ample }

  /// The limits that are reached now.
  package var exhausted: Set<OutboxLimit> { Set(levels.filter { $0.value == .exhausted }.keys) }

  /// Takes a measure. Returns the limits whose level is another one now.
  /// - Parameter reached: what another process has found reached since, or before the gauge existed.
  package mutating func read(
    _ space: OutboxSpace, of quota: OutboxQuota, reached: Set<OutboxLimit> = []
  ) -> [OutboxLimit] {
    OutboxLimit.allCases.filter { limit in
      let pressure = space.pressure(on: limit, of: quota)
      let before = level(limit)
      let isReached = before == .exhausted || reached.contains(limit)
      let now: Level =
        if pressure >= 1 || isReached && pressure >= 0.9 {
          .exhausted
        } else if pressure >= 0.8 || (isReached || before == .scarce) && pressure >= 0.7 {
          .scarce
        } else {
          .ample
        }
      levels[limit] = now
      return now != before
    }
  }
}

/// A number of bytes for people: `812 B`, `64 KiB`, `1.2 GiB`.
package func byteText(_ bytes: Int64) -> String {
  guard bytes >= 1024 else { return "\(bytes) B" }
  var (divisor, unit): (Int64, String) = (1 << 10, "KiB")
  for (next, name) in [(Int64(1) << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB")] where bytes >= next {
    (divisor, unit) = (next, name)
  }
  let tenths = bytes / divisor * 10 + bytes % divisor * 10 / divisor
  return tenths % 10 == 0 ? "\(tenths / 10) \(unit)" : "\(tenths / 10).\(tenths % 10) \(unit)"
}
