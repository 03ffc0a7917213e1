// What is told of made looks at a fleet: that each alert is told once, however its value swings and however many there are.

import DroverCore
import DroverTesting
import Testing

@Suite(.ownThread) struct AlertLedgerTests {
  private static let second: Int64 = 1_000_000
  private static let begin: Int64 = 1_795_000_000 * second

  /// Looks every five seconds at a fleet that the test changes, and keeps what is told.
  private struct Watch {
    var ledger: AlertLedger
    var fleet: FleetSnapshot
    private(set) var told: [String] = []
    private(set) var changes: [AlertChange] = []

    init(_ rules: AlertRules = AlertRules(), open: [Alert] = [], machines: Int = 1) {
      ledger = AlertLedger(rules)
      ledger.follow(open, takesOver: true)
      fleet = FleetSnapshot(
        at: begin, report: AlertLedgerTests.report(machines: machines), waiting: [], worker: Worker(process: 1),
        history: FleetHistory())
    }

    mutating func look(seconds: Int64, change: (inout FleetSnapshot) -> Void = { _ in }) {
      let end = fleet.at + seconds * second
      while fleet.at < end {
        fleet.at += 5 * second
        change(&fleet)
        let found = ledger.take(fleet)
        changes += found
        told += found.map { "\($0.state) \($0.alert.rule.rawValue) \($0.alert.subject.machine ?? "-")" }
      }
    }
  }

  private static func report(machines: Int) -> CloudReport {
    CloudReport(
      machines: (0..<machines).map { number in
        let name = "M\(String(repeating: "0", count: 5 - "\(number)".count))\(number)"
        return CloudReport.Machine(
          name: name, isOnline: true, lastHeard: begin, clockOffset: nil,
          outbox: .init(
            figures: OutboxFigures(waiting: 0, oldest: nil, deadLetters: 0, freeBytes: 1 << 40), at: begin),
          streams: [], deadLetters: 0)
      }, dropped: [], letterBytes: 0, letterRows: 0,
      deadLetters: DeadLetterFigures(present: 0, replayed: 0, purged: 0, dropped: 0), messages: [])
  }

  /// The first machine.
  private static func change(_ fleet: inout FleetSnapshot, _ body: (inout CloudReport.Machine) -> Void) {
    body(&fleet.report!.machines[0])
  }

  /// Something was just heard of every machine.
  private static func hear(_ fleet: inout FleetSnapshot) {
    let now = fleet.at
    for index in fleet.report!.machines.indices { fleet.report!.machines[index].lastHeard = now }
  }

  /// How long the oldest event of the first machine has waited.
  private static func wait(_ seconds: Int64, _ fleet: inout FleetSnapshot) {
    let now = fleet.at
    change(&fleet) {
      $0.lastHeard = now
      $0.outbox!.at = now
      $0.outbox!.figures.oldest = now - seconds * second
    }
  }

  // MARK: Each rule

  @Test func `a machine that is silent for longer than the limit is told of once, and once when it is heard again`() {
    var watch = Watch()
    watch.look(seconds: 900)
    #expect(watch.told == [])
    watch.look(seconds: 3600)
    #expect(watch.told == ["firing silent M00000"])
    #expect(watch.changes[0].alert.text == "M00000 was last heard 15 min ago, with \"online\" as its last word")
    watch.look(seconds: 50) { Self.hear(&$0) }
    #expect(watch.told.count == 1)
    watch.look(seconds: 20) { Self.hear(&$0) }
    #expect(watch.told == ["firing silent M00000", "resolved silent M00000"])
    #expect(watch.changes[0].alert.id == watch.changes[1].alert.id)
    #expect(watch.ledger.open == [])
  }

  // The documentation's own example, one bare event of TEST, made an alert for ever.
  @Test func `a client without an agent is never silent`() {
    var watch = Watch()
    watch.look(seconds: 7200) { fleet in Self.change(&fleet) { $0.isOnline = nil } }
    #expect(watch.told == [])
  }

  @Test func `the time in which this consumer was away is no machine's silence`() {
    var watch = Watch()
    watch.fleet.at += 7200 * Self.second
    watch.look(seconds: 890)
    #expect(watch.told == [])
    watch.look(seconds: 120)
    #expect(watch.told == ["firing silent M00000"])
  }

