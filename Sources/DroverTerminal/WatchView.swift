// What `drover watch` shows, whatever the size of the window.

package import DroverCore

package struct WatchView: Sendable {
  package struct Problem: Equatable, Sendable {
    package var text: String
    package var advice: String

    package init(_ text: String, advice: String) {
      self.text = text
      self.advice = advice
    }
  }

  package struct Column: Sendable {
    var title: String
    var isNumeric: Bool
    /// A narrow window loses the columns with the highest first.
    var rank: Int

    init(_ title: String, isNumeric: Bool = true, rank: Int) {
      self.title = title
      self.isNumeric = isNumeric
      self.rank = rank
    }
  }

  package struct Row: Sendable {
    var cells: [String]
    /// Events bucket by bucket, the present one last.
    var counts: [Int]
    var isBad: Bool
  }

  /// In which order the rows stand.
  package enum Order: String, CaseIterable, Sendable {
    case worst = "worst first"
    case busiest = "busiest first"
    case name = "by name"

    package var next: Order { Self.allCases[(Self.allCases.firstIndex(of: self)! + 1) % Self.allCases.count] }
  }

  var header: [String]
  var problems: [Problem]
  var columns: [Column]
  var rows: [Row]
  /// What a row is, for "17 more …".
  var rowWord: String

  /// - Parameters:
  ///   - store: its name.
  ///   - rate: events a second, as far as that is known.
  ///   - rules: what a problem is.
  package init(_ fleet: FleetSnapshot, store: String, rate: Double?, rules: AlertRules, order: Order) {
    let machines = fleet.report?.machines ?? []
    let (alerts, named) = AlertLedger.problems(in: fleet, by: rules)
    header = Self.header(fleet, store: store, rate: rate)
    problems = alerts.map { Problem($0.text, advice: $0.advice) }
    if fleet.worker.process == nil {
      problems.insert(
        Problem("the consumer is not running", advice: "start `drover cloud`; until then the machines keep everything"),
        at: 0)
    }
    columns = [
      Column("machine", isNumeric: false, rank: 0), Column("state", isNumeric: false, rank: 1),
      Column("heard", rank: 4), Column("waiting", rank: 2), Column("oldest", rank: 3), Column("reported", rank: 9),
      Column("lag", rank: 5),
      Column("clock", rank: 8), Column("dead", rank: 6), Column("drift", rank: 7),
    ]
    let all = machines.map { WatchedMachine($0, fleet, isNamed: named.contains($0.name)) }
    rows = WatchedMachine.sorted(all, order).map { $0.row(now: fleet.at) }
    rowWord = "machines"
  }

  private static func header(_ fleet: FleetSnapshot, store: String, rate: Double?) -> [String] {
    let machines = fleet.report?.machines ?? []
    let streams = machines.flatMap(\.streams)
    let applied = streams.reduce(0) { $0 + $1.applied }
    let waiting = machines.reduce(0) { $0 + ($1.outbox?.figures.waiting ?? 0) }
    let drift = streams.reduce(0) { $0 + ($1.check?.drift ?? 0) }
    let letters = fleet.report?.deadLetters.present ?? 0
    return [
      "\(store)  consumer \(fleet.worker.text)",
      "\(quantity(machines.count, "machine")), \(machines.count { $0.isOnline == true }) online  \(applied) applied"
        + (rate.map { ", \(rateText($0)) a second" } ?? "")
        + "  \(waiting) waiting  \(quantity(letters, "dead letter"))  \(quantity(drift, "row")) of drift",
    ]
  }

  /// - Parameters:
  ///   - history: of what was confirmed, by stream.
  ///   - now: microseconds since 1970.
  package init(
    _ report: EdgeReport?, machine: String, worker: Worker, history: FleetHistory, rate: Double?, now: Int64
  ) {
    let streams = report?.streams ?? []
    header = [
      "\(machine)  agent \(worker.text)",
      "\(streams.reduce(0) { $0 + $1.pending }) pending  \(streams.reduce(0) { $0 + $1.synced }) synced  "
        + "\(streams.reduce(0) { $0 + $1.confirmed }) confirmed" + (rate.map { ", \(rateText($0)) a second" } ?? "")
        + "  \(quantity(report?.deadLetters.present ?? 0, "dead letter"))",
    ]
    problems = []
    if worker.process == nil {
      problems.append(
        Problem("the agent is not running", advice: "start `drover edge`; until then events are captured and wait"))
    }
    if report == nil {
      problems.append(Problem("the database is not attached yet", advice: "`drover edge` does that when it starts"))
    } else if report!.deadLetters.present > 0 {
      problems.append(
        Problem("there are dead letters: \(report!.deadLetters.present)", advice: AlertRule.deadLetters.advice))
    }
    for limit in report?.space.closed ?? [] {
      problems.append(Problem("emit and drover_intake are refused: outbox.\(limit.rawValue)", advice: limit.advice))
    }
    columns = [
      Column("stream", isNumeric: false, rank: 0), Column("pending", rank: 1), Column("synced", rank: 2),
      Column("confirmed", rank: 3), Column("oldest", rank: 4), Column("kind", isNumeric: false, rank: 5),
    ]
    rows = streams.map { stream in
      Row(
        cells: [
          stream.name, "\(stream.pending)", "\(stream.synced)", "\(stream.confirmed)",
          stream.oldestUnconfirmed.map { ageText(now - $0) } ?? "-", stream.kind,
        ], counts: history.counts(of: stream.name), isBad: false)
    }
    rowWord = "streams"
  }

  /// Nothing can be seen.
  package init(failure: String) {
    header = ["nothing can be seen"]
    problems = [Problem(failure, advice: "it is tried again")]
    (columns, rows, rowWord) = ([Column("", rank: 0)], [], "")
  }

  package var rowCount: Int { rows.count }
}

