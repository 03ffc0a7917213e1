// What an order can be in the cloud, and what each event makes of it. The stores keep the state and ask here; docs/decisions/0059-worklists.md has the table.

package enum OrderState: String, CaseIterable, Sendable {
  /// Waits for a machine that asks.
  case queued
  /// Was given to a machine's request, whose outcome is not known.
  case handedOut = "handed out"
  /// Is in the machine's table.
  case inWork = "in work"
  /// Its row is complete.
  case complete
  /// A person took it out of the queue or cleared it at the machine.
  case withdrawn
  /// The machine's table does not take it.
  case refused
}

package enum OrderEvent: Equatable, Sendable {
  /// A program or the ERP lists the order.
  case listed
  /// A machine's request takes it.
  case handedOut
  /// The machine says what became of it.
  case taken
  case refused
  case notTaken
  case cleared
  /// A row with the order's key has arrived from the machine, not complete.
  case rowArrived
  /// Such a row is complete.
  case rowComplete
  /// A person acts.
  case requeue
  case withdraw
}

package enum OrderRule: Equatable, Sendable {
  /// The order is in this state now.
  case becomes(OrderState)
  /// Nothing changes.
  case stays
  /// A person asked for something that cannot be; why.
  case refuses(String)

  package static func decide(_ state: OrderState, _ event: OrderEvent) -> OrderRule {
    switch (event, state) {
    case (.rowComplete, .complete): .stays
    // Whatever was thought of it: it is done.
    case (.rowComplete, _): .becomes(.complete)
    case (.rowArrived, .queued), (.rowArrived, .handedOut): .becomes(.inWork)
    case (.rowArrived, _): .stays
    // Listed again: the fields of a queued order are replaced, others stay as they are.
    case (.listed, _): .stays
    case (.handedOut, .queued): .becomes(.handedOut)
    case (.handedOut, _): .stays
    case (.taken, .handedOut), (.taken, .queued): .becomes(.inWork)
    case (.taken, _): .stays
    // Also of an order that a store, restored from a backup, has in its queue again.
    case (.refused, .handedOut), (.refused, .queued): .becomes(.refused)
    case (.refused, _): .stays
    // The machine has closed the request, so no late answer can insert the order.
    case (.notTaken, .handedOut): .becomes(.queued)
    case (.notTaken, _): .stays
    case (.cleared, .handedOut), (.cleared, .inWork): .becomes(.withdrawn)
    case (.cleared, _): .stays
    case (.requeue, .queued): .stays
    case (.requeue, .complete): .refuses("it is complete")
    case (.requeue, _): .becomes(.queued)
    case (.withdraw, .withdrawn): .stays
    case (.withdraw, .complete): .refuses("it is complete")
    case (.withdraw, .inWork):
      .refuses("it is in the machine's table; clear it there (drover worklist clear)")
    case (.withdraw, .handedOut):
      .refuses("it is on its way to the machine; wait until the machine has answered")
    case (.withdraw, .queued), (.withdraw, .refused): .becomes(.withdrawn)
    }
  }
}