  @Test func `an event that waits is told of beyond the limit, and its end below half of it`() {
    var watch = Watch()
    watch.look(seconds: 300) { Self.wait(590, &$0) }
    #expect(watch.told == [])
    watch.look(seconds: 300) { Self.wait(610, &$0) }
    #expect(watch.told == ["firing oldest_unconfirmed M00000"])
    watch.look(seconds: 3600) { Self.wait(310, &$0) }
    #expect(watch.told.count == 1)
    watch.look(seconds: 65) { Self.wait(290, &$0) }
    #expect(watch.told.last == "resolved oldest_unconfirmed M00000")
  }

  @Test func `dead letters count in the cloud and at the machine, and those of nobody too`() {
    var watch = Watch(AlertRules(silent: nil, deadLetters: 2))
    watch.look(seconds: 60) { fleet in
      Self.change(&fleet) { ($0.deadLetters, $0.outbox!.figures.deadLetters) = (1, 1) }
      fleet.report!.deadLetters.present = 3
    }
    #expect(watch.told == [])
    watch.look(seconds: 5) { fleet in
      Self.change(&fleet) { $0.outbox!.figures.deadLetters = 2 }
      fleet.report!.deadLetters.present = 4
    }
    #expect(watch.told == ["firing dead_letters -", "firing dead_letters M00000"])
    #expect(watch.changes[1].alert.text == "M00000 has dead letters: 1 in the cloud, 2 at the machine")
    #expect(watch.changes.map(\.alert.value) == [3, 3])
  }

  @Test func `a disk with too little room is told of, the machine's and the store's`() {
    var watch = Watch(AlertRules(silent: nil))
    watch.look(seconds: 60) { fleet in
      fleet.storeFreeBytes = 1 << 30
      Self.change(&fleet) { $0.outbox!.figures.freeBytes = nil }
    }
    #expect(watch.told == [])
    watch.look(seconds: 60) { fleet in
      fleet.storeFreeBytes = 1 << 30 - 1
      Self.change(&fleet) { $0.outbox!.figures.freeBytes = 512 << 20 }
    }
    #expect(watch.told == ["firing disk -", "firing disk M00000"])
    #expect(watch.changes[1].alert.text == "M00000's disk has 512 MiB left")
    watch.look(seconds: 600) { $0.storeFreeBytes = 1 << 30 + 1 << 20 }
    #expect(watch.told.count == 2)
    watch.look(seconds: 90) { $0.storeFreeBytes = 2 << 30 }
    #expect(watch.told.last == "resolved disk -")
  }

  @Test func `more failures in a row than the limit are told of, of commits and of comparisons`() {
    var watch = Watch(AlertRules(silent: nil))
    watch.look(seconds: 5) { $0.failedCommits = 3 }
    #expect(watch.told == [])
    watch.look(seconds: 5) { $0.failedCommits = 4 }
    #expect(watch.told == ["firing failures -"])
    #expect(watch.changes[0].alert.subject.part == "commits")
    watch.look(seconds: 70) { $0.failedCommits = 0 }
    #expect(watch.told.last == "resolved failures -")

    for round in 1...4 {
      #expect(watch.told.count == 2)
      // Each comparison is seen in several looks.
      watch.look(seconds: 20) { Self.check(&$0, round: Int64(round), failure: "no answer") }
    }
    #expect(watch.told.last == "firing failures M00000")
    #expect(watch.changes.last?.alert.text == "comparisons of M00000's stock have failed 4 times in a row")
    watch.look(seconds: 70) { Self.check(&$0, round: 5, failure: nil) }
    #expect(watch.told.last == "resolved failures M00000")
  }

  private static func check(_ fleet: inout FleetSnapshot, round: Int64, failure: String?) {
    change(&fleet) {
      $0.streams = [
        CloudReport.Stream(
          name: "stock", rows: nil, applied: 0, superseded: 0, refused: 0, version: 0, appliedAt: 0,
          check: .init(at: round, drift: 0, inFlight: 0, failure: failure), lines: [])
      ]
    }
  }

  // A lock that kept the store from being read kept its own alert from being judged.
  @Test func `while the store cannot be read its lock is told of, and no machine is taken for silent or well`() {
    var watch = Watch(AlertRules(silent: .seconds(60)))
    watch.look(seconds: 100) { Self.wait(700, &$0) }
    let known = watch.told
    let report = watch.fleet.report
    watch.look(seconds: 600) { fleet in
      (fleet.report, fleet.isRead) = (nil, false)
      fleet.lock = StoreLock(holder: "process 7 (python3)", since: Self.begin)
    }
    #expect(watch.told == known + ["firing tables -"])
    #expect(watch.changes.last?.alert.text.contains("process 7 (python3)") == true)
    watch.look(seconds: 120) { fleet in
      (fleet.report, fleet.isRead, fleet.lock) = (report, true, nil)
      Self.wait(700, &fleet)
    }
    #expect(watch.told == known + ["firing tables -", "resolved tables -"])
  }

