// What the cloud does with requests, outcomes and people's actions, the same for both stores. A store gives a table within one transaction, and this says
// what is written to it. docs/decisions/0059-worklists.md has the rules.

package struct OrderDesk<Table: OrderTable> {
  private let table: Table
  private let placement: OrderPlacement
  private let now: Int64

  /// How many orders are looked at together.
  private static var piece: Int { 500 }

  package init(_ table: Table, placement: OrderPlacement, now: Int64) {
    self.table = table
    self.placement = placement
    self.now = now
  }

  // MARK: Listing

  package func list(_ orders: [NewOrder]) throws -> ListedOrders {
    var listed = ListedOrders()
    // Of an order that is listed twice at once the last one counts.
    var last: [ExactText: Int] = [:]
    for (index, order) in orders.enumerated() { last[ExactText(order.order.key)] = index }
    let distinct = orders.enumerated().filter { last[ExactText($1.order.key)] == $0 }.map(\.element)
    listed.known += orders.count - distinct.count
    for start in stride(from: 0, to: distinct.count, by: Self.piece) {
      let piece = Array(distinct[start..<min(start + Self.piece, distinct.count)])
      let known = Dictionary(
        try table.entries(keys: piece.map(\.order.key)).map { (ExactText($0.key), $0) }, uniquingKeysWith: { a, _ in a }
      )
      var (new, changed): ([OrderEntry], [OrderEntry]) = ([], [])
      for order in piece {
        guard (try? table.fields(order.order.fields)) != nil else {
          throw InvalidOrder(description: "the fields of order \(order.order.key.debugDescription) are no JSON object")
        }
        guard var entry = known[ExactText(order.order.key)] else {
          new.append(
            decided(OrderEntry(order: QueuedOrder(new: order, state: .queued, since: now), named: order.machine?.text)))
          continue
        }
        var order = order
        order.order.requeuedAt = entry.order.new.order.requeuedAt
        guard entry.order.state == .queued, entry.order.new != order else {
          listed.known += 1
          continue
        }
        entry.order.new = order
        entry.named = order.machine?.text
        entry.target = .undecided
        changed.append(decided(entry))
      }
      try table.insert(new)
      try table.update(changed)
      listed.added += new.count
      listed.replaced += changed.count
    }
    return listed
  }

  /// Decides who gets orders that programs have listed with SQL.
  private func place() throws {
    while case let entries = try table.undecided(limit: Self.piece), !entries.isEmpty {
      try table.update(entries.map(decided))
    }
  }

  private func decided(_ entry: OrderEntry) -> OrderEntry {
    var entry = entry
    let object = entry.order.new.order.fields
    let (target, why) = placement.target(named: entry.named) { try table.fields(object) }
    entry.target = target
    entry.order.note = why
    return entry
  }

  // MARK: Requests

  /// Whether a request is a new one for which nothing is queued.
  package func needsOrders(_ request: OrderRequest, of machine: MachineID) throws -> Bool {
    guard try table.refill(request.request, of: machine) == nil else { return false }
    if request.last?.isTaken == false { try note(request.last!, of: machine) }
    try place()
    return try table.candidateCount(for: machine, now: now) == 0
  }

  package func answer(_ request: OrderRequest, of machine: MachineID) throws -> OrderAnswer {
    if let last = request.last { try note(last, of: machine) }
    if let known = try table.refill(request.request, of: machine) {
      guard known.state == .open else { return .closed }
      let orders = try table.entries(request: request.request)
        .filter { $0.order.state == .handedOut && $0.order.holder == machine }
      guard orders.isEmpty else { return try answered(orders, machine) }
      // A person has queued all of them again.
      try table.setRefill(request.request, of: machine, .closed, now: now)
      return .closed
    }
    try doubt(machine, last: request.last?.request)
    try place()
    let orders = try handOut(to: request, machine)
    try table.setRefill(request.request, of: machine, orders.isEmpty ? .closed : .open, now: now)
    return orders.isEmpty ? .nothing(why: try table.whyNone(for: machine, now: now)) : try answered(orders, machine)
  }

  private func answered(_ entries: [OrderEntry], _ machine: MachineID) throws -> OrderAnswer {
    .orders(entries.map(\.order.new.order), left: try table.candidateCount(for: machine, now: now))
  }

  /// A new request closes the ones before. An order of theirs whose outcome the machine does not know may have been worked on.
  private func doubt(_ machine: MachineID, last: RefillID?) throws {
    let said = try last.map { try table.number(of: $0, of: machine) } ?? 0
    // The machine has forgotten a request that it has taken: it was put back to an earlier state, and what it took later may be gone.
    let hasForgotten = try table.newestTaken(by: machine).map { $0.number > said } ?? false
    var doubted: [OrderEntry] = []
    for entry in try table.entries(at: machine) where !entry.order.isInDoubt {
      switch entry.order.state {
      case .handedOut: doubted.append(entry)
      case .inWork where hasForgotten:
        guard let request = entry.order.request, try table.number(of: request, of: machine) > said else { continue }
        doubted.append(entry)
      default: continue
      }
    }
    guard !doubted.isEmpty else { return }
    let rows = try table.rows(keys: doubted.map(\.key), of: machine)
    try table.update(
      doubted.map {
        var entry = $0
        entry.order.isInDoubt = true
        entry.rowsAfter = rows[ExactText(entry.key)]?.first?.version ?? entry.rowsAfter
        return entry
      })
  }

  private func handOut(to request: OrderRequest, _ machine: MachineID) throws -> [OrderEntry] {
    var (taken, left) = ([OrderEntry](), request.bytes - OrderSize.frame)
    while taken.count < request.limit {
      let found = try table.candidates(for: machine, now: now, limit: request.limit - taken.count)
      guard !found.isEmpty else { break }
      var changed: [OrderEntry] = []
      var isFull = false
      let rows = try rows(of: found, asking: machine)
      for var entry in found {
        if settle(&entry, rows[ExactText(entry.key)] ?? []) {
          changed.append(entry)
          continue
        }
        guard (try? table.fields(entry.order.new.order.fields)) != nil else {
          entry.become(.refused, note: "its fields cannot be read", now: now)
          changed.append(entry)
          continue
        }
        let size = OrderSize.of(entry.order.new.order)
        guard size <= request.bytes - OrderSize.frame else {
          entry.become(
            .refused, note: "it has \(size) bytes, and the machine takes \(request.bytes - OrderSize.frame)", now: now)
          changed.append(entry)
          continue
        }
        isFull = size > left
        if isFull { break }
        left -= size
        entry.become(.handedOut, now: now)
        entry.order.request = request.request
        entry.order.holder = machine
        entry.order.handedOutAt = now
        changed.append(entry)
        taken.append(entry)
      }
      try table.update(changed)
      if isFull { break }
    }
    return taken
  }

  // MARK: Outcomes

  package func note(_ outcome: RefillOutcome, of machine: MachineID) throws {
    let refill = try table.refill(outcome.request, of: machine)
    var changed: [ExactText: OrderEntry] = [:]
    func apply(_ event: OrderEvent, _ entry: OrderEntry, note: String? = nil) {
      var entry = changed[ExactText(entry.key)] ?? entry
      guard case .becomes(let state) = OrderRule.decide(entry.order.state, event) else { return }
      entry.become(state, note: note, now: now)
      if state == .queued { (entry.order.request, entry.order.holder, entry.order.handedOutAt) = (nil, nil, nil) }
      if state == .inWork, entry.order.holder == nil { entry.order.holder = machine }
      changed[ExactText(entry.key)] = entry
    }
    let own = try table.entries(request: outcome.request).filter { $0.order.holder == machine }
    let refused = Dictionary(outcome.refused.map { (ExactText($0.key), $0.why) }, uniquingKeysWith: { a, _ in a })
    let named = Set((outcome.refused.map(\.key) + outcome.known).map { ExactText($0) })
    // Of a request that the store has lost, only the orders that the outcome names are known.
    let strangers =
      refill == nil
      ? try table.entries(keys: named.map(\.text)).filter {
        $0.order.request == nil && (mayGet($0, machine) || $0.target == .undecided)
      } : []
    for entry in own + strangers {
      if !outcome.isTaken {
        apply(.notTaken, entry)
      } else if let why = refused[ExactText(entry.key)] {
        apply(.refused, entry, note: why)
      } else {
        apply(.taken, entry, note: named.contains(ExactText(entry.key)) ? "the machine had it before" : nil)
      }
    }
    // Also of a request before: the machine may have turned the last one away. An order that it got later was cleared before that.
    let number = refill?.number ?? 0
    for entry in try table.entries(keys: outcome.cleared) where entry.order.holder == machine {
      if let request = entry.order.request, request != outcome.request {
        guard try table.number(of: request, of: machine) < number else { continue }
      }
      apply(.cleared, entry, note: "cleared at the machine")
    }
    try table.update(changed.values.sorted { $0.number! < $1.number! })
    let state: RefillEntry.State = outcome.isTaken ? .taken : .notTaken
    if refill?.state != state { try table.setRefill(outcome.request, of: machine, state, now: now) }
  }

  private func mayGet(_ entry: OrderEntry, _ machine: MachineID) -> Bool {
    entry.target == .any || entry.target == .machine(machine)
  }

  // MARK: Rows

  /// - Returns: the keys that became complete.
  package func settle() throws -> [String] {
    let entries = try table.entriesToSettle()
    var (changed, complete): ([OrderEntry], [String]) = ([], [])
    for (holder, entries) in Dictionary(grouping: entries, by: \.order.holder) {
      let rows = try table.rows(keys: entries.map(\.key), of: holder)
      for var entry in entries where settle(&entry, rows[ExactText(entry.key)] ?? []) {
        changed.append(entry)
        if entry.order.state == .complete { complete.append(entry.key) }
      }
    }
    try table.update(changed.sorted { $0.number! < $1.number! })
    return complete.sorted()
  }

  /// Takes an order's state from its rows.
  /// - Returns: whether it has changed.
  private func settle(_ entry: inout OrderEntry, _ rows: [OrderRow]) -> Bool {
    let counting = rows.filter { row in
      row.isComplete || entry.rowsAfter == nil || row.machine != entry.order.holder || row.version > entry.rowsAfter!
    }
    guard let row = counting.first(where: \.isComplete) ?? counting.first else { return false }
    let before = entry
    if case .becomes(let state) = OrderRule.decide(entry.order.state, row.isComplete ? .rowComplete : .rowArrived) {
      entry.become(state, now: now)
      entry.order.holder = row.machine
    } else if entry.order.state == .inWork {
      // The row has come after the doubt, so the order is at the machine.
      entry.order.isInDoubt = false
    }
    return entry != before
  }

  /// An order that names its machine is that machine's alone; another one may be at any that has asked for it.
  private func rows(of entries: [OrderEntry], asking machine: MachineID) throws -> [ExactText: [OrderRow]] {
    let own = entries.filter { $0.target != .any }.map(\.key)
    let open = entries.filter { $0.target == .any }.map(\.key)
    var found = own.isEmpty ? [:] : try table.rows(keys: own, of: machine)
    if !open.isEmpty { found.merge(try table.rows(keys: open, of: nil)) { $0 + $1 } }
    return found
  }

  // MARK: People

  package func act(_ event: OrderEvent, on keys: [String]) throws -> [OrderAction] {
    let entries = Dictionary(
      try table.entries(keys: keys).map { (ExactText($0.key), $0) }, uniquingKeysWith: { a, _ in a })
    var changed: [OrderEntry] = []
    let actions = try keys.map { key in
      guard var entry = entries[ExactText(key)] else { return OrderAction(key: key, refusal: "it is not listed") }
      switch OrderRule.decide(entry.order.state, event) {
      case .stays: return OrderAction(key: key)
      case .refuses(let why): return OrderAction(key: key, refusal: why)
      case .becomes(let state):
        let rows =
          try table.rows(keys: [key], of: entry.order.holder ?? entry.order.new.machine)[ExactText(key)] ?? []
        if state == .queued, rows.contains(where: \.isComplete) {
          return OrderAction(key: key, refusal: "its row is complete")
        }
        entry.become(state, now: now)
        if state == .queued {
          (entry.order.request, entry.order.handedOutAt) = (nil, nil)
          entry.order.new.order.requeuedAt = now
          entry.rowsAfter = rows.first?.version
          if let row = rows.first { entry.order.holder = row.machine }
        }
        changed.append(entry)
        return OrderAction(key: key)
      }
    }
    try table.update(changed)
    return actions
  }
}