/// A machine with what its place among the others depends on.
private struct WatchedMachine {
  let machine: CloudReport.Machine
  let counts: [Int]
  let isNamed: Bool
  let oldest: Int64?

  init(_ machine: CloudReport.Machine, _ fleet: FleetSnapshot, isNamed: Bool) {
    self.machine = machine
    counts = fleet.history.counts(of: machine.name)
    self.isNamed = isNamed
    oldest = machine.oldestUnconfirmed(now: fleet.at)
  }

  private var badness: (Int, Int, Int64, Int) {
    (
      isNamed ? 1 : 0, machine.isOnline == true ? 0 : 1, oldest ?? 0,
      machine.deadLetters + (machine.outbox?.figures.deadLetters ?? 0)
    )
  }

  static func sorted(_ all: [WatchedMachine], _ order: WatchView.Order) -> [WatchedMachine] {
    let named = all.sorted { $0.machine.name < $1.machine.name }
    func by<Key>(_ key: (WatchedMachine) -> Key, _ isBefore: (Key, Key) -> Bool) -> [WatchedMachine] {
      // By place where they are equal, for sorting promises no stability.
      named.enumerated().map { (key: key($1), place: $0, one: $1) }
        .sorted { isBefore($0.key, $1.key) || !isBefore($1.key, $0.key) && $0.place < $1.place }.map(\.one)
    }
    switch order {
    case .worst: return by(\.badness) { $0 > $1 }
    case .busiest: return by({ $0.counts.suffix(5).reduce(0, +) }) { $0 > $1 }
    case .name: return named
    }
  }

  func row(now: Int64) -> WatchView.Row {
    let newest = machine.streams.max { $0.appliedAt < $1.appliedAt }
    let checks = machine.streams.compactMap(\.check)
    let letters = machine.deadLetters + (machine.outbox?.figures.deadLetters ?? 0)
    return WatchView.Row(
      cells: [
        machine.name, machine.isOnline.map { $0 ? "online" : "offline" } ?? "-", ageText(now - machine.lastHeard),
        machine.outbox.map { "\($0.figures.waiting)" } ?? "-", oldest.map(ageText) ?? "-",
        machine.outbox.map { ageText(now - $0.at) } ?? "-",
        newest?.lag.map(ageText) ?? "-",
        machine.clockOffset.map { ($0 < 0 ? "-" : "+") + ageText(abs($0)) } ?? "-", "\(letters)",
        checks.isEmpty ? "-" : "\(checks.reduce(0) { $0 + $1.drift })",
      ], counts: counts, isBad: isNamed)
  }
}

/// With one digit behind the point.
private func rateText(_ rate: Double) -> String {
  let tenths = Int((rate * 10).rounded())
  return "\(tenths / 10).\(tenths % 10)"
}
