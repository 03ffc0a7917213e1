// The seam to the queue of orders in the cloud's store. Both stores implement it. Each function is one transaction of its own, so that several consumers,
// commands and requests over HTTP may act at once.

/// Names a worklist of the cloud's configuration: as a stream's name.
package typealias WorklistName = StreamName

/// An order that a program or the ERP lists.
package struct NewOrder: Equatable, Sendable {
  package var order: Order
  /// The machine that gets it; nil: any that asks.
  package var machine: MachineID?
  /// Higher ones go first.
  package var priority: Int
  /// Microseconds since 1970 before which it is not handed out; nil: at any time.
  package var notBefore: Int64?

  package init(order: Order, machine: MachineID? = nil, priority: Int = 0, notBefore: Int64? = nil) {
    self.order = order
    self.machine = machine
    self.priority = priority
    self.notBefore = notBefore
  }
}

/// What listing orders did.
package struct ListedOrders: Equatable, Sendable {
  /// Were not known.
  package var added = 0
  /// Are queued, and have other fields now.
  package var replaced = 0
  /// Are known, and stay as they are.
  package var known = 0

  package init(added: Int = 0, replaced: Int = 0, known: Int = 0) {
    self.added = added
    self.replaced = replaced
    self.known = known
  }
}

/// An order as people see it.
package struct QueuedOrder: Equatable, Sendable {
  package var new: NewOrder
  package var state: OrderState
  /// Why it is in that state, for people: the machine's reason for a refusal, "cleared at the machine". Without values of the order.
  package var note: String?
  /// The request that it was handed out to, by whom, and when (microseconds since 1970).
  package var request: RefillID?
  package var holder: MachineID?
  package var handedOutAt: Int64?
  /// Since when it is in its state.
  package var since: Int64
  /// The machine has asked for other orders since, without saying what became of this one. A person decides (`requeue`).
  package var isInDoubt: Bool

  package init(
    new: NewOrder, state: OrderState, note: String? = nil, request: RefillID? = nil, holder: MachineID? = nil,
    handedOutAt: Int64? = nil, since: Int64, isInDoubt: Bool = false
  ) {
    self.new = new
    self.state = state
    self.note = note
    self.request = request
    self.holder = holder
    self.handedOutAt = handedOutAt
    self.since = since
    self.isInDoubt = isInDoubt
  }
}

/// A worklist at one moment.
package struct WorklistSummary: Equatable, Sendable {
  package var name: WorklistName
  package var counts: [OrderState: Int]
  package var inDoubt: Int
  /// When the oldest order in work was handed out, microseconds since 1970.
  package var oldestInWork: Int64?
  /// When an order last changed its state.
  package var lastMoved: Int64?
  /// How often a machine has taken orders.
  package var refills: Int

  package init(
    name: WorklistName, counts: [OrderState: Int] = [:], inDoubt: Int = 0, oldestInWork: Int64? = nil,
    lastMoved: Int64? = nil, refills: Int = 0
  ) {
    self.refills = refills
    self.name = name
    self.counts = counts
    self.inDoubt = inDoubt
    self.oldestInWork = oldestInWork
    self.lastMoved = lastMoved
  }
}

/// What a person's action did to each order.
package struct OrderAction: Equatable, Sendable {
  package var key: String
  /// Nil where it was done; otherwise why not.
  package var refusal: String?

  package init(key: String, refusal: String? = nil) {
    self.key = key
    self.refusal = refusal
  }
}

extension WorklistStore {
  package func needsOrders(_: OrderRequest, of _: MachineID, from _: WorklistName, now _: Int64) throws -> Bool { true }
}

package protocol WorklistStore: AnyObject {
  /// Adds orders by their keys. A known key is no error: a queued order gets the new fields, machine, priority and time, and every other order stays as it is.
  func list(_ orders: [NewOrder], in worklist: WorklistName, now: Int64) throws -> ListedOrders
  /// Notes what became of the machine's last request, then hands out orders to this one. A request that has its orders already gets the same ones again; one
  /// whose outcome is known gets none. Orders go by priority, then in the order in which they were listed, with all that `bytes` takes. An order whose key has
  /// a row of the machine in the worklist's stream is never handed out: the row says its state.
  func answer(_ request: OrderRequest, of machine: MachineID, from worklist: WorklistName, now: Int64) throws
    -> OrderAnswer
  /// Whether a request is a new one for which nothing is queued, so that the ERP is to be asked first.
  func needsOrders(_ request: OrderRequest, of machine: MachineID, from worklist: WorklistName, now: Int64) throws
    -> Bool
  /// Notes what became of a request. The same outcome a second time changes nothing.
  func note(_ outcome: RefillOutcome, of machine: MachineID, from worklist: WorklistName, now: Int64) throws
  /// Takes over from the rows of the worklist's stream which orders are in work and which are complete. Cheap where nothing has changed.
  /// - Returns: the keys that became complete.
  func settle(_ worklist: WorklistName, now: Int64) throws -> [String]
  func requeue(_ keys: [String], in worklist: WorklistName, now: Int64) throws -> [OrderAction]
  func withdraw(_ keys: [String], in worklist: WorklistName, now: Int64) throws -> [OrderAction]

  // MARK: Completed orders that are posted to a URL

  /// Complete orders that were not posted yet, the oldest first.
  func completedToPost(in worklist: WorklistName, limit: Int) throws -> [QueuedOrder]
  func posted(_ keys: [String], in worklist: WorklistName, now: Int64) throws

  // MARK: For people

  func summary(_ worklist: WorklistName) throws -> WorklistSummary
  /// In the order in which they were listed.
  /// - Parameter after: the key behind which the part begins.
  func orders(in worklist: WorklistName, state: OrderState?, machine: MachineID?, after: String?, limit: Int) throws
    -> [QueuedOrder]
  func order(_ key: String, in worklist: WorklistName) throws -> QueuedOrder?
}
