// The seam below `WorklistStore`: what a store has to give, so that `OrderDesk` decides for both.

/// An order as a store keeps it.
package struct OrderEntry: Equatable, Sendable {
  /// Its place in the order of listing; nil before it is in the table.
  package var number: Int64?
  package var order: QueuedOrder
  /// The machine as the program named it.
  package var named: String?
  package var target: OrderTarget
  /// The newest row of the holder that does not count: the row that was there when a person queued the order again, or when it came into doubt.
  package var rowsAfter: RowVersion?

  package init(
    number: Int64? = nil, order: QueuedOrder, named: String? = nil, target: OrderTarget = .undecided,
    rowsAfter: RowVersion? = nil
  ) {
    self.number = number
    self.order = order
    self.named = named
    self.target = target
    self.rowsAfter = rowsAfter
  }

  package var key: String { order.new.order.key }

  mutating func become(_ state: OrderState, note: String? = nil, now: Int64) {
    if order.state != state { order.since = now }
    order.state = state
    order.note = note
    order.isInDoubt = false
  }
}

/// A row of a machine that has an order's key.
package struct OrderRow: Equatable, Sendable {
  package var machine: MachineID
  package var isComplete: Bool
  package var version: RowVersion

  package init(machine: MachineID, isComplete: Bool, version: RowVersion) {
    self.machine = machine
    self.isComplete = isComplete
    self.version = version
  }
}

/// A machine's request as a store remembers it.
package struct RefillEntry: Equatable, Sendable {
  package enum State: String, CaseIterable, Sendable {
    /// Has orders, and no outcome is known.
    case open
    case taken
    case notTaken = "not taken"
    /// Got no orders, or has none any more.
    case closed
  }

  /// Higher for a later request.
  package var number: Int64
  package var state: State

  package init(number: Int64, state: State) {
    self.number = number
    self.state = state
  }
}

/// A worklist's tables within one transaction. Nothing else writes to them until it ends.
package protocol OrderTable {
  func entries(keys: [String]) throws -> [OrderEntry]
  /// In the order in which they were listed.
  func entries(request: RefillID) throws -> [OrderEntry]
  /// Handed out or in work, with this machine.
  func entries(at machine: MachineID) throws -> [OrderEntry]
  /// That were handed out once and are not complete.
  func entriesToSettle() throws -> [OrderEntry]
  /// Queued ones whose target is not decided.
  func undecided(limit: Int) throws -> [OrderEntry]
  /// Queued ones that the machine may have now, by priority, then in the order in which they were listed.
  func candidates(for machine: MachineID, now: Int64, limit: Int) throws -> [OrderEntry]
  /// How many there are.
  func candidateCount(for machine: MachineID, now: Int64) throws -> Int
  func insert(_ entries: [OrderEntry]) throws
  /// Writes entries that are in the table.
  func update(_ entries: [OrderEntry]) throws
  /// Rows in the stream with these keys, of one machine or of all.
  func rows(keys: [String], of machine: MachineID?) throws -> [ExactText: [OrderRow]]
  func refill(_ request: RefillID, of machine: MachineID) throws -> RefillEntry?
  /// Notes a request, or its new state.
  func setRefill(_ request: RefillID, of machine: MachineID, _ state: RefillEntry.State, now: Int64) throws
  /// The newest request of the machine that it has taken.
  func newestTaken(by machine: MachineID) throws -> RefillEntry?
  /// The number of the machine's request that an order was handed out to; 0 for one that is not remembered.
  func number(of request: RefillID, of machine: MachineID) throws -> Int64
  /// Why the machine gets none, for people.
  func whyNone(for machine: MachineID, now: Int64) throws -> String
  /// The members of a JSON object.
  func fields(_ object: ArraySlice<UInt8>) throws -> [(name: String, value: Value?)]
  /// Orders that no machine may have are looked at again: the configuration may be another one.
  func placeAgain() throws

  // MARK: For people

  func summary() throws -> WorklistSummary
  func entries(state: OrderState?, machine: MachineID?, after: String?, limit: Int) throws -> [OrderEntry]
  func completedToPost(limit: Int) throws -> [OrderEntry]
  func setPosted(_ keys: [String], now: Int64) throws
  /// Changes whenever rows of the stream or states of orders may have changed.
  func mark() throws -> String
}

extension OrderEntry {
  /// As people see it: with the machine that the configuration's rule gives it to.
  package var shown: QueuedOrder {
    var shown = order
    if case .machine(let machine) = target { shown.new.machine = shown.new.machine ?? machine }
    return shown
  }
}

/// What a store gives: transactions on a worklist's tables. The rest of `WorklistStore` is the same for both.
package protocol OrderTables: WorklistStore {
  associatedtype Table: OrderTable
  var plans: [WorklistPlan] { get }
  /// What was found at the last `settle` of each worklist.
  var settled: [WorklistName: String] { get set }
  /// Worklists whose orders without a machine were looked at.
  var placed: Set<WorklistName> { get set }
  /// In one transaction that no other one of the worklist runs beside.
  func writing<Result>(_ plan: WorklistPlan, _ body: (Table) throws -> Result) throws -> Result
  func reading<Result>(_ plan: WorklistPlan, _ body: (Table) throws -> Result) throws -> Result
}

