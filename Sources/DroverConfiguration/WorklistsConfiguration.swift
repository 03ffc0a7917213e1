// `worklists` of the cloud's file: the queues of orders, and which machine gets an order.

package import DroverCore

package struct WorklistConfiguration: Equatable, Sendable {
  package var plan: WorklistPlan
  /// Where orders come from; nil: programs list them.
  package var fetch: FetchPlan?
  /// Where completed orders are posted; nil: nowhere.
  package var completed: CompletedPlan?

  package init(plan: WorklistPlan, fetch: FetchPlan? = nil, completed: CompletedPlan? = nil) {
    self.plan = plan
    self.fetch = fetch
    self.completed = completed
  }
}

extension WorklistConfiguration {
  /// Reads `worklists`. Nil after a problem, empty without the key.
  static func list(reading file: Section) -> [WorklistConfiguration]? {
    let sections = file.sections("worklists", example: "[{name: mo_batch}]", isRequired: false)
    let found = sections.map { WorklistConfiguration(reading: $0) }
    var (names, streams): ([SQLName: String], [SQLName: String]) = ([:], [:])
    for case (let keys, let worklist?) in zip(sections, found) {
      let (name, stream) = (worklist.plan.name.text, worklist.plan.stream.text)
      if let other = names.updateValue(keys.path, forKey: SQLName(name)) {
        keys.report("\(other) has the name \(quoted(name)) already", at: "name")
      }
      if let other = streams.updateValue(keys.path, forKey: SQLName(stream)) {
        keys.report(
          "\(other) has the stream \(quoted(stream)) already; a stream has one queue",
          at: keys.isGiven("stream") ? "stream" : "name")
      }
    }
    let complete = found.compactMap(\.self)
    return complete.count < found.count || sections.isEmpty && file.isGiven("worklists") ? nil : complete
  }

  private init?(reading worklist: Section) {
    let name = worklist.required("name", .streamName, example: "mo_batch")
    let stream = worklist.optional("stream", .streamName)
    let placement = OrderPlacement(reading: worklist.section("machine"), isGiven: worklist.isGiven("machine"))
    let (fetch, completed) = (FetchPlan(reading: worklist), CompletedPlan(reading: worklist))
    guard let name, let placement else { return nil }
    self.init(
      plan: WorklistPlan(name: name, stream: stream ?? name, placement: placement), fetch: fetch, completed: completed)
  }
}

extension OrderPlacement {
  /// Any machine without the section. Nil after a problem.
  fileprivate init?(reading keys: Section, isGiven: Bool) {
    let field = keys.optional("field", .text("a field's name", maximumBytes: 128))
    let sections = keys.sections(
      "rules", example: "[{when: \"silo = 'A'\", machine: MAH001}]", isRequired: false)
    let rules = sections.map { rule -> Rule? in
      let when = rule.optional("when", .condition)
      let machine = rule.required("machine", .orderMachine, example: "MAH001")
      guard let machine, when != nil || !rule.isGiven("when") else { return nil }
      return Rule(when: when, machine: machine)
    }
    let complete = rules.compactMap(\.self)
    guard isGiven else {
      self = .any
      return
    }
    guard complete.count == rules.count else { return nil }
    switch (field, complete.isEmpty) {
    case (let field?, true) where !keys.isGiven("rules"): self = .field(field)
    case (nil, false): self = .rules(complete)
    case (nil, true):
      if !keys.isGiven("field"), !keys.isGiven("rules") {
        keys.report(
          "add `field`, the field of an order that names its machine, or `rules`; without `machine` any machine gets an order"
        )
      }
      return nil
    default:
      keys.report("exclude each other: name the field, or write rules", at: "rules")
      return nil
    }
  }
}

extension Form where Value == MachineID {
  fileprivate static var orderMachine: Form { Form("a machine's name") { try? MachineID($0) } }
}
