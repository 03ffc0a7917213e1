// The errors of a program that writes to the queue of orders what only Drover may write. Both stores use these sentences, within SQL: so they have no
// apostrophe.

package enum OrderRefusal {
  package static let insert =
    "drover_order: a program inserts worklist, order_key and fields, and may add machine, priority and not_before; Drover writes the other columns"
  package static let state =
    "drover_order: only Drover changes this column; use drover worklist requeue or drover worklist withdraw"
  package static let update =
    "drover_order: an order is changed while it is queued, and this one is not; see drover worklist status"
  package static let delete =
    "drover_order: this order was handed out to a machine; it is deleted when it is complete, withdrawn or refused"

  /// Why a machine gets no order.
  /// - Parameter later: orders that it may have at a later time.
  package static func none(queued: Int, later: Int) -> String {
    if queued == 0 { return "no order is queued" }
    if later > 0 { return "\(quantity(later, "order")) for this machine may go only later" }
    return queued == 1
      ? "the order that is queued is for another machine"
      : "the \(queued) orders that are queued are for other machines"
  }
}
