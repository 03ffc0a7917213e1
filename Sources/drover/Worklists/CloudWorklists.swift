// The cloud's half of `drover worklist`: the queue of orders in the store.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverPostgreSQL
import DroverSQLite
import DroverServices
import DroverTerminal
import DroverWire
import Logging

extension CloudConfiguration {
  /// The queues, beside the consumer and on a connection of their own.
  /// - Parameter forChange: they are not only looked at.
  func openWorklists(forChange: Bool = true) throws -> any WorklistStore {
    let plans = worklists.map(\.plan)
    return switch store {
    case .sqlite(let path): try SQLiteWorklists(path: path, plans: plans, readOnly: !forChange)
    case .postgresql(let server):
      try PostgreSQLWorklists(PostgreSQLAddress(server), plans: plans, limits: storeLimits)
    }
  }
}

extension CloudConfiguration {
  /// Answers machines' requests for orders; nil where the configuration has no worklist.
  /// - Parameter fetch: asks an ERP first; nil without one.
  func orderAnswers(
    fetch: (@Sendable (WorklistName, MachineID, Int) async -> Void)?, wake: @escaping @Sendable () -> Void
  ) -> OrderAnswers? {
    guard !worklists.isEmpty else { return nil }
    return OrderAnswers(
      worklists.map(\.plan), open: { try openWorklists() }, fetch: fetch, now: { wallClock() }, wake: wake)
  }

  func orderSettling(isOurs: @escaping @Sendable () -> Bool, logger: Logger) -> OrderSettling? {
    guard !worklists.isEmpty else { return nil }
    return OrderSettling(
      worklists.map(\.plan.name), open: { try openWorklists() }, isOurs: isOurs, now: { wallClock() }, logger: logger)
  }
}

struct QueueView {
  let configuration: CloudConfiguration

  init(_ configuration: CloudConfiguration) throws {
    guard !configuration.worklists.isEmpty else {
      throw fail("worklist: the configuration has no `worklists`", Exit.configuration)
    }
    self.configuration = configuration
  }

  /// The worklist that is meant; without a name the only one.
  func worklist(_ name: WorklistName?) throws -> WorklistName {
    let names = configuration.worklists.map(\.plan.name)
    if let name {
      guard names.contains(name) else {
        throw fail(
          "worklist: there is no worklist \(name); the configuration has \(names.map(\.text).joined(separator: ", "))")
      }
      return name
    }
    guard names.count == 1 else {
      throw fail("worklist: name one of \(names.map(\.text).joined(separator: ", "))", ExitCode.validationFailure)
    }
    return names[0]
  }

  /// Longest list for people.
  private static let most = 100
  /// The states of orders in that list.
  private static let listed: [OrderState] = [.handedOut, .inWork, .refused, .queued]

  func show(_ name: WorklistName?, json: Bool) throws {
    do {
      let store = try configuration.openWorklists(forChange: false)
      let names = try name.map { [try worklist($0)] } ?? configuration.worklists.map(\.plan.name)
      let summaries = try names.map { try store.summary($0) }
      if json {
        return print(
          JSON.object([("worklists", .array(try summaries.map { try document($0) }))]).text(pretty: true))
      }
      for (index, summary) in summaries.enumerated() {
        if index > 0 { print("") }
        show(summary)
        for endpoint in try configuration.endpoints(of: summary.name) { print(endpoint.line) }
        // Complete ones are many, and nothing is to be done about them.
        var open: [QueuedOrder] = []
        for state in Self.listed {
          open += try store.orders(in: summary.name, state: state, machine: nil, after: nil, limit: Self.most)
        }
        show(open, of: summary)
      }
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("worklist status: \(error)")
    }
  }

  private func document(_ summary: WorklistSummary) throws -> JSON {
    guard case .object(let members) = summary.document else { return summary.document }
    let endpoints = try configuration.endpoints(of: summary.name)
    return .object(members + [("endpoints", .array(endpoints.map { .object($0.members) }))])
  }