  @Test func `a schema that waits and a job that is stuck are told of`() throws {
    var watch = Watch(AlertRules(silent: nil))
    let schema = WaitingSchema(
      machine: try MachineID("M1"), stream: try StreamName("stock"), reason: "", since: 0, added: [], missing: [])
    watch.look(seconds: 5) {
      $0.waiting = [schema]
      $0.worker.stuck = [.init(name: "backup", silence: .seconds(45))]
    }
    #expect(
      watch.changes.map(\.alert.text) == [
        "stock of M1 waits until its schema is accepted", "the consumer's backup has not moved for 45 s",
      ])
  }

  @Test func `a machine beyond a budget is named with the limit, as long as something is set aside`() {
    var watch = Watch(AlertRules(silent: nil, calm: .zero))
    func overrun(_ count: Int, at: Int64) -> [Overrun] {
      [
        Overrun(budget: "epochs_per_hour", count: count, firstAt: Self.begin, lastAt: at),
        Overrun(budget: "bytes_per_second", count: 7, firstAt: Self.begin, lastAt: at - 3_600_000_000),
      ]
    }
    watch.look(seconds: 5) { fleet in
      let now = fleet.at
      Self.change(&fleet) { $0.overruns = overrun(40, at: now) }
    }
    #expect(
      watch.changes.map(\.alert.text) == ["M00000 sends more than limits.epochs_per_hour allows: 40 set aside"])
    let last = watch.fleet.at
    watch.look(seconds: 55) { fleet in Self.change(&fleet) { $0.overruns = overrun(40, at: last) } }
    #expect(watch.told == ["firing budgets M00000"])
    watch.look(seconds: 60) { fleet in Self.change(&fleet) { $0.overruns = overrun(40, at: last) } }
    #expect(watch.told == ["firing budgets M00000", "resolved budgets M00000"])
  }

  @Test func `a table that cannot be written is told when it lasts, and once more when it can`() {
    let blocked = SinkBlocked(
      table: "stock", reach: .table, cause: .lock, text: "somebody has locked it", advice: "wait")
    let sink = BlockedSink(
      stream: try! StreamName("stock"), machine: nil, blocked: blocked, since: 5, last: 6, tries: 2)
    var watch = Watch()
    watch.look(seconds: 20) { fleet in fleet.blocked = [sink] }
    #expect(watch.told == [])
    watch.look(seconds: 20) { fleet in fleet.blocked = [sink] }
    #expect(watch.told == ["firing tables -"])
    watch.look(seconds: 100) { fleet in fleet.blocked = [] }
    #expect(watch.told == ["firing tables -", "resolved tables -"])
  }

  @Test func `a stream that waits at its machine is told with its reason when it lasts, and once more when it goes on`()
  {
    let wait = StreamWait(
      stream: try! StreamName("cust"), table: "cust", reason: "its column ssn is missing", advice: "a", since: 5)
    var watch = Watch(AlertRules(silent: nil))
    watch.look(seconds: 20) { fleet in Self.change(&fleet) { $0.waits = [wait] } }
    #expect(watch.told == [])
    watch.look(seconds: 20) { fleet in Self.change(&fleet) { $0.waits = [wait] } }
    #expect(watch.changes.map(\.alert.text) == ["cust of M00000 waits at the machine: its column ssn is missing"])
    #expect(watch.changes.map(\.alert.subject.part) == ["cust"])
    watch.look(seconds: 100) { fleet in Self.change(&fleet) { $0.waits = [] } }
    #expect(watch.told == ["firing streams M00000", "resolved streams M00000"])
  }

  @Test func `a rule that is off tells nothing, and an alert of it that is open ends`() {
    let off = AlertRules(
      silent: nil, oldestUnconfirmed: nil, failures: nil, deadLetters: nil, conflicts: nil, disk: nil, schemas: false,
      jobs: false, budgets: false, names: false, tables: false, streams: false, endpoints: nil,
      worklists: nil)
    let open = Alert(rule: .silent, subject: AlertSubject(machine: "M00000"), since: 5, value: 1, text: "t")
    var watch = Watch(off, open: [open])
    watch.look(seconds: 100_000) { fleet in
      Self.wait(100_000, &fleet)
      (fleet.storeFreeBytes, fleet.failedCommits) = (0, 100)
      fleet.worker.stuck = [.init(name: "backup", silence: .seconds(45))]
      Self.change(&fleet) { ($0.deadLetters, $0.lastHeard, $0.outbox!.figures.freeBytes) = (9, 0, 0) }
      Self.change(&fleet) {
        $0.waits = [StreamWait(stream: try! StreamName("s"), table: "s", reason: "r", advice: "a", since: 5)]
      }
    }
    #expect(watch.told == ["resolved silent M00000"])
    #expect(watch.ledger.figures.counts.isEmpty)
  }

  @Test func `conflicts of a machine are told of at once, with how many they are, and their end`() {
    var watch = Watch(AlertRules(silent: nil, oldestUnconfirmed: nil, calm: .zero))
    watch.look(seconds: 5) { fleet in Self.change(&fleet) { $0.conflicts = 3 } }
    #expect(watch.told == ["firing conflicts M00000"])
    #expect(watch.ledger.figures.open.first?.text == "3 conflicts of M00000 wait for a person")
  }

  // MARK: No flapping

  @Test func `what passes before its time is not told, and what comes back before its end neither`() {
    var watch = Watch()
    for _ in 0..<50 {
      watch.look(seconds: 25) { Self.wait(700, &$0) }
      watch.look(seconds: 5) { Self.wait(0, &$0) }
    }
    #expect(watch.told == [])
    watch.look(seconds: 60) { Self.wait(700, &$0) }
    for _ in 0..<50 {
      watch.look(seconds: 50) { Self.wait(0, &$0) }
      watch.look(seconds: 60) { Self.wait(700, &$0) }
    }
    #expect(watch.told == ["firing oldest_unconfirmed M00000"])
  }

  @Test func `what comes and goes for a day is one alert, of which less and less is told`() {
    var watch = Watch()
    for _ in 0..<(86_400 / 240) {
      watch.look(seconds: 120) { Self.wait(700, &$0) }
      watch.look(seconds: 120) { Self.wait(0, &$0) }
    }
    #expect((3...8).contains(watch.told.count), "\(watch.told.count)")
    #expect(Set(watch.changes.map(\.alert.id)).count == 1)
    watch.look(seconds: 3600) { Self.wait(0, &$0) }
    #expect(watch.told.last == "resolved oldest_unconfirmed M00000")
    watch.look(seconds: 60) { Self.wait(700, &$0) }
    #expect(Set(watch.changes.map(\.alert.id)).count == 2)
  }

  @Test func `a clock that is set wakes nobody, and keeps nothing open for ever`() {
    var watch = Watch(AlertRules(silent: nil))
    watch.look(seconds: 60) { Self.wait(700, &$0) }
    watch.fleet.at -= 365 * 86_400 * Self.second
    watch.look(seconds: 90) { Self.wait(0, &$0) }
    #expect(watch.told == ["firing oldest_unconfirmed M00000", "resolved oldest_unconfirmed M00000"])
    watch.look(seconds: 20) { Self.wait(700, &$0) }
    watch.fleet.at += 5 * Self.second
    watch.look(seconds: 5) { Self.wait(0, &$0) }
    #expect(watch.told.count == 2)
  }

  // MARK: Many at once

  @Test func `ten thousand machines that fall silent are one message, and so is their return`() {
    var watch = Watch(machines: 10_000)
    watch.look(seconds: 1000)
    #expect(watch.told == ["firing silent -"])
    #expect(
      watch.changes[0].alert.text
        == "machines from which nothing was heard for too long: 10000 (M00000, M00001, M00002, M00003, M00004 and 9995 more)"
    )
    #expect(watch.ledger.figures.counts.first?.count == 10_000)
    watch.look(seconds: 70) { Self.hear(&$0) }
    #expect(watch.told == ["firing silent -", "resolved silent -"])
    #expect(watch.changes[1].alert.text == "machines from which nothing was heard for too long: 10000")
    #expect(watch.changes[0].alert.id == watch.changes[1].alert.id)
  }

  @Test func `a few are told one by one, further ones together, and again when they have doubled`() {
    var watch = Watch(machines: 200)
    func fail(_ count: Int, _ fleet: inout FleetSnapshot) {
      for index in 0..<200 { fleet.report!.machines[index].deadLetters = index < count ? 1 : 0 }
    }
    watch.look(seconds: 5) { fail(10, &$0) }
    #expect(watch.changes.count == 10)
    watch.look(seconds: 5) { fail(14, &$0) }
    watch.look(seconds: 5) { fail(17, &$0) }
    #expect(watch.changes.count == 11)
    watch.look(seconds: 5) { fail(18, &$0) }
    watch.look(seconds: 5) { fail(160, &$0) }
    #expect(watch.changes.dropFirst(10).map(\.alert.count) == [4, 8, 150])
    #expect(Set(watch.changes.dropFirst(10).map(\.alert.id)).count == 1)
    #expect(watch.ledger.open.count == 11)
    watch.look(seconds: 65) { fail(3, &$0) }
    #expect(watch.ledger.open.map(\.subject.machine) == ["M00000", "M00001", "M00002"])
    #expect(watch.told.suffix(8).allSatisfy { $0.hasPrefix("resolved") })
  }

  // MARK: A new process

  @Test func `what was open before a restart is not told again, and its end is told`() {
    var before = Watch()
    before.look(seconds: 1000)
    var after = Watch(open: before.ledger.open)
    after.fleet.at = before.fleet.at
    after.look(seconds: 3600)
    #expect(after.told == [])
    #expect(after.ledger.open.map(\.id) == before.changes.map(\.alert.id))
    after.look(seconds: 70) { Self.hear(&$0) }
    #expect(after.changes.map(\.state) == [.resolved])
    #expect(after.changes[0].alert.id == before.changes[0].alert.id)
  }

  @Test func `an alert about many goes on over a restart, and ends when nobody is left`() {
    var before = Watch(machines: 100)
    before.look(seconds: 1000)
    var after = Watch(open: before.ledger.open, machines: 100)
    after.fleet.at = before.fleet.at
    after.look(seconds: 600)
    #expect(after.told == [])
    #expect(after.ledger.figures.counts.first?.count == 100)
    after.look(seconds: 70) { Self.hear(&$0) }
    #expect(after.told == ["resolved silent -"])
    #expect(after.changes[0].alert.id == before.changes[0].alert.id)
  }

  // MARK: Several consumers

  /// A consumer that tells, and one that came later and follows it, look at the same fleet by turns.
  private struct Pair {
    var first: Watch
    var second: Watch

    init(_ rules: AlertRules = AlertRules(), machines: Int = 1, apart: Int64 = 400) {
      first = Watch(rules, machines: machines)
      second = Watch(rules, machines: machines)
      first.look(seconds: apart)
      second.fleet.at = first.fleet.at
      second.ledger.follow(first.ledger.open, takesOver: false)
    }

    mutating func look(seconds: Int64, change: (inout FleetSnapshot) -> Void = { _ in }) {
      for _ in 0..<(seconds / 5) {
        first.look(seconds: 5, change: change)
        second.ledger.follow(first.ledger.open, takesOver: false)
        second.look(seconds: 5, change: change)
      }
    }

    /// - Returns: what the second one tells from now on.
    mutating func firstDies() -> Watch {
      let told = first.ledger.open
      var heir = Watch()
      (heir.ledger, heir.fleet) = (second.ledger, second.fleet)
      heir.ledger.follow(told, takesOver: true)
      return heir
    }
  }

  @Test(arguments: [1, 100])
  func `an alert is the same whoever is asked, and whoever tells its end`(machines: Int) {
    var pair = Pair(machines: machines)
    // The first has been looking for long enough to call them silent, the second has not.
    pair.look(seconds: 700)
    #expect(pair.first.told.count == 1)
    pair.second.ledger.follow(pair.first.ledger.open, takesOver: false)
    #expect(pair.second.ledger.open.map(\.id) == pair.first.changes.map(\.alert.id))
    var heir = pair.firstDies()
    heir.look(seconds: 600)
    #expect(heir.told == [])
    heir.look(seconds: 70) { Self.hear(&$0) }
    #expect(heir.changes.map(\.state) == [.resolved])
    #expect(heir.changes.map(\.alert.id) == pair.first.changes.map(\.alert.id))
  }

  @Test(arguments: [1, 100])
  func `what this one saw at another moment has the name under which it was told`(machines: Int) {
    var pair = Pair(AlertRules(silent: nil), machines: machines)
    func fail(_ count: Int, _ fleet: inout FleetSnapshot) {
      for index in fleet.report!.machines.indices { fleet.report!.machines[index].deadLetters = count }
    }
    pair.first.look(seconds: 20)
    pair.second.look(seconds: 20) { fail(1, &$0) }
    pair.look(seconds: 10) { fail(1, &$0) }
    let (before, told) = (pair.second.changes.map(\.alert.id), pair.first.changes.map(\.alert.id))
    #expect(before != told)
    var heir = pair.firstDies()
    heir.look(seconds: 60) { fail(1, &$0) }
    heir.look(seconds: 65) { fail(0, &$0) }
    #expect(heir.changes.map(\.state) == [.resolved])
    #expect(heir.changes.map(\.alert.id) == told)
  }

  @Test(arguments: [1, 100])
  func `what began while nobody told is told by the one who takes over`(machines: Int) {
    var pair = Pair(AlertRules(silent: nil), machines: machines)
    func fail(_ fleet: inout FleetSnapshot) {
      for index in fleet.report!.machines.indices { fleet.report!.machines[index].deadLetters = 1 }
    }
    pair.second.look(seconds: 20, change: fail)
    #expect(pair.second.told.count == 1)
    var heir = pair.firstDies()
    heir.look(seconds: 60, change: fail)
    #expect(heir.changes.map(\.state) == [.firing])
    #expect(heir.changes.map(\.alert.id) == pair.second.changes.map(\.alert.id))
  }

  @Test func `an end that another consumer told is told by nobody else`() {
    var pair = Pair(AlertRules(silent: nil, calm: .seconds(20)))
    pair.look(seconds: 100) { Self.wait(700, &$0) }
    pair.look(seconds: 25) { Self.wait(0, &$0) }
    #expect(pair.first.changes.map(\.state) == [.firing, .resolved])
    var heir = pair.firstDies()
    heir.look(seconds: 100)
    #expect(heir.told == [])
    heir.look(seconds: 100) { Self.wait(700, &$0) }
    #expect(
      heir.changes.map(\.alert.id) == [pair.first.changes[0].alert.id], "within a quarter of an hour it is the same")
  }

  @Test func `what a consumer tells of itself is its own until it takes over`() {
    var pair = Pair(AlertRules(silent: nil))
    pair.first.fleet.failedCommits = 10
    pair.look(seconds: 20)
    #expect(pair.first.told == ["firing failures -"])
    #expect(pair.second.told == [] && pair.second.ledger.open == [])
    var heir = pair.firstDies()
    heir.look(seconds: 120)
    #expect(heir.told == ["resolved failures -"])
    #expect(heir.changes[0].alert.id == pair.first.changes[0].alert.id)
  }

  // Four failures in a row are one alert, and a success ends it.
  @Test func `an endpoint of a worklist that fails four times in a row is one alert`() throws {
    var watch = Watch(AlertRules(endpoints: 3, calm: .seconds(5)))
    let name = try WorklistName("mixing")
    func fail(_ count: Int) -> [WorklistHealth] {
      var standing = EndpointStanding(name, .fetch)
      (standing.failuresInARow, standing.failure) = (count, "erp answers 500")
      return [WorklistHealth(name: name, endpoints: [standing])]
    }
    for count in 1...8 {
      watch.look(seconds: 5) {
        Self.hear(&$0)
        $0.worklists = fail(count)
      }
      #expect(watch.told == (count < 4 ? [] : ["firing endpoints -"]))
    }
    watch.look(seconds: 60) {
      Self.hear(&$0)
      $0.worklists = fail(0)
    }
    #expect(watch.told == ["firing endpoints -", "resolved endpoints -"])
  }

  @Test
  func `a worklist with orders that has not moved for longer than the limit is an alert, and an empty one is none`()
    throws
  {
    var watch = Watch(AlertRules(worklists: .seconds(3600)))
    let name = try WorklistName("mixing")
    let moved = watch.fleet.at
    func list(_ counts: [OrderState: Int]) -> [WorklistHealth] {
      [WorklistHealth(name: name, summary: WorklistSummary(name: name, counts: counts, lastMoved: moved))]
    }
    watch.look(seconds: 7200) {
      Self.hear(&$0)
      $0.worklists = list([.complete: 5, .withdrawn: 1, .refused: 1])
    }
    #expect(watch.told == [])
    watch.look(seconds: 5) {
      Self.hear(&$0)
      $0.worklists = list([.inWork: 2])
    }
    #expect(watch.told == ["firing worklists -"])
    #expect(watch.changes.last?.alert.text.contains("0 queued, 2 with machines") == true)
  }
}
