// A machine's worklists as JSON: one form for `drover worklist status --json`, the status, and the HTTP server.

package import DroverCore

extension WorklistReport {
  /// - Parameter batches: the rows; nil where they are left out.
  package func document(batches: [WorklistRow]? = nil) -> JSON {
    func time(_ at: Int64?) -> JSON { at.map { .string(Timestamp.text(microseconds: $0)) } ?? .null }
    var members: [(String, JSON)] = [
      ("name", .string(name.text)), ("table", .string(table)), ("enabled", .bool(isEnabled)),
      ("total_batches", rows.map { integer($0.all) } ?? .null),
      ("unfinished", rows.map { integer($0.unfinished) } ?? .null),
      ("is_empty", rows.map { .bool($0.all == 0) } ?? .null), ("waits", waits.map { .string($0) } ?? .null),
      ("last_request", .object([("at", time(requestedAt)), ("open", .bool(open != nil))])),
      (
        "last_answer",
        .object([
          ("at", time(answeredAt)), ("text", answer.map { .string($0) } ?? .null), ("noted", .bool(isLastNoted)),
        ])
      ),
      ("refills", integer(counts.refills)), ("orders", integer(counts.orders)), ("skipped", integer(counts.skipped)),
      ("refused", integer(counts.refused)), ("cleared", integer(counts.cleared)),
      ("cleared_rows", integer(counts.clearedRows)),
    ]
    if let batches { members.append(("batches", .array(batches.map(\.document)))) }
    return .object(members)
  }
}

extension WorklistRow {
  fileprivate var document: JSON {
    .object([
      ("number", number.map { .integer($0) } ?? .null), ("finished", .bool(isFinished)),
      ("fields", .object(zip(columns, values).map { ($0, JSON($1)) })),
    ])
  }
}
