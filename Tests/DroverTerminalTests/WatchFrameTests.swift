// What `drover watch` shows in windows of every size.

import DroverCore
import DroverTerminal
import Testing

@Suite struct WatchFrameTests {
  private static let now: Int64 = 1_795_000_000_000_000

  private static func machine(
    _ name: String, isOnline: Bool = true, silentMinutes: Int64 = 0, waitedSeconds: Int64? = nil, letters: Int = 0
  ) -> CloudReport.Machine {
    let standing = OutboxFigures(
      waiting: waitedSeconds == nil ? 0 : 7, oldest: waitedSeconds.map { now - $0 * 1_000_000 }, deadLetters: 0,
      freeBytes: 1 << 40)
    let stream = CloudReport.Stream(
      name: "stock", rows: nil, applied: 100, superseded: 0, refused: 0, version: now - 5000, appliedAt: now,
      check: .init(at: now, drift: 3, inFlight: 0, failure: nil), lines: [])
    return CloudReport.Machine(
      name: name, isOnline: isOnline, lastHeard: now - silentMinutes * 60_000_000, clockOffset: -1_500_000,
      outbox: .init(figures: standing, at: now), streams: [stream], deadLetters: letters)
  }

  /// - Parameter applied: by each machine, minute by minute; the last is the present one.
  private static func fleet(_ machines: [CloudReport.Machine], applied: [Int] = []) -> FleetSnapshot {
    var history = FleetHistory()
    var total = 0
    for (index, count) in ([0] + applied).enumerated() {
      total += count
      let moment = now - Int64(max(0, applied.count - max(1, index))) * 60_000_000
      history.note(machines.map { ($0.name, total) }, at: moment)
    }
    return FleetSnapshot(
      at: now,
      report: CloudReport(
        machines: machines, dropped: [], letterBytes: 0, letterRows: 0,
        deadLetters: DeadLetterFigures(present: machines.reduce(0) { $0 + $1.deadLetters }), messages: []),
      waiting: [], worker: Worker(process: 7), history: history)
  }

  private static func view(_ fleet: FleetSnapshot, _ order: WatchView.Order = .worst) -> WatchView {
    WatchView(fleet, store: "cloud.db", rate: 12.34, rules: AlertRules(), order: order)
  }

  private func texts(_ view: WatchView, _ columns: Int = 200, _ rows: Int = 40, skipped: Int = 0) -> [String] {
    WatchFrame(view, size: .init(columns: columns, rows: rows), footer: "footer", skipped: skipped).lines.map(\.text)
  }

  /// The first words of the table's rows.
  private func names(_ lines: [String]) -> [String] {
    lines.drop { !$0.hasPrefix("machine ") }.dropFirst().prefix { $0.hasPrefix("M") }.map {
      String($0.prefix { $0 != " " })
    }
  }

