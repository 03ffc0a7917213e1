// What the rules find in one look at the fleet. Whatever is not found is well.

struct AlertKey: Hashable {
  var rule: AlertRule
  var subject: AlertSubject
}

struct AlertCondition {
  /// Whether it is beyond the limit; otherwise it is too near to it to say that it is over.
  var isBeyond: Bool
  var value: Int64
  var text: String
}

extension AlertRules {
  /// - Parameters:
  ///   - listening: for how long this consumer has been looking. Its own absence is no machine's silence.
  ///   - failedChecks: comparisons that failed in a row, by machine and stream.
  func conditions(
    in fleet: FleetSnapshot, listening: Duration, failedChecks: [AlertSubject: Int]
  ) -> [AlertKey: AlertCondition] {
    var found: [AlertKey: AlertCondition] = [:]
    func add(_ rule: AlertRule, _ subject: AlertSubject, _ condition: AlertCondition?) {
      found[AlertKey(rule: rule, subject: subject)] = condition
    }
    for machine in fleet.report?.machines ?? [] {
      let subject = AlertSubject(machine: machine.name)
      add(.silent, subject, silence(of: machine, now: fleet.at, listening: listening))
      add(.oldestUnconfirmed, subject, wait(of: machine, now: fleet.at))
      add(.deadLetters, subject, letters(of: machine))
      add(.conflicts, subject, conflicts(of: machine))
      add(.budgets, subject, overrun(of: machine, now: fleet.at))
      add(.disk, subject, room(machine.outbox?.figures.freeBytes, on: "\(machine.name)'s disk"))
    }
    add(.deadLetters, AlertSubject(), strayLetters(fleet.report))
    add(.disk, AlertSubject(), room(fleet.storeFreeBytes, on: "the store's disk"))
    add(.failures, AlertSubject(part: "commits"), failed(fleet.failedCommits, "commits of the consumer's"))
    for (subject, count) in failedChecks {
      add(.failures, subject, failed(count, "comparisons of \(subject.machine!)'s \(subject.part!)"))
    }
    for schema in schemas ? fleet.waiting : [] {
      add(
        .schemas, AlertSubject(machine: schema.machine.text, part: schema.stream.text),
        AlertCondition(
          isBeyond: true, value: 1, text: "\(schema.stream) of \(schema.machine) waits until its schema is accepted"))
    }
    for sink in tables ? fleet.blocked : [] {
      add(
        .tables, AlertSubject(machine: sink.machine?.text, part: sink.stream.text),
        AlertCondition(isBeyond: true, value: max(0, fleet.at - sink.since) / 1_000_000, text: sink.text))
    }
    if tables, let lock = fleet.lock {
      add(
        .tables, AlertSubject(part: "store"),
        AlertCondition(isBeyond: true, value: max(0, fleet.at - lock.since) / 1_000_000, text: lock.text))
    }
    for machine in streams ? fleet.report?.machines ?? [] : [] {
      for wait in machine.waits {
        add(
          .streams, AlertSubject(machine: machine.name, part: wait.stream.text),
          AlertCondition(
            isBeyond: true, value: max(0, fleet.at - wait.since) / 1_000_000,
            text: "\(wait.stream) of \(machine.name) waits at the machine: \(wait.reason)"))
      }
    }
    for (machine, trouble) in names ? fleet.report?.troubles(now: fleet.at) ?? [] : [] {
      add(
        .names, AlertSubject(machine: machine, part: trouble.kind.rawValue),
        AlertCondition(isBeyond: true, value: Int64(trouble.count), text: trouble.text(machine)))
    }
    for worklist in fleet.worklists {
      add(.worklists, AlertSubject(part: worklist.name.text), stillness(of: worklist, now: fleet.at))
      for endpoint in worklist.endpoints {
        add(
          .endpoints, AlertSubject(part: "\(worklist.name) \(endpoint.kind.rawValue)"), failures(of: endpoint))
      }
    }
    for job in jobs ? fleet.worker.stuck : [] {
      let seconds = job.silence.components.seconds
      add(
        .jobs, AlertSubject(part: job.name),
        AlertCondition(
          isBeyond: true, value: seconds,
          text: "the consumer's \(job.name) has not moved for \(ageText(seconds * 1_000_000))"))
    }
    return found
  }

  private func failures(of endpoint: EndpointStanding) -> AlertCondition? {
    guard let limit = endpoints, endpoint.failuresInARow > 0 else { return nil }
    let what = endpoint.kind == .fetch ? "requests for orders" : "posts of completed orders"
    return AlertCondition(
      isBeyond: endpoint.failuresInARow > limit, value: Int64(endpoint.failuresInARow),
      text:
        "\(what) of worklist \(endpoint.worklist) have failed \(quantity(endpoint.failuresInARow, "time")) in a row: \(endpoint.failure ?? "")"
    )
  }

