// What `drover doctor` finds of the worklists of a machine.

import DroverConfiguration
import DroverCore
import DroverSQLite

enum WorklistCheck {
  /// Nothing where the configuration has none.
  static func findings(_ configuration: EdgeConfiguration) -> [Finding] {
    let declared = configuration.streams.filter { $0.worklist != nil }
    guard !declared.isEmpty else { return [] }
    do {
      let reports = try configuration.worklistDesk.reports()
      return declared.map { stream in
        guard let report = reports.first(where: { $0.name == stream.name }) else {
          return .doubtful(
            "worklist", "\(stream.name): the database does not have it yet", "start the agent with this configuration")
        }
        return finding(report)
      }
    } catch {
      return [.bad("worklist", "\(error)", "see `drover worklist status`")]
    }
  }

  static func finding(_ report: WorklistReport) -> Finding {
    guard let rows = report.rows else {
      return .doubtful("worklist", "\(report.name): there is no table \(report.table)", "the app makes it")
    }
    if report.isEnabled, let obstacle = report.obstacle {
      return .bad(
        "worklist", "\(report.name): \(printable(obstacle))", "the agent tries again by itself when that is done")
    }
    return .good(
      "worklist",
      "\(report.name): \(quantity(rows.all, "row")), \(rows.unfinished) unfinished\(report.isEnabled ? "" : "; it is disabled")"
    )
  }
}