  @Test func `it shows the whole, what is wrong with what to do, and every machine`() {
    let fleet = Self.fleet(
      [Self.machine("M1"), Self.machine("M2", isOnline: false, silentMinutes: 20, waitedSeconds: 60)],
      applied: [0, 7, 3, 1])
    let lines = texts(Self.view(fleet))
    #expect(lines[0] == "cloud.db  consumer running, process 7")
    #expect(
      lines[1] == "2 machines, 1 online  200 applied, 12.3 a second  7 waiting  0 dead letters  6 rows of drift")
    #expect(lines[2] == "! M2 was last heard 20 min ago and is offline")
    #expect(lines[3].hasPrefix("  check the machine's power"))
    #expect(lines[5] == "machine  state     heard  waiting  oldest  reported   lag  clock  dead  drift  last hour")
    #expect(
      lines[6].hasPrefix("M2       offline  20 min        7    60 s      0 ms  5 ms   -1 s     0      3  "),
      "\(lines[6])")
    #expect(lines[6].hasSuffix(" █▄▂"), "\(lines[6])")
    #expect(lines.count == 40 && lines.last == "footer")
  }

  @Test func `the worst come first, or the busiest, or it goes by name`() {
    let fleet = Self.fleet([
      Self.machine("M1"), Self.machine("M2", waitedSeconds: 60), Self.machine("M3", isOnline: false),
      Self.machine("M4", letters: 1), Self.machine("M5", waitedSeconds: 90),
    ])
    #expect(names(texts(Self.view(fleet))) == ["M4", "M3", "M5", "M2", "M1"])
    #expect(names(texts(Self.view(fleet, .name))) == ["M1", "M2", "M3", "M4", "M5"])
    var history = FleetHistory()
    for count in [0, 1] { history.note((1...5).map { ("M\($0)", count * (10 - $0 % 3)) }, at: Self.now) }
    var busy = fleet
    busy.history = history
    #expect(names(texts(Self.view(busy, .busiest))) == ["M3", "M1", "M4", "M2", "M5"])
  }

  @Test(arguments: 1...130, [1, 3, 24])
  func `no frame is wider or higher than its window`(columns: Int, rows: Int) {
    let machines = (0..<30).map {
      Self.machine("M\($0)", isOnline: $0 % 2 == 0, silentMinutes: $0 > 20 ? 30 : 0, letters: $0 % 7)
    }
    let lines = texts(Self.view(Self.fleet(machines, applied: Array(repeating: 5, count: 60))), columns, rows)
    #expect(lines.count == rows)
    #expect(lines.allSatisfy { $0.count <= columns })
  }

  @Test func `a narrow window loses its columns in a fixed order, and the machine's name last`() {
    let fleet = Self.fleet([Self.machine("M1")], applied: [1])
    func titles(_ width: Int) -> [Substring] {
      texts(Self.view(fleet), width).first { $0.hasPrefix("machine") }?.split(separator: " ") ?? []
    }
    var before = titles(200).count
    for width in stride(from: 160, through: 5, by: -5) {
      let found = titles(width)
      #expect(found.count <= before)
      before = found.count
    }
    #expect(titles(30) == ["machine", "state", "waiting"])
    #expect(titles(8) == ["machine"])
    #expect(titles(50).contains("oldest") && !titles(50).contains("clock"))
  }

  @Test func `what has no room is counted, and can be scrolled to`() {
    let fleet = Self.fleet((0..<100).map { Self.machine("M\(100 + $0)") })
    let lines = texts(Self.view(fleet, .name), 100, 20)
    #expect(names(lines).first == "M100")
    #expect(lines.contains("\(100 - names(lines).count) more machines"))
    #expect(names(texts(Self.view(fleet, .name), 100, 20, skipped: 95)) == ["M195", "M196", "M197", "M198", "M199"])
    #expect(names(texts(Self.view(fleet, .name), 100, 20, skipped: 1000)) == ["M199"])
  }

  @Test func `many problems leave room for the table and are counted`() {
    let fleet = Self.fleet((0..<9).map { Self.machine("M\($0)", letters: 1) })
    let lines = texts(Self.view(fleet), 100, 24)
    #expect(lines.contains("! and 4 more"))
    #expect(names(lines).count >= 4)
  }

  @Test func `no name is a command to the terminal`() {
    let fleet = Self.fleet([Self.machine("M\u{1b}[2J\u{7}\u{9b}1m", silentMinutes: 20)])
    let all = texts(Self.view(fleet)).joined()
    #expect(all.contains("M\\u{1b}[2J\\u{7}\\u{9b}1m"))
    #expect(!all.unicodeScalars.contains { $0.properties.generalCategory == .control })
  }

  @Test func `without a window everything is shown once`() {
    let fleet = Self.fleet((0..<500).map { Self.machine("M\($0)") })
    let frame = WatchFrame(Self.view(fleet), size: .unlimited, footer: nil)
    #expect(frame.lines.count == 2 + 1 + 1 + 500)
  }

  @Test func `a machine's streams are shown, and what is wrong there`() {
    let report = EdgeReport(
      epoch: "e", space: .init(measure: OutboxSpace(used: 0), closed: [], refused: 0, closings: 0, closedAt: nil),
      clockAhead: nil, versionsAhead: nil,
      streams: [
        .init(
          name: "stock", kind: "snapshot", table: "stock", pending: 3, synced: 2, confirmed: 9,
          oldestUnconfirmed: Self.now - 65_000_000, isBackfilling: false, resync: nil)
      ], journalMode: "wal", deadLetters: DeadLetterFigures(present: 1))
    let lines = texts(
      WatchView(
        report, machine: "M1", worker: Worker(process: nil), history: FleetHistory(), rate: nil, now: Self.now))
    #expect(lines[0] == "M1  agent not running")
    #expect(lines[1] == "3 pending  2 synced  9 confirmed  1 dead letter")
    #expect(lines[2] == "! the agent is not running" && lines[4] == "! there are dead letters: 1")
    #expect(lines.contains { $0.hasPrefix("stock         3       2          9    65 s  snapshot") })
  }
}
