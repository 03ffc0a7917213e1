// Reports as JSON: one form for `drover status --json` and for the HTTP server.

package import DroverCore

extension Worker {
  package var document: JSON {
    .object(
      [
        ("running", .bool(process != nil)), ("pid", process.map { .integer(Int64($0)) } ?? .null),
        ("stuck", .array(stuck.map { .string($0.name) })),
      ] + (isElsewhere ? [("elsewhere", .bool(true))] : []) + (host.map { [("host", .string($0))] } ?? []))
  }
}

extension StoreLock {
  package var document: JSON {
    .object([
      ("by", .string(holder)), ("since", .string(Timestamp.text(microseconds: since))), ("text", .string(text)),
      ("advice", .string(Self.advice)),
    ])
  }
}

extension CloudReport {
  /// The members of the cloud's status that come from its store.
  /// - Parameters:
  ///   - report: nil where there is no store yet.
  ///   - now: microseconds since 1970.
  package static func members(of report: CloudReport?, now: Int64) -> [(String, JSON)] {
    let machines = report?.machines ?? []
    let streams = machines.flatMap(\.streams)
    let letters = report?.deadLetters ?? DeadLetterFigures()
    return [
      ("last_event_seconds", streams.map(\.appliedAt).max().map { .real(seconds(now - $0)) } ?? .null),
      ("applied", integer(streams.reduce(0) { $0 + $1.applied })),
      ("superseded", integer(streams.reduce(0) { $0 + $1.superseded })),
      ("refused", integer(streams.reduce(0) { $0 + $1.refused })),
      ("rows", integer(streams.reduce(0) { $0 + ($1.rows ?? 0) })),
      ("machines", .array(machines.map { $0.document(now: now) })),
      ("dead_letters", integer(letters.present)), ("dead_letters_replayed", integer(letters.replayed)),
      ("dead_letters_purged", integer(letters.purged)), ("dead_letters_dropped", integer(letters.dropped)),
      ("dead_letters_bytes", integer(report?.letterBytes ?? 0)),
      ("conflicts", integer(report?.conflicts.present ?? 0)),
      ("conflicts_resolved", integer(report?.conflicts.resolved ?? 0)),
      ("conflicts_bytes", integer(report?.conflicts.bytes ?? 0)),
      ("refused_rows", integer(report?.refusedRows ?? 0)),
      ("dropped", .array((report?.dropped ?? []).map(\.document))),
      ("messages", .object((report?.messages ?? []).map { ($0.outcome, integer($0.count)) })),
      ("troubles", (report?.troubles ?? []).document(nil, now: now)),
    ]
  }
}

extension CloudReport.Machine {
  package func document(now: Int64) -> JSON {
    .object(standing(now: now) + [("streams", .array(streams.map { $0.document(now: now) }))])
  }

  /// What is known of the machine as a whole.
  func standing(now: Int64) -> [(String, JSON)] {
    [
      ("machine", .string(name)), ("online", isOnline.map { .bool($0) } ?? .null),
      ("last_heard_seconds", .real(seconds(now - lastHeard))),
      ("clock_offset_seconds", clockOffset.map { .real(Double($0) / 1_000_000) } ?? .null),
      ("outbox", outboxDocument(now: now)), ("dead_letters", integer(deadLetters)), ("conflicts", integer(conflicts)),
      ("refused_rows", integer(refusedRows)),
      ("over_budget", .array(overruns.map { $0.document(now: now) })),
      ("troubles", troubles.document(name, now: now)), ("waits", .array(waits.map(\.document))),
    ]
  }

  private func outboxDocument(now: Int64) -> JSON {
    guard let outbox else { return .null }
    return .object([
      ("waiting", integer(outbox.figures.waiting)),
      ("oldest_unconfirmed_seconds", oldestUnconfirmed(now: now).map { .real(seconds($0)) } ?? .null),
      ("dead_letters", integer(outbox.figures.deadLetters)),
      ("free_bytes", outbox.figures.freeBytes.map { .integer($0) } ?? .null),
      ("told_seconds", .real(seconds(now - outbox.at))),
    ])
  }
}

extension Overrun {
  fileprivate func document(now: Int64) -> JSON {
    .object([
      ("budget", .string("limits.\(budget)")), ("count", integer(count)),
      ("last_seconds", .real(seconds(now - lastAt))),
    ])
  }
}

extension CloudReport.Stream {
  fileprivate func document(now: Int64) -> JSON {
    .object([
      ("name", .string(name)), ("rows", rows.map(integer) ?? .null), ("applied", integer(applied)),
      ("superseded", integer(superseded)), ("refused", integer(refused)),
      ("lag_seconds", lag.map { .real(seconds($0)) } ?? .null),
      ("versions_ahead_seconds", ahead.map { .real(seconds($0)) } ?? .null),
      ("last_applied_seconds", .real(seconds(now - appliedAt))), ("check", check?.document(now: now) ?? .null),
      ("with", .object(lines.map { ($0.table, $0.rows.map(integer) ?? .null) })),
    ])
  }
}

extension CloudReport.Check {
  fileprivate func document(now: Int64) -> JSON {
    .object([
      ("seconds_ago", .real(seconds(now - at))), ("drift", integer(drift)),
      ("on_their_way", integer(inFlight)), ("text", .string(text)), ("failure", failure.map { .string($0) } ?? .null),
    ])
  }
}

