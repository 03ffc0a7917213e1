// The cloud's store went back to an earlier state, and numbers its rows anew. The machines bring back what it has lost of rows that both sides edit. Of
// reference data they send nothing: there the store is right as it is now.

package import DroverCore
import GRDB

extension EdgeDatabase {
  package func note(numbering: Epoch) throws(EdgeStoreError) {
    let isAnother = try access { database in
      let known = try RowBookkeeping.meta(.downEpoch, database)
      return known != nil && known != numbering.text
    }
    guard isAnother else { return }
    try access { database in
      try database.inTransaction(.immediate) {
        try verify(database)
        try begin(numbering, database)
        // The walk ends with the rows that are gone.
        try database.execute(
          sql: """
            DELETE FROM drover_backfill WHERE stream IN (SELECT number FROM drover_stream WHERE direction = 'both');
            UPDATE drover_resync SET wanted = NULL WHERE stream IN (SELECT number FROM drover_stream WHERE direction = 'both');
            UPDATE drover_stream SET backfill = 'running' WHERE direction = 'both';
            """)
        try raiseGeneration(database)
        return .commit
      }
      try lookForBackfill(database)
    }
    remember()
    warn("outbox: the cloud's store went back to an earlier state; the rows that both sides edit are sent again")
  }

  /// Forgets what was received in another numbering. Rows of reference data count again, whatever version was held: a lost one may be higher.
  func begin(_ numbering: Epoch, _ database: Database) throws {
    let known = try RowBookkeeping.meta(.downEpoch, database)
    guard known != numbering.text else { return }
    try database.execute(sql: "DELETE FROM drover_down; UPDATE drover_stream SET down_run = 0 WHERE down_run > 0")
    try RowBookkeeping.setMeta(.downEpoch, numbering.text, database)
    guard known != nil else { return }
    // The store may have lost these rows. If one is applied later, the cloud has to hear of it.
    let letters = try Int64.fetchOne(
      database, sql: "SELECT max(id) FROM drover_dead_letter WHERE direction = 'down'")
    try RowBookkeeping.setMeta(.downLettersBefore, letters.map { "\($0)" }, database)
    let streams = streams.filter { $0.schema?.flow.direction == .down }.map(\.number)
    for stream in streams {
      try database.execute(sql: "UPDATE drover_row SET held = 0 WHERE stream = ?", arguments: [stream])
      // What was refused comes again too, as it is now.
      try dropDownLetters(of: stream, database)
    }
    try RowBookkeeping.setMeta(.downAgain, streams.map(String.init).joined(separator: ","), database)
  }

  /// Rows of reference data that the store has lost, as deletes: they came down once, and did not come again among all that it has.
  func lostRows(_ frame: DownFrame, _ table: CapturedTable, _ database: Database) throws -> [DownEvent] {
    guard let text = try RowBookkeeping.meta(.downAgain, database) else { return [] }
    let streams = text.split(separator: ",").compactMap { Int($0) }
    guard streams.contains(frame.stream),
      try intervals(in: "drover_down", of: frame.stream, database).contains(Interval(after: 0, through: frame.last))
    else { return [] }
    let left = streams.filter { $0 != frame.stream }
    try RowBookkeeping.setMeta(
      .downAgain, left.isEmpty ? nil : left.map(String.init).joined(separator: ","), database)
    let keys = table.outboxColumns
    let isSame = keys.map { "entry.\($0) IS row.\($0)" }.joined(separator: " AND ")
    let find = try Statement(
      database,
      """
      SELECT \(keys.map { "row.\($0)" }.joined(separator: ", ")) FROM drover_row AS row
       WHERE row.stream = ?1 AND row.held = 0
         AND NOT EXISTS (SELECT 1 FROM drover_outbox AS entry WHERE entry.stream = row.stream AND \(isSame))
      """)
    find.bind(Int64(frame.stream), at: 1)
    var events: [DownEvent] = []
    while try find.step() {
      let key = keys.indices.map { find.value(Int32($0)) }
      // Any version of the cloud's is higher.
      events.append(DownEvent(seq: frame.last, localID: "", key: key, content: .none, version: 1, edge: nil))
    }
    return events
  }
}
