// Where both sides of a machine's stream stand, as `drover sync` and `drover compare` say it, and what a person can do about it. The comparison itself is
// that of `drover check`.

package enum Agreement: String, Equatable, Sendable {
  case equal = "in sync"
  /// Something is on its way, and nothing else keeps the sides apart.
  case underway = "on its way"
  /// Waiting does not make them equal.
  case differs = "differs"
  /// The sides could not be compared.
  case unknown = "not compared"
}

package struct StreamStanding: Equatable, Sendable {
  package var origin: MachineStream
  /// Whether the stream has a table, and so rows that can be compared.
  package var hasTable = true
  package var rowsAtEdge = 0
  package var rowsInCloud = 0
  /// Rows that differ with nothing of them on its way.
  package var differing = 0
  /// Rows or events that are on their way, in either direction.
  package var underway = 0
  /// Why the sides could not be compared, and what to do.
  package var failure: String?
  /// What the comparison found, in the words of `drover check`.
  package var finding: String?
  /// Values that lost a conflict and wait for a person, and those of them that have come since the command began.
  package var conflicts = 0
  package var newConflicts = 0
  /// Dead letters, on the sides that were asked.
  package var letters = 0
  package var groups: GroupedRows?

  package init(_ origin: MachineStream) { self.origin = origin }

  /// Events without a table cannot be compared: each is confirmed, on its way, or a dead letter.
  package var agreement: Agreement {
    if failure != nil { return .unknown }
    if differing > 0 || !hasTable && letters > 0 { return .differs }
    return underway > 0 ? .underway : .equal
  }

  /// Whether it is worth while to look again.
  package var isMoving: Bool { failure == nil && underway > 0 }

  package var text: String {
    switch agreement {
    case .unknown: "not compared: \(failure!)"
    case .differs where differing == 0: quantity(letters, "dead letter")
    case .equal: finding.map { $0 == "equal" ? "in sync" : "in sync; \($0)" } ?? "in sync"
    case .underway, .differs: finding ?? DriftFinding.summary(drift: differing, inFlight: underway)
    }
  }

  /// What a person can do; empty where there is nothing to do.
  package var advice: [String] {
    var advice: [String] = []
    let place = "--machine \(origin.machine) --stream \(origin.stream)"
    switch agreement {
    case .equal, .unknown: break
    case .underway: advice.append("`drover sync --wait` waits until everything has arrived")
    case .differs:
      if letters > 0 {
        advice.append(
          "\(quantity(letters, "dead letter")): `drover dead list` says why; correct the cause, then run `drover dead replay`"
        )
      }
      if hasTable {
        advice.append(
          "`drover check \(place)` in the cloud names the rows, and with --repair it sends them again; if they still differ, `drover dead list` on both sides may say why"
        )
      }
    }
    if conflicts > 0 {
      advice.append(
        "\(quantity(conflicts, "edit")) lost a conflict: look at \(conflicts == 1 ? "it" : "them") with `drover conflicts list`"
      )
    }
    return advice
  }
}

extension StreamStanding {
  package init(_ origin: MachineStream, _ found: DriftFinding, failure: String?) {
    self.init(origin)
    self.failure = failure
    rowsAtEdge = found.rowsAtEdge
    rowsInCloud = found.rowsInCloud
    differing = found.drift
    underway = found.inFlight
    finding = failure == nil ? found.verdict : nil
  }
}

extension Collection<StreamStanding> {
  /// Of all streams: the worst of them.
  package var agreement: Agreement {
    let order: [Agreement] = [.unknown, .differs, .underway]
    return order.first { wanted in contains { $0.agreement == wanted } } ?? .equal
  }
}
