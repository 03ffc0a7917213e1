// Which alerts there are. It gets the state of the fleet and says what to send: each alert once when it begins and once when it ends,
// however its value swings. Many subjects of one rule are one alert, so ten thousand machines behind a broker that died are one message.

package struct AlertLedger {
  /// A rule with more alerts than this tells of all further ones in one.
  package static let mostAlone = 10
  /// How many of several are named.
  private static let named = 5
  /// A longer time between two looks tells of a clock that was set, or of a host that slept.
  private static let longestStep = Duration.seconds(60)

  private struct Group {
    var since: Int64
    var members: Set<AlertSubject> = []
    /// How many there were when it was last sent.
    var told = 0
    var endedAt: Duration?

    /// None is left, and that was sent.
    mutating func end(at moment: Duration) {
      if told > 0 { endedAt = moment }
      (told, members) = (0, [])
    }
  }

  private let rules: AlertRules
  private var tracks: [AlertKey: AlertTrack] = [:]
  private var groups: [AlertRule: Group] = [:]
  /// Rules for which another consumer sent an alert about several since the last look.
  private var toAdopt: Set<AlertRule> = []
  private var checks = FailedChecks()
  /// How long it has been looking, whatever the wall clock did meanwhile.
  private var looking: Duration
  private var lastLook: Int64?

  /// - Parameter looking: for how long the fleet has been watched already.
  package init(_ rules: AlertRules, looking: Duration = .zero) {
    self.rules = rules
    self.looking = looking
  }

  /// The alerts that were sent and have not ended, by rule and then by name.
  package var open: [Alert] {
    AlertRule.allCases.flatMap { rule in
      let alone = tracks.filter { $0.key.rule == rule && $0.value.isFiring && !isGrouped($0.key) }
      return alone.sorted { $0.key.subject < $1.key.subject }.map { alert($0.key, $0.value) }
        + (groups[rule].flatMap { $0.told > 0 ? [alert(rule, $0)] : nil } ?? [])
    }
  }

  /// Also how many subjects each rule that is on is about, those of one alert one by one.
  package var figures: AlertFigures {
    let firing = Dictionary(grouping: tracks.filter(\.value.isFiring).keys, by: \.rule)
    return AlertFigures(open: open, counts: rules.active.map { ($0, firing[$0]?.count ?? 0) })
  }

  /// Takes a look into account.
  /// - Returns: what to send, by rule and then by name.
  package mutating func take(_ fleet: FleetSnapshot) -> [AlertChange] {
    advance(to: fleet.at)
    if fleet.isRead { checks.note(fleet.report?.machines ?? []) }
    let found = rules.conditions(in: fleet, listening: looking, failedChecks: checks.counts)
    adopt(found)
    var began: [AlertRule: [AlertSubject]] = [:]
    var ended: [AlertRule: [AlertSubject]] = [:]
    // What cannot be read is neither beyond its limit nor over.
    for key in fleet.isRead ? Set(tracks.keys).union(found.keys) : Set(found.keys) {
      var track = tracks[key] ?? AlertTrack(since: fleet.at)
      let hold = key.rule.beginsAtOnce ? .zero : rules.hold
      switch track.take(found[key], at: looking, wall: fleet.at, hold: hold, calm: rules.calm) {
      case .began: began[key.rule, default: []].append(key.subject)
      case .ended: ended[key.rule, default: []].append(key.subject)
      case .nothing: break
      }
      tracks[key] = track.isForgotten(at: looking) ? nil : track
    }
    return AlertRule.allCases.flatMap { rule in
      changes(of: rule, began: began[rule, default: []], ended: ended[rule, default: []], at: fleet.at)
    }
  }

  /// The members of another consumer's alert about several are not passed on: all that it could be about.
  private mutating func adopt(_ found: [AlertKey: AlertCondition]) {
    for (key, condition) in found where toAdopt.contains(key.rule) && tracks[key]?.isFiring != true {
      let since = groups[key.rule]!.since
      tracks[key] = AlertTrack(
        told: Alert(
          rule: key.rule, subject: key.subject, since: since, value: condition.value, text: condition.text))
      groups[key.rule]!.members.insert(key.subject)
    }
    toAdopt = []
  }

  private mutating func advance(to now: Int64) {
    defer { lastLook = now }
    guard let lastLook else { return }
    looking += min(max(.zero, .microseconds(now - lastLook)), Self.longestStep)
  }

  private mutating func changes(
    of rule: AlertRule, began: [AlertSubject], ended: [AlertSubject], at now: Int64
  ) -> [AlertChange] {
    var told: [AlertChange] = []
    for subject in ended.sorted() {
      let key = AlertKey(rule: rule, subject: subject)
      if groups[rule]?.members.remove(subject) == nil {
        told.append(AlertChange(.resolved, alert(key, tracks[key]!), at: now))
      }
    }
    if isCrowded(rule, with: began.count) {
      join(began, rule, at: now)
    } else {
      told += began.sorted().map { subject in
        let key = AlertKey(rule: rule, subject: subject)
        return AlertChange(.firing, alert(key, tracks[key]!), at: now)
      }
    }
    return told + groupChange(rule, at: now)
  }

  /// Whether the alerts that begin now are sent together.
  private func isCrowded(_ rule: AlertRule, with began: Int) -> Bool {
    if let group = groups[rule], group.told > 0 { return true }
    let firing = tracks.count { $0.key.rule == rule && $0.value.isFiring && !isGrouped($0.key) }
    return began > 0 && firing > Self.mostAlone
  }

  private mutating func join(_ subjects: [AlertSubject], _ rule: AlertRule, at now: Int64) {
    var group = groups[rule] ?? Group(since: now)
    if let endedAt = group.endedAt {
      if looking - endedAt >= AlertTrack.memory { group.since = now }
      group.endedAt = nil
    }
    group.members.formUnion(subjects)
    groups[rule] = group
  }

  /// Tells of a group that began, that became twice as large, or that ended.
  private mutating func groupChange(_ rule: AlertRule, at now: Int64) -> [AlertChange] {
    guard var group = groups[rule] else { return [] }
    defer { groups[rule] = group }
    if group.members.isEmpty {
      guard group.told > 0 else { return [] }
      let alert = alert(rule, group)
      group.end(at: looking)
      return [AlertChange(.resolved, alert, at: now)]
    }
    guard group.members.count >= max(1, group.told * 2) else { return [] }
    group.told = group.members.count
    return [AlertChange(.firing, alert(rule, group), at: now)]
  }

  private func isGrouped(_ key: AlertKey) -> Bool { groups[key.rule]?.members.contains(key.subject) ?? false }

  /// What is beyond its limit now, and which machines it concerns: for programs that look now and then.
  package static func problems(in fleet: FleetSnapshot, by rules: AlertRules) -> (
    alerts: [Alert], machines: Set<String>
  ) {
    var rules = rules
    rules.hold = .zero
    var ledger = AlertLedger(rules, looking: rules.silent.map { $0 + .seconds(1) } ?? .zero)
    _ = ledger.take(fleet)
    return (ledger.open, Set(ledger.tracks.filter(\.value.isFiring).compactMap(\.key.subject.machine)))
  }

  // MARK: What another consumer sent

  /// Continues with what another process sent: one before this one, or another consumer of the group.
  /// - Parameters:
  ///   - open: what was sent and has not ended.
  ///   - takesOver: whether no other consumer sends it from now on. What fires here and was never sent is then sent at the next look.
  package mutating func follow(_ open: [Alert], takesOver: Bool) {
    for rule in AlertRule.allCases where takesOver || !rule.isOwn {
      follow(open.filter { $0.rule == rule }, rule, takesOver: takesOver)
    }
  }

  private mutating func follow(_ open: [Alert], _ rule: AlertRule, takesOver: Bool) {
    let alone = open.filter { $0.count == nil }
    for alert in alone {
      tracks[AlertKey(rule: rule, subject: alert.subject), default: AlertTrack(told: alert)].follow(alert.since)
    }
    let told = Set(alone.map(\.subject))
    let untold = tracks.filter { $0.key.rule == rule && $0.value.isFiring && !told.contains($0.key.subject) }.keys
    if let many = open.first(where: { $0.count != nil }) {
      groups[rule] = Group(since: many.since, members: Set(untold.map(\.subject)), told: many.count!)
      toAdopt.insert(rule)
    } else {
      for key in untold where tracks[key]!.isAnothers { tracks[key]!.followEnd(at: looking) }
      guard !rule.isOwn else { return }
      groups[rule]?.end(at: looking)
      if takesOver { for key in untold where tracks[key]!.isFiring { tracks[key]!.holdBack() } }
    }
  }

  // MARK: What is sent

  private func alert(_ key: AlertKey, _ track: AlertTrack) -> Alert {
    Alert(rule: key.rule, subject: key.subject, since: track.since, value: track.value, text: track.text)
  }

  /// Of a group that has ended it says how many they were.
  private func alert(_ rule: AlertRule, _ group: Group) -> Alert {
    let members = group.members.sorted()
    let values = members.compactMap { tracks[AlertKey(rule: rule, subject: $0)]?.value }
    let worst = (rule == .disk ? values.min() : values.max()) ?? 0
    let count = members.isEmpty ? group.told : members.count
    return Alert(
      rule: rule, subject: AlertSubject(), count: count, since: group.since, value: worst,
      text: "\(rule.plural): \(count)\(members.isEmpty ? "" : " (\(Self.names(members)))")")
  }

  private static func names(_ members: [AlertSubject]) -> String {
    let first = members.prefix(named).map(\.text).joined(separator: ", ")
    return members.count > named ? "\(first) and \(members.count - named) more" : first
  }
}

