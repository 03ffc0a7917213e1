// What a machine and the cloud say to each other about orders. docs/decisions/0059-worklists.md has the rules and their reasons.

/// Names one request of a machine: 16 lower-case hexadecimal digits, drawn anew for each request. A request that is repeated keeps its name.
package struct RefillID: Hashable, Sendable, CustomStringConvertible {
  package let text: String

  package init?(_ text: String) {
    guard text.utf8.count == 16, text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
    else { return nil }
    self.text = text
  }

  package init(random: UInt64) {
    let digits = String(random, radix: 16)
    text = String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }

  package var description: String { text }
}

/// An order as it travels. Its key is the local ID of its row in the worklist's stream.
package struct Order: Equatable, Sendable {
  package var key: String
  /// A JSON object in UTF-8.
  package var fields: ArraySlice<UInt8>
  /// When a person requeued it last, microseconds since 1970 by the cloud's clock. A machine that had the order before takes it again if it was requeued since.
  package var requeuedAt: Int64?

  package init(key: String, fields: ArraySlice<UInt8>, requeuedAt: Int64? = nil) {
    self.key = key
    self.fields = fields
    self.requeuedAt = requeuedAt
  }
}

/// What became of a machine's last request. The machine writes it in the transaction that inserts the orders, and says it until the cloud has it.
package struct RefillOutcome: Equatable, Sendable {
  package struct Refusal: Equatable, Sendable {
    package var key: String
    /// Without the order's values.
    package var why: String

    package init(key: String, why: String) {
      self.key = key
      self.why = why
    }
  }

  package var request: RefillID
  /// The answer's orders are in the table, but for those that are named below. If not, none is and none will be.
  package var isTaken: Bool
  /// Orders that the table does not take.
  package var refused: [Refusal]
  /// Orders that the machine had before, under an earlier request, and that no person has requeued since.
  package var known: [String]
  /// Unfinished orders that were cleared since.
  package var cleared: [String]

  package init(
    request: RefillID, isTaken: Bool, refused: [Refusal] = [], known: [String] = [], cleared: [String] = []
  ) {
    self.request = request
    self.isTaken = isTaken
    self.refused = refused
    self.known = known
    self.cleared = cleared
  }
}

/// A machine asks for orders.
package struct OrderRequest: Equatable, Sendable {
  package var request: RefillID
  package var stream: StreamName
  package var limit: Int
  /// How many bytes of orders the answer may have.
  package var bytes: Int
  /// What became of the last request that had an outcome. Every request says it, also one that the cloud has noted: a machine that says an older one, or none,
  /// was put back to an earlier state. Nil before the first one.
  package var last: RefillOutcome?

  package init(request: RefillID, stream: StreamName, limit: Int, bytes: Int, last: RefillOutcome?) {
    self.request = request
    self.stream = stream
    self.limit = limit
    self.bytes = bytes
    self.last = last
  }
}

/// What the cloud answers to a request.
package enum OrderAnswer: Equatable, Sendable {
  /// Orders that are handed out to this request, at least one. A repeated request gets the same ones.
  /// - left: how many more are queued that the machine may have.
  case orders([Order], left: Int)
  /// Nothing is handed out, and why. The machine closes the request and asks again after its interval.
  case nothing(why: String)
  /// The cloud knows what became of this request. The machine closes it and asks with a new one.
  case closed
}
