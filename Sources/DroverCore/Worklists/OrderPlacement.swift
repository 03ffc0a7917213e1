// Which machine gets an order: as the program that lists it says, or as the cloud's configuration says of its fields.

/// Who may get an order.
package enum OrderTarget: Equatable, Sendable {
  /// Not decided yet.
  case undecided
  /// Any machine that asks.
  case any
  case machine(MachineID)
  /// No machine; the order's note says why.
  case none

  /// As the stores keep it; nil for `undecided`.
  package var text: String? {
    switch self {
    case .undecided: nil
    case .any: "*"
    case .machine(let machine): machine.text
    case .none: ""
    }
  }

  package init(text: String?) {
    switch text {
    case nil: self = .undecided
    case "*": self = .any
    case let text?: self = (try? MachineID(text)).map { .machine($0) } ?? .none
    }
  }
}

package enum OrderPlacement: Equatable, Sendable {
  package struct Rule: Equatable, Sendable {
    /// On the order's fields; nil: it holds of every order.
    package var when: Condition?
    package var machine: MachineID

    package init(when: Condition?, machine: MachineID) {
      self.when = when
      self.machine = machine
    }
  }

  case any
  /// The field that names the machine.
  case field(String)
  /// The first rule that holds.
  case rules([Rule])

  /// - Parameters:
  ///   - named: the machine that the program named; `*` is any.
  ///   - fields: the order's fields; nil for a field that is a list or an object.
  /// - Returns: who gets the order, and why no machine does. The reason has no value of the order.
  package func target(
    named: String?, fields: () throws -> [(name: String, value: Value?)]
  ) -> (target: OrderTarget, why: String?) {
    if let named {
      if named == "*" { return (.any, nil) }
      guard let machine = try? MachineID(named) else { return (.none, "its machine is no name of a machine") }
      return (.machine(machine), nil)
    }
    if case .any = self { return (.any, nil) }
    guard let fields = try? fields() else { return (.none, "its fields cannot be read") }
    func value(_ name: String) -> Value? { fields.last { $0.name.isExactly(name) }?.value }
    switch self {
    case .any: return (.any, nil)
    case .field(let name):
      guard case .text(let bytes)? = value(name), let machine = try? MachineID(String(decoding: bytes, as: UTF8.self))
      else { return (.none, "its field \(name) names no machine") }
      return (.machine(machine), nil)
    case .rules(let rules):
      let found = rules.first { rule in
        rule.when.map { $0.holds { (value($0) ?? .null, .blob) } ?? false } ?? true
      }
      return found.map { (.machine($0.machine), nil) } ?? (.none, "no rule gives it a machine")
    }
  }
}

/// A worklist as the cloud's configuration has it.
package struct WorklistPlan: Equatable, Sendable {
  package var name: WorklistName
  /// The machines' stream whose table the orders go into.
  package var stream: StreamName
  package var placement: OrderPlacement

  package init(name: WorklistName, stream: StreamName, placement: OrderPlacement = .any) {
    self.name = name
    self.stream = stream
    self.placement = placement
  }
}