extension CloudReport.Dropped {
  fileprivate var document: JSON {
    .object([
      ("machine", .string(machine)), ("stream", .string(stream)), ("reason", .string(reason)),
      ("letters", integer(letters)), ("bytes", integer(bytes)),
      ("last_at", .string(Timestamp.text(microseconds: lastAt))),
    ])
  }
}

extension WaitingSchema {
  package var document: JSON {
    .object([
      ("machine", .string(machine.text)), ("stream", .string(stream.text)), ("reason", .string(reason)),
      ("since", .string(Timestamp.text(microseconds: since))), ("added", .array(added.map { .string($0) })),
      ("missing", .array(missing.map { .string($0) })),
    ])
  }
}

extension BlockedSink {
  package var document: JSON {
    .object([
      ("stream", .string(stream.text)), ("machine", machine.map { .string($0.text) } ?? .null),
      ("table", .string(blocked.table)), ("cause", .string(blocked.cause.rawValue)), ("text", .string(blocked.text)),
      ("advice", .string(blocked.advice)), ("since", .string(Timestamp.text(microseconds: since))),
      ("last_tried", .string(Timestamp.text(microseconds: last))), ("tries", integer(tries)),
    ])
  }
}

extension EdgeReport {
  /// The members of the edge's status that come from its database.
  /// - Parameters:
  ///   - report: nil where the database is not attached.
  ///   - lines: the tables whose rows travel with a stream's.
  ///   - now: microseconds since 1970.
  package static func members(
    of report: EdgeReport?, machine: String, quota: OutboxQuota, lines: (String) -> [String], now: Int64
  ) -> [(String, JSON)] {
    let letters = report?.deadLetters ?? DeadLetterFigures()
    return [
      ("attached", .bool(report != nil)), ("epoch", report.map { .string($0.epoch) } ?? .null),
      ("clock_offset_seconds", report?.clockAhead.map { .real(Double($0) / 1_000_000) } ?? .null),
      ("versions_ahead_seconds", report?.versionsAhead.map { .real(seconds($0)) } ?? .null),
      ("outbox", report?.space.document(quota) ?? .null),
      ("streams", .array((report?.streams ?? []).map { $0.document(lines: lines($0.name), now: now) })),
      ("dead_letters", integer(letters.present)), ("dead_letters_replayed", integer(letters.replayed)),
      ("dead_letters_purged", integer(letters.purged)),
      ("troubles", (report?.troubles ?? []).document(machine, now: now)),
      ("waits", .array((report?.waits ?? []).map(\.document))),
      ("worklists", .array((report?.worklists ?? []).map { $0.document() })),
    ]
  }
}

extension [Trouble] {
  /// Those that there are now.
  fileprivate func document(_ machine: String?, now: Int64) -> JSON {
    .array(
      filter { $0.isPresent(now: now) }.map {
        .object([
          ("kind", .string($0.kind.rawValue)), ("text", .string($0.text(machine))), ("advice", .string($0.advice)),
          ("since", .string(Timestamp.text(microseconds: $0.since))), ("count", integer($0.count)),
        ])
      })
  }
}

extension StreamWait {
  fileprivate var document: JSON {
    .object([
      ("stream", .string(stream.text)), ("table", .string(table)), ("reason", .string(reason)),
      ("advice", .string(advice)), ("since", .string(Timestamp.text(microseconds: since))),
    ])
  }
}

extension EdgeReport.Stream {
  fileprivate func document(lines: [String], now: Int64) -> JSON {
    .object([
      ("name", .string(name)), ("kind", .string(kind)), ("table", table.map { .string($0) } ?? .null),
      ("with", .array(lines.map { .string($0) })), ("pending", integer(pending)), ("synced", integer(synced)),
      ("confirmed", integer(confirmed)),
      ("oldest_unconfirmed_seconds", oldestUnconfirmed.map { .real(seconds(now - $0)) } ?? .null),
      ("backfilling", .bool(isBackfilling)), ("resync", resync?.document ?? .null),
      ("edits_replaced", integer(overwritten)),
    ])
  }
}

extension EdgeReport.Space {
  fileprivate func document(_ quota: OutboxQuota) -> JSON {
    .object([
      ("bytes", .integer(measure.used)), ("max_bytes", quota.maxBytes.map { .integer($0) } ?? .null),
      ("free_bytes", measure.freeBytes.map { .integer($0) } ?? .null),
      ("free_inodes", measure.freeInodes.map { .integer($0) } ?? .null),
      ("closed_by", .array(closed.map { .string("outbox.\($0.rawValue)") })),
      ("scarce", .array(scarce(of: quota).map { .string("outbox.\($0.rawValue)") })),
      ("refused", integer(refused)), ("closings", integer(closings)),
      ("closed_at", closedAt.map { .string(Timestamp.text(microseconds: $0)) } ?? .null),
    ])
  }
}

extension ResyncProgress {
  fileprivate var document: JSON {
    .object([
      ("total", integer(total)), ("looked", integer(looked)), ("brought", integer(entered)),
      ("rate", rate.map { .real($0) } ?? .null), ("seconds_left", secondsLeft.map { .real($0) } ?? .null),
      ("done", .bool(isDone)),
    ])
  }
}

func integer(_ number: Int) -> JSON { .integer(Int64(number)) }
func seconds(_ microseconds: Int64) -> Double { Double(max(0, microseconds)) / 1_000_000 }
