// What `drover worklist` does at a machine.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverTerminal
import DroverWire

struct MachineWorklists {
  private let configuration: EdgeConfiguration
  private var desk: any WorklistDesk { configuration.worklistDesk }

  init(_ configuration: EdgeConfiguration) { self.configuration = configuration }

  // MARK: Showing

  func show(_ name: StreamName?, json: Bool) throws {
    try reporting("status") {
      let reports = try self.reports(name)
      let batches = try reports.map { try desk.rows(of: $0.name, limit: WorklistDeclaration.mostOrders) }
      if json {
        return print(
          JSON.object([("worklists", .array(zip(reports, batches).map { $0.document(batches: $1) }))])
            .text(pretty: true))
      }
      for (report, rows) in zip(reports, batches) {
        for line in report.lines(now: wallClock()) { print(line) }
        guard !rows.isEmpty else { continue }
        print(table(rows, report).text)
        if let all = report.rows?.all, all > rows.count { print("\(all - rows.count) more") }
      }
    }
  }

  /// The rows with their keys: what else is in them is the app's.
  private func table(_ rows: [WorklistRow], _ report: WorklistReport) -> TextTable {
    let declaration = configuration.streams.first { $0.name == report.name }?.worklist
    let key = declaration.map { SQLName($0.orderKey) }
    var table = TextTable(columns: ["number", "order", "state"], numeric: [0])
    for row in rows {
      let order = row.columns.firstIndex { SQLName($0) == key }.map { printable(valueText(row.values[$0])) } ?? "-"
      table.add([row.number.map { "\($0)" } ?? "-", order, row.isFinished ? "finished" : "unfinished"])
    }
    return table
  }

  // MARK: Acting

  func trigger(_ name: StreamName?) throws {
    try reporting("trigger") {
      let report = try one(name)
      try desk.trigger(report.name)
      guard AgentLock.holder(database: configuration.database) != nil else {
        return print("\(report.name): the agent is not running; it looks when it starts")
      }
      print("\(report.name): the agent looks now\(report.waits.map { "; \($0)" } ?? "")")
    }
  }

  func clear(_ name: StreamName?, yes: Bool) throws {
    try reporting("clear") {
      let report = try one(name)
      let count = report.rows.map { "\(quantity($0.all, "row")), \($0.unfinished) unfinished" } ?? "its rows"
      guard
        try yes
          || confirm(
            "Remove all rows of \(report.table): \(count)?", "this would remove all rows of \(report.table): \(count)")
      else { return print("nothing was removed") }
      let (removed, unfinished) = try desk.clear(report.name)
      print("\(report.name): \(quantity(removed, "row")) removed")
      guard !unfinished.isEmpty else { return }
      print("unfinished: \(unfinished.map { printable($0) }.joined(separator: ", "))")
    }
  }

  // MARK: Finding

  private func reports(_ name: StreamName?) throws -> [WorklistReport] {
    let declared = configuration.streams.filter { $0.worklist != nil }.map(\.name)
    guard !declared.isEmpty else {
      throw EdgeStoreError.failed("the configuration has no worklist; add `worklist` to a stream")
    }
    if let name, !declared.contains(name) {
      throw EdgeStoreError.failed(
        "the configuration has no worklist \(name); it has \(declared.map(\.text).joined(separator: ", "))")
    }
    let reports = try desk.reports().filter { name == nil || $0.name == name }
    guard !reports.isEmpty else {
      throw EdgeStoreError.failed("the database does not have it yet; start the agent with this configuration")
    }
    return reports
  }

  private func one(_ name: StreamName?) throws -> WorklistReport {
    let found = try reports(name)
    guard found.count == 1 else {
      throw EdgeStoreError.failed("which one? Name one of \(found.map(\.name.text).joined(separator: ", "))")
    }
    return found[0]
  }

  private func reporting(_ what: String, _ body: () throws -> Void) throws {
    do {
      try body()
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("worklist \(what): \(error)")
    }
  }
}

extension WorklistReport {
  /// For the terminal.
  /// - Parameter now: microseconds since 1970.
  func lines(now: Int64) -> [String] {
    func ago(_ at: Int64?) -> String { at.map { "\(ageText(now - $0)) ago" } ?? "never" }
    var lines = [
      "worklist \(name): \(rows.map { "\(quantity($0.all, "row")) in \(table), \($0.unfinished) unfinished" } ?? "no table \(table)")"
    ]
    lines.append("  \(waits.map { "waits: \(printable($0))" } ?? "it is ready for orders")")
    lines.append("  asked \(ago(requestedAt)); answered \(ago(answeredAt))\(answer.map { ": \(printable($0))" } ?? "")")
    if !isLastNoted { lines.append("  the cloud has not noted yet what became of the last orders") }
    lines.append(
      "  \(quantity(counts.refills, "refill")) with \(quantity(counts.orders, "order")), skipped \(counts.skipped), refused \(quantity(counts.refused, "order")), cleared \(quantity(counts.cleared, "time")) (\(quantity(counts.clearedRows, "row")))"
    )
    return lines
  }
}
