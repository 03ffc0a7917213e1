// What is believed of numbers and names that a store, a file or a machine holds.

import DroverCore
import DroverTerminal
import Testing

@Suite struct BelievedTests {
  private static let extremes: [Int64] = [.min, .min + 1, -1, 0, 1, 1 << 53, 1 << 62, .max - 1, .max]

  @Test func `an interval from outside is one, or nothing`() {
    for after in Self.extremes {
      for through in Self.extremes {
        guard let interval = Interval(believing: after, through) else { continue }
        #expect(Bounds.sequence.contains(interval.after) && Bounds.sequence.contains(interval.through))
        var set = IntervalSet([interval])
        #expect(set.lastMember(below: interval.through + 1) == interval.through)
        set.remove(interval)
        #expect(set.isEmpty)
      }
    }
    #expect(
      Interval(believing: 0, .max) == nil && Interval(believing: -1, 5) == nil && Interval(believing: 5, 5) == nil)
  }

  @Test func `a run with numbers that cannot be true is none`() {
    for number in Self.extremes {
      for reached in Self.extremes {
        var runs = Runs([Run(number: 7, reached: 9)])
        runs.raise(number, to: reached)
        #expect(runs.list.allSatisfy { Bounds.run.contains($0.number) && Bounds.sequence.contains($0.reached) })
      }
    }
  }

  // A status with such numbers stood in the store and ended whoever read it, at every start.
  @Test func `whatever a store holds of machines can be added up and shown`() {
    for number in Self.extremes {
      let standing = OutboxFigures(waiting: Int(number), oldest: number, deadLetters: Int(number), freeBytes: number)
      let streams = ["a", "b"].map {
        CloudReport.Stream(
          name: $0, rows: 1, applied: Int(number), superseded: Int(number), refused: Int(number), version: number,
          appliedAt: number, check: .init(at: number, drift: Int(number), inFlight: Int(number), failure: nil),
          lines: [])
      }
      let machines = (0..<1000).map {
        CloudReport.Machine(
          name: "M\($0)", isOnline: $0 % 2 == 0, lastHeard: number, clockOffset: number,
          outbox: .init(figures: standing, at: number), streams: streams, deadLetters: Int(number))
      }
      let report = CloudReport(
        machines: machines, dropped: [], letterBytes: 0, letterRows: 0, deadLetters: DeadLetterFigures(), messages: [])
      for now in [0, Bounds.time.upperBound] {
        let fleet = FleetSnapshot(
          at: now, report: report, waiting: [], worker: Worker(process: nil), history: FleetHistory())
        let view = WatchView(fleet, store: "s", rate: nil, rules: AlertRules(), order: .worst)
        #expect(view.rowCount == 1000)
        #expect(machines.allSatisfy { $0.oldestUnconfirmed(now: now) ?? 0 >= 0 })
      }
    }
  }

  @Test func `names that look alike are two`() throws {
    let (composed, decomposed) = ("\u{e9}", "e\u{301}")
    #expect(composed == decomposed)
    #expect(ExactText(composed) != ExactText(decomposed) && Set([composed, decomposed].map(ExactText.init)).count == 2)
    #expect(Column(name: composed, declaredType: "") != Column(name: decomposed, declaredType: ""))
    #expect(SchemaID(text: composed) != SchemaID(text: decomposed))
    #expect(AlertSubject(machine: "M", part: composed) != AlertSubject(machine: "M", part: decomposed))
    #expect(try NaturalKey(columns: [composed]) != NaturalKey(columns: [decomposed]))
    var history = FleetHistory()
    history.note([(composed, 1), (decomposed, 5)], at: 0)
    history.note([(composed, 2), (decomposed, 9)], at: 1)
    #expect(history.counts(of: composed).last == 1 && history.counts(of: decomposed).last == 4)
    #expect(
      try StreamSchema(
        kind: .snapshot,
        columns: [Column(name: composed, declaredType: ""), Column(name: decomposed, declaredType: "")], key: [0]
      ).columns.count == 2)
  }

  @Test func `a cursor with numbers that no feed gives is none`() {
    #expect(ChangeCursor("a-9223372036854775807") == nil && ChangeCursor("a-5-9223372036854775807") == nil)
    #expect(ChangeCursor("a-4611686018427387903")?.number == (1 << 62) - 1)
  }
}
