// The seam to the worklists in the edge's database.

/// A worklist as its bookkeeping knows it.
package struct WorklistStanding: Equatable, Sendable {
  package var rows: WorklistRows
  /// The request that waits for an answer.
  package var open: RefillID?
  /// What became of the last one, and when, in microseconds since 1970.
  package var last: RefillOutcome?
  package var lastAt: Int64?
  /// The cloud has `last`.
  package var isLastNoted: Bool
  /// How often people have triggered it.
  package var triggers: Int64

  package init(
    rows: WorklistRows, open: RefillID? = nil, last: RefillOutcome? = nil, lastAt: Int64? = nil,
    isLastNoted: Bool = true, triggers: Int64 = 0
  ) {
    self.triggers = triggers
    self.rows = rows
    self.open = open
    self.last = last
    self.lastAt = lastAt
    self.isLastNoted = isLastNoted
  }
}

/// An order with its fields as values; nil for a field that holds a list or an object.
package struct ReadOrder: Equatable, Sendable {
  package var key: String
  package var fields: [(name: String, value: Value?)]
  /// As `Order.requeuedAt`.
  package var requeuedAt: Int64?

  package init(key: String, fields: [(name: String, value: Value?)], requeuedAt: Int64? = nil) {
    self.key = key
    self.fields = fields
    self.requeuedAt = requeuedAt
  }

  package static func == (a: Self, b: Self) -> Bool {
    a.key == b.key && a.requeuedAt == b.requeuedAt && a.fields.count == b.fields.count
      && zip(a.fields, b.fields).allSatisfy { $0.name == $1.name && $0.value == $1.value }
  }
}

/// Of the edge's database: worklists. Each function is one transaction; a lock that the app holds is an error to try again. What a function has written
/// survives a power loss when it returns. A table that cannot be a worklist is `failed` with the reason.
/// Times are in microseconds since 1970.
package protocol EdgeWorklists: AnyObject {
  func standing(worklist stream: Int) throws(EdgeStoreError) -> WorklistStanding
  /// Opens a request if none is open, the table is ready, and the worklist is enabled. Otherwise it counts that there was nothing to ask for.
  /// - Returns: the open request; nil while the table is not ready.
  func openRequest(worklist stream: Int, new: RefillID, now: Int64) throws(EdgeStoreError) -> RefillID?
  /// Decides by `RefillRule`, inserts the orders with their numbers, each on a savepoint of its own, and writes down which orders the machine had. All in one
  /// transaction.
  /// - Parameter left: how many more the cloud has for the machine, for people.
  /// - Returns: the outcome; nil for an answer that is ignored.
  func refill(worklist stream: Int, request: RefillID, orders: [ReadOrder], left: Int, now: Int64)
    throws(EdgeStoreError) -> RefillOutcome?
  /// Closes an open request without orders.
  /// - Parameter why: for people.
  func close(worklist stream: Int, request: RefillID, why: String, now: Int64) throws(EdgeStoreError)
  /// The cloud has this outcome.
  func noted(worklist stream: Int, _ outcome: RefillOutcome) throws(EdgeStoreError)
  /// Keeps why the agent does not ask, for people; nil where it does.
  func note(worklist stream: Int, waits why: String?) throws(EdgeStoreError)
  /// Removes all rows of the table. What the app has not sent yet of complete ones still reaches the cloud.
  /// - Returns: how many rows were removed, and the keys of the unfinished ones.
  func clear(worklist stream: Int) throws(EdgeStoreError) -> (removed: Int, unfinished: [String])
}
