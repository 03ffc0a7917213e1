// What people see of a worklist at the machine, and what they can do to it.

package struct WorklistReport: Equatable, Sendable {
  package var name: StreamName
  package var table: String
  package var isEnabled: Bool
  package var refillWhen: WorklistDeclaration.RefillWhen
  /// Nil while the table is not there.
  package var rows: WorklistRows?
  /// The request that waits for its answer.
  package var open: RefillID?
  /// When the last request was opened, microseconds since 1970.
  package var requestedAt: Int64?
  /// What the cloud answered last, and when.
  package var answer: String?
  package var answeredAt: Int64?
  /// Why the agent cannot ask.
  package var obstacle: String?
  /// The cloud has what became of the last request.
  package var isLastNoted: Bool
  package var counts: WorklistCounts

  package init(
    name: StreamName, table: String, isEnabled: Bool, refillWhen: WorklistDeclaration.RefillWhen, rows: WorklistRows?,
    open: RefillID? = nil, requestedAt: Int64? = nil, answer: String? = nil, answeredAt: Int64? = nil,
    obstacle: String? = nil, isLastNoted: Bool = true, counts: WorklistCounts = WorklistCounts()
  ) {
    self.name = name
    self.table = table
    self.isEnabled = isEnabled
    self.refillWhen = refillWhen
    self.rows = rows
    self.open = open
    self.requestedAt = requestedAt
    self.answer = answer
    self.answeredAt = answeredAt
    self.obstacle = obstacle
    self.isLastNoted = isLastNoted
    self.counts = counts
  }

  /// Why no orders come now; nil where nothing is in their way.
  package var waits: String? {
    guard let rows else { return "there is no table \(table)" }
    if !isEnabled { return "it is disabled (`enabled: false`)" }
    if !rows.isReady(for: refillWhen) {
      return refillWhen == .empty
        ? "\(quantity(rows.all, "row")) \(rows.all == 1 ? "is" : "are") left in the table, \(rows.unfinished) unfinished"
        : "\(rows.unfinished) unfinished of \(quantity(rows.all, "row"))"
    }
    if let obstacle { return obstacle }
    if open != nil { return "the cloud has not answered yet" }
    return nil
  }
}

/// How often things have happened to a worklist.
package struct WorklistCounts: Equatable, Sendable {
  package var refills = 0
  /// Orders that were inserted.
  package var orders = 0
  /// Times that the agent looked and orders were left, or that it turned orders away.
  package var skipped = 0
  /// Orders that the table refused.
  package var refused = 0
  package var cleared = 0
  package var clearedRows = 0

  package init(
    refills: Int = 0, orders: Int = 0, skipped: Int = 0, refused: Int = 0, cleared: Int = 0, clearedRows: Int = 0
  ) {
    self.refills = refills
    self.orders = orders
    self.skipped = skipped
    self.refused = refused
    self.cleared = cleared
    self.clearedRows = clearedRows
  }
}

/// A row of a worklist's table.
package struct WorklistRow: Equatable, Sendable {
  /// Its number in its refill, where it has one.
  package var number: Int64?
  package var isFinished: Bool
  package var columns: [String]
  package var values: [Value]

  package init(number: Int64?, isFinished: Bool, columns: [String], values: [Value]) {
    self.number = number
    self.isFinished = isFinished
    self.columns = columns
    self.values = values
  }
}

/// The seam through which people look at worklists and act on them: the commands and the HTTP server. DroverSQLite implements it.
package protocol WorklistDesk: Sendable {
  /// In the order of the streams; empty where the database is not attached.
  func reports() throws -> [WorklistReport]
  /// In the order of their numbers.
  func rows(of worklist: StreamName, limit: Int) throws -> [WorklistRow]
  /// Has the agent look now. Whether it asks is still the table's rows' to say.
  func trigger(_ worklist: StreamName) throws
  /// Removes all rows of the table.
  /// - Returns: how many, and the keys of the unfinished ones.
  func clear(_ worklist: StreamName) throws -> (removed: Int, unfinished: [String])
}