extension AlertRule {
  fileprivate var plural: String {
    switch self {
    case .silent: "machines from which nothing was heard for too long"
    case .oldestUnconfirmed: "machines whose events have waited too long for their confirmation"
    case .failures: "comparisons that failed again and again"
    case .deadLetters: "machines with dead letters"
    case .conflicts: "machines with conflicts that wait for a person"
    case .disk: "disks with little room left"
    case .schemas: "streams that wait until their schema is accepted"
    case .budgets: "machines that send more than their budgets allow"
    case .jobs: "jobs of the consumer that no longer move"
    case .names: "names that more than one client uses"
    case .streams: "streams that wait at their machines because of their tables there"
    case .endpoints: "endpoints of worklists that fail again and again"
    case .worklists: "worklists that have not moved for too long"
    case .tables: "streams that wait because their sink tables cannot be written"
    }
  }
}

/// How many comparisons of a stream failed in a row. The store keeps the last one.
private struct FailedChecks {
  private var seen: [AlertSubject: (at: Int64, count: Int)] = [:]

  var counts: [AlertSubject: Int] { seen.mapValues(\.count) }

  mutating func note(_ machines: [CloudReport.Machine]) {
    var now: [AlertSubject: (at: Int64, count: Int)] = [:]
    for machine in machines {
      for stream in machine.streams {
        guard let check = stream.check, check.failure != nil else { continue }
        let subject = AlertSubject(machine: machine.name, part: stream.name)
        let before = seen[subject] ?? (check.at, 1)
        now[subject] = before.at == check.at ? before : (check.at, before.count + 1)
      }
    }
    seen = now
  }
}
