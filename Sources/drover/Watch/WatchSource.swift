// What `drover watch` looks at: the store or the machine's database itself, with a memory of what it saw since it began.

import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverTerminal

struct WatchSource {
  /// So many looks are what a rate is made of.
  private static let looksOfRate = 6

  private let configuration: AnyConfiguration
  private var history = FleetHistory()
  private var totals: [(at: Int64, count: Int)] = []

  init(_ configuration: AnyConfiguration) { self.configuration = configuration }

  mutating func look(_ order: WatchView.Order) throws -> WatchView {
    switch configuration {
    case .cloud(let configuration): try look(configuration, order)
    case .edge(let configuration): try look(configuration)
    }
  }

  private mutating func look(_ configuration: CloudConfiguration, _ order: WatchView.Order) throws -> WatchView {
    let overview = try CloudOverview(configuration.reader, ReportScope(countsRows: false))
    let now = wallClock()
    note((overview.report?.machines ?? []).map { ($0.name, $0.streams.reduce(0) { $0 + $1.applied }) }, at: now)
    let fleet = FleetSnapshot(
      at: now, report: overview.report, waiting: overview.waiting, worker: overview.worker, history: history,
      storeFreeBytes: configuration.storeFreeBytes())
    return WatchView(
      fleet, store: overview.store, rate: rate, rules: configuration.alerts?.rules ?? AlertRules(), order: order)
  }

  private mutating func look(_ configuration: EdgeConfiguration) throws -> WatchView {
    let report = try configuration.reader.report()
    let now = wallClock()
    note((report?.streams ?? []).map { ($0.name, $0.confirmed) }, at: now)
    return WatchView(
      report, machine: configuration.machine.text, worker: AgentLock.worker(database: configuration.database),
      history: history, rate: rate, now: now)
  }

  private mutating func note(_ counts: [(String, Int)], at now: Int64) {
    history.note(counts.map { (machine: $0.0, applied: $0.1) }, at: now)
    totals = totals.suffix(Self.looksOfRate - 1) + [(now, counts.reduce(0) { $0 + $1.1 })]
  }

  /// nil until it was looked at twice.
  private var rate: Double? {
    guard let first = totals.first, let last = totals.last, last.at > first.at else { return nil }
    return max(0, Double(last.count - first.count) / (Double(last.at - first.at) / 1_000_000))
  }
}
