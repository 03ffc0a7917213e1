// The fleet at a glance as JSON: a member for each machine, with what a person has to know of all of it.

package import DroverCore

extension FleetSnapshot {
  /// - Parameter now: microseconds since 1970.
  package func document(now: Int64) -> JSON {
    let machines = report?.machines ?? []
    return .object([
      ("at", .string(Timestamp.text(microseconds: at))), ("age_seconds", .real(seconds(now - at))),
      ("consumer", worker.document), ("history_bucket_seconds", .integer(FleetHistory.bucketSeconds)),
      ("dead_letters", integer(report?.deadLetters.present ?? 0)),
      ("conflicts", integer(report?.conflicts.present ?? 0)),
      ("dead_letters_bytes", integer(report?.letterBytes ?? 0)),
      ("waiting_schemas", .array(waiting.map(\.document))), ("blocked_sinks", .array(blocked.map(\.document))),
      ("locked", lock?.document ?? .null),
      ("alerts", alerts.map { .array($0.open.map(\.document)) } ?? .null),
      ("machines", .array(machines.map { $0.summary(now: now, counts: history.counts(of: $0.name)) })),
    ])
  }
}

extension CloudReport.Machine {
  /// - Parameter counts: how many events were applied lately, bucket by bucket.
  fileprivate func summary(now: Int64, counts: [Int]) -> JSON {
    // The newest event's way tells how far behind the machine is; of the others it tells how it was when they came.
    let newest = streams.max { $0.appliedAt < $1.appliedAt }
    let checks = streams.compactMap(\.check)
    let members: [(String, JSON)] = [
      ("streams", integer(streams.count)), ("applied", integer(streams.map(\.applied).reduce(0, +))),
      ("refused", integer(streams.map(\.refused).reduce(0, +))),
      ("last_applied_seconds", newest.map { .real(seconds(now - $0.appliedAt)) } ?? .null),
      ("lag_seconds", newest?.lag.map { .real(seconds($0)) } ?? .null),
      ("drift", checks.isEmpty ? .null : integer(checks.map(\.drift).reduce(0, +))),
      ("failed_checks", integer(checks.filter { $0.failure != nil }.count)), ("history", .array(counts.map(integer))),
    ]
    return .object(standing(now: now) + members)
  }
}
