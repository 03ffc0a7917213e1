// What the edge does with an answer, decided in the transaction that inserts.

/// The rows of a worklist's table at one moment.
package struct WorklistRows: Equatable, Sendable {
  package var all: Int
  package var unfinished: Int

  package init(all: Int, unfinished: Int) {
    self.all = all
    self.unfinished = unfinished
  }

  /// Whether the next orders may come.
  package func isReady(for refillWhen: WorklistDeclaration.RefillWhen) -> Bool {
    switch refillWhen {
    case .empty: all == 0
    case .finished: unfinished == 0
    }
  }
}

package enum RefillRule: Equatable, Sendable {
  /// The orders are inserted, after finished rows are removed. The request is closed.
  case insert
  /// Rows have come into the table since the request, or the operator has disabled the worklist: none of the orders is inserted, and the request is closed, so that the cloud may queue them again.
  case turnAway
  /// The answer is to a request that is closed or was never made: nothing is done.
  case ignore

  /// - Parameter open: the request that waits for an answer.
  package static func decide(
    answer: RefillID, open: RefillID?, rows: WorklistRows, _ declaration: WorklistDeclaration
  ) -> RefillRule {
    guard answer == open else { return .ignore }
    return declaration.isEnabled && rows.isReady(for: declaration.refillWhen) ? .insert : .turnAway
  }

  /// Whether the machine had an order before.
  /// - Parameter had: when the order had been requeued last, as the machine had it last, or 0; nil: it never had it.
  package static func isKnown(_ order: ReadOrder, had: Int64?) -> Bool {
    had.map { (order.requeuedAt ?? 0) <= $0 } ?? false
  }
}