package struct UnknownWorklist: Error, CustomStringConvertible {
  package let name: WorklistName
  package var description: String { "there is no worklist \(name) in the configuration" }
}

/// An order that cannot be listed.
package struct InvalidOrder: Error, CustomStringConvertible {
  package let description: String

  package init(description: String) { self.description = description }
}

extension OrderTables {
  private func plan(_ name: WorklistName) throws -> WorklistPlan {
    guard let plan = plans.first(where: { $0.name == name }) else { throw UnknownWorklist(name: name) }
    return plan
  }

  private func change<Result>(
    _ worklist: WorklistName, now: Int64, _ body: (OrderDesk<Table>) throws -> Result
  ) throws -> Result {
    let plan = try plan(worklist)
    return try writing(plan) { try body(OrderDesk($0, placement: plan.placement, now: now)) }
  }

  package func list(_ orders: [NewOrder], in worklist: WorklistName, now: Int64) throws -> ListedOrders {
    for (index, order) in orders.enumerated() {
      let bytes = order.order.key.utf8
      guard (1...OrderSize.mostKeyBytes).contains(bytes.count), !bytes.contains(0) else {
        throw InvalidOrder(
          description:
            "order \(index + 1) has a key of \(bytes.count) bytes, or one with NUL; 1 to \(OrderSize.mostKeyBytes) are allowed"
        )
      }
    }
    return try change(worklist, now: now) { try $0.list(orders) }
  }

  package func answer(
    _ request: OrderRequest, of machine: MachineID, from worklist: WorklistName, now: Int64
  ) throws -> OrderAnswer {
    let plan = try plan(worklist)
    if placed.insert(worklist).inserted { try writing(plan) { try $0.placeAgain() } }
    return try change(worklist, now: now) { try $0.answer(request, of: machine) }
  }

  package func needsOrders(
    _ request: OrderRequest, of machine: MachineID, from worklist: WorklistName, now: Int64
  ) throws -> Bool {
    try change(worklist, now: now) { try $0.needsOrders(request, of: machine) }
  }

  package func note(_ outcome: RefillOutcome, of machine: MachineID, from worklist: WorklistName, now: Int64) throws {
    try change(worklist, now: now) { try $0.note(outcome, of: machine) }
  }

  package func settle(_ worklist: WorklistName, now: Int64) throws -> [String] {
    let mark = try reading(plan(worklist)) { try $0.mark() }
    guard settled[worklist] != mark else { return [] }
    let complete = try change(worklist, now: now) { try $0.settle() }
    settled[worklist] = try reading(plan(worklist)) { try $0.mark() }
    return complete
  }

  package func requeue(_ keys: [String], in worklist: WorklistName, now: Int64) throws -> [OrderAction] {
    try change(worklist, now: now) { try $0.act(.requeue, on: keys) }
  }

  package func withdraw(_ keys: [String], in worklist: WorklistName, now: Int64) throws -> [OrderAction] {
    try change(worklist, now: now) { try $0.act(.withdraw, on: keys) }
  }

  package func completedToPost(in worklist: WorklistName, limit: Int) throws -> [QueuedOrder] {
    try reading(plan(worklist)) { try $0.completedToPost(limit: limit).map(\.shown) }
  }

  package func posted(_ keys: [String], in worklist: WorklistName, now: Int64) throws {
    try writing(plan(worklist)) { try $0.setPosted(keys, now: now) }
  }

  package func summary(_ worklist: WorklistName) throws -> WorklistSummary {
    try reading(plan(worklist)) { try $0.summary() }
  }

  package func orders(
    in worklist: WorklistName, state: OrderState?, machine: MachineID?, after: String?, limit: Int
  ) throws -> [QueuedOrder] {
    try reading(plan(worklist)) {
      try $0.entries(state: state, machine: machine, after: after, limit: limit).map(\.shown)
    }
  }

  package func order(_ key: String, in worklist: WorklistName) throws -> QueuedOrder? {
    try reading(plan(worklist)) { try $0.entries(keys: [key]).first?.shown }
  }
}

/// How large orders are in an answer, as `WorklistReply` writes it: at most.
package enum OrderSize {
  /// Longest key, in bytes.
  package static let mostKeyBytes = 1024

  /// Of an answer without orders.
  package static let frame = 64

  package static func of(_ order: Order) -> Int {
    // A character of the key has at most six bytes as JSON.
    let key = order.key.utf8.reduce(0) { $0 + ($1 < 0x20 || $1 == 0x7f || $1 == 0x22 || $1 == 0x5c ? 6 : 1) }
    return key + order.fields.count + 56
  }
}