  private func show(_ summary: WorklistSummary) {
    let counts = OrderState.allCases.compactMap { state in
      summary.counts[state].map { "\($0) \(state.rawValue)" }
    }
    print("worklist \(summary.name): \(counts.isEmpty ? "no orders" : counts.joined(separator: ", "))")
    if summary.inDoubt > 0 {
      print(
        "\(quantity(summary.inDoubt, "order")) in doubt: the machine was restored to an earlier state and may have worked on them; see whether it did, then `drover worklist requeue` or nothing"
      )
    }
    if let oldest = summary.oldestInWork {
      print("the oldest order in work was handed out at \(Timestamp.text(microseconds: oldest))")
    }
    if let moved = summary.lastMoved { print("the last change was at \(Timestamp.text(microseconds: moved))") }
  }

  private func show(_ orders: [QueuedOrder], of summary: WorklistSummary) {
    guard !orders.isEmpty else { return }
    var table = TextTable(columns: ["order", "state", "machine", "since", "priority", "note"], numeric: [4])
    for order in orders.prefix(Self.most) {
      let machine = order.state == .queued ? order.new.machine : order.holder ?? order.new.machine
      table.add([
        printable(order.new.order.key), order.state.rawValue + (order.isInDoubt ? ", in doubt" : ""),
        machine?.text ?? (order.state == .queued ? "any" : ""), Timestamp.text(microseconds: order.since),
        "\(order.new.priority)", order.note.map { printable($0) } ?? "",
      ])
    }
    print(table.text)
    let all = Self.listed.reduce(0) { $0 + (summary.counts[$1] ?? 0) }
    if all > Self.most { print("and \(all - min(orders.count, Self.most)) more") }
  }

  /// - Parameters:
  ///   - isInDoubt: all orders in doubt are meant.
  ///   - machine: of this one alone.
  func requeue(_ name: WorklistName?, _ keys: [String], isInDoubt: Bool, machine: MachineID?, yes: Bool) throws {
    try acting("requeue", name) { worklist, store in
      var keys = keys
      if isInDoubt {
        for state in [OrderState.handedOut, .inWork] {
          keys += try all(store, worklist, state, machine).filter(\.isInDoubt).map(\.new.order.key)
        }
        guard !keys.isEmpty else { return ([], "no order is in doubt") }
      }
      let atMachines = try keys.compactMap { try store.order($0, in: worklist) }.filter {
        [.handedOut, .inWork].contains($0.state)
      }
      if !yes {
        let warning =
          atMachines.isEmpty
          ? ""
          : " \(quantity(atMachines.count, "order")) may be at a machine, which may have worked on it: it would be made twice."
        guard
          try confirm(
            "Requeue \(quantity(keys.count, "order")) of \(worklist)?\(warning)",
            "worklist requeue: \(quantity(keys.count, "order")) of \(worklist) would be requeued.\(warning)")
        else { return ([], "nothing was requeued") }
      }
      return (try store.requeue(keys, in: worklist, now: wallClock()), "queued again")
    }
  }

  func withdraw(_ name: WorklistName?, _ keys: [String], yes: Bool) throws {
    try acting("withdraw", name) { worklist, store in
      if !yes, keys.count > 1 {
        let what = quantity(keys.count, "order")
        guard
          try confirm(
            "Withdraw \(what) of \(worklist)?", "worklist withdraw: \(what) of \(worklist) would be withdrawn")
        else { return ([], "nothing was withdrawn") }
      }
      return (try store.withdraw(keys, in: worklist, now: wallClock()), "withdrawn")
    }
  }

  private func all(
    _ store: any WorklistStore, _ worklist: WorklistName, _ state: OrderState, _ machine: MachineID?
  ) throws -> [QueuedOrder] {
    var (found, after): ([QueuedOrder], String?) = ([], nil)
    while true {
      let part = try store.orders(in: worklist, state: state, machine: machine, after: after, limit: 1000)
      found += part
      guard part.count == 1000, let last = part.last else { return found }
      after = last.new.order.key
    }
  }

  private func acting(
    _ what: String, _ name: WorklistName?,
    _ act: (WorklistName, any WorklistStore) throws -> (actions: [OrderAction], done: String)
  ) throws {
    do {
      let worklist = try worklist(name)
      let (actions, done) = try act(worklist, configuration.openWorklists())
      let left = actions.filter { $0.refusal != nil }
      if actions.isEmpty {
        print(done)
      } else if actions.count > left.count {
        print("\(quantity(actions.count - left.count, "order")) \(done)")
      }
      for action in left { _ = fail("worklist \(what) \(printable(action.key)): \(action.refusal!)") }
      if !left.isEmpty { throw ExitCode.failure }
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("worklist \(what): \(error)")
    }
  }
}