  private func stillness(of worklist: WorklistHealth, now: Int64) -> AlertCondition? {
    guard let limit = worklists?.microseconds, let summary = worklist.summary, let last = summary.lastMoved else {
      return nil
    }
    let (queued, out) = (summary.counts[.queued] ?? 0, [OrderState.handedOut, .inWork].sum { summary.counts[$0] ?? 0 })
    let stillness = now - last
    guard queued + out > 0, stillness > limit / 2 else { return nil }
    return AlertCondition(
      isBeyond: stillness > limit, value: stillness / 1_000_000,
      text:
        "worklist \(worklist.name) has not moved for \(ageText(stillness)): \(queued) queued, \(out) with machines, \(summary.inDoubt) in doubt"
    )
  }

  private func silence(of machine: CloudReport.Machine, now: Int64, listening: Duration) -> AlertCondition? {
    // Who has no agent publishes when there is something to say, and owes no sign of life.
    guard machine.hasAgent, let limit = silent, case let silence = now - machine.lastHeard, silence > limit.microseconds
    else {
      return nil
    }
    let last = machine.isOnline.map { $0 ? ", with \"online\" as its last word" : " and is offline" } ?? ""
    return AlertCondition(
      isBeyond: listening > limit, value: silence / 1_000_000,
      text: "\(machine.name) was last heard \(ageText(silence)) ago\(last)")
  }

  private func wait(of machine: CloudReport.Machine, now: Int64) -> AlertCondition? {
    guard let limit = oldestUnconfirmed?.microseconds, let wait = machine.oldestUnconfirmed(now: now), wait > limit / 2
    else { return nil }
    let waiting = machine.outbox?.figures.waiting ?? 0
    return AlertCondition(
      isBeyond: wait > limit, value: wait / 1_000_000,
      text:
        "\(machine.name)'s oldest event has waited \(ageText(wait)) for its confirmation; \(waiting) in all wait"
    )
  }

  private func letters(of machine: CloudReport.Machine) -> AlertCondition? {
    let atEdge = machine.outbox?.figures.deadLetters ?? 0
    let all = machine.deadLetters + atEdge
    guard let limit = deadLetters, all > limit else { return nil }
    return AlertCondition(
      isBeyond: true, value: Int64(all),
      text: "\(machine.name) has dead letters: \(machine.deadLetters) in the cloud, \(atEdge) at the machine")
  }

  private func conflicts(of machine: CloudReport.Machine) -> AlertCondition? {
    guard let limit = conflicts, machine.conflicts > limit else { return nil }
    return AlertCondition(
      isBeyond: true, value: Int64(machine.conflicts),
      text:
        "\(quantity(machine.conflicts, "conflict")) of \(machine.name) \(machine.conflicts == 1 ? "waits" : "wait") for a person"
    )
  }

  /// It lasts while something is set aside at least once a minute.
  private func overrun(of machine: CloudReport.Machine, now: Int64) -> AlertCondition? {
    let recent = machine.overruns.filter { now - $0.lastAt < 60_000_000 }
    guard budgets, !recent.isEmpty else { return nil }
    let names = recent.map { "limits.\($0.budget)" }.joined(separator: ", ")
    let count = recent.reduce(0) { $0 + $1.count }
    return AlertCondition(
      isBeyond: true, value: Int64(count), text: "\(machine.name) sends more than \(names) allows: \(count) set aside")
  }

  /// Letters that belong to no machine.
  private func strayLetters(_ report: CloudReport?) -> AlertCondition? {
    guard let limit = deadLetters, let report else { return nil }
    let stray = report.deadLetters.present - report.machines.reduce(0) { $0 + $1.deadLetters }
    guard stray > limit else { return nil }
    return AlertCondition(
      isBeyond: true, value: Int64(stray), text: "\(quantity(stray, "dead letter")) of no known machine")
  }

  /// An eighth more than the limit is enough again.
  private func room(_ free: Int64?, on disk: String) -> AlertCondition? {
    guard let limit = self.disk, let free, free < limit + limit / 8 else { return nil }
    return AlertCondition(
      isBeyond: free < limit, value: free, text: "\(disk) has \(byteText(free)) left")
  }

  private func failed(_ count: Int, _ what: String) -> AlertCondition? {
    guard let limit = failures, count > 0 else { return nil }
    return AlertCondition(
      isBeyond: count > limit, value: Int64(count), text: "\(what) have failed \(quantity(count, "time")) in a row")
  }
}

extension [OrderState] {
  fileprivate func sum(_ count: (OrderState) -> Int) -> Int { reduce(0) { $0 + count($1) } }
}

extension Duration {
  fileprivate var microseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
