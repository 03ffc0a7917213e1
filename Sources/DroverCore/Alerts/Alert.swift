// What operators are alerted about: one subject for which a rule's condition holds, or many of them in one message.

/// What a rule looks at: a machine, a stream of one, a job; the consumer itself where there is neither.
package struct AlertSubject: Hashable, Comparable, Sendable {
  package var machine: String?
  /// A stream of the machine's, or a part of the consumer.
  package var part: String?

  package init(machine: String? = nil, part: String? = nil) {
    self.machine = machine
    self.part = part
  }

  /// By bytes, as streams are named.
  private var names: [ExactText?] { [machine.map(ExactText.init), part.map(ExactText.init)] }

  package static func == (one: Self, other: Self) -> Bool { one.names == other.names }
  package func hash(into hasher: inout Hasher) { hasher.combine(names) }

  package static func < (one: Self, other: Self) -> Bool {
    (ExactText(one.machine ?? ""), ExactText(one.part ?? ""))
      < (ExactText(other.machine ?? ""), ExactText(other.part ?? ""))
  }

  /// As it stands in an identity and in a list of names.
  var text: String { [machine ?? "consumer", part].compactMap(\.self).joined(separator: "/") }
}

package struct Alert: Equatable, Sendable {
  package var rule: AlertRule
  /// Whom it is about; of several it is empty.
  package var subject: AlertSubject
  /// How many subjects it is about; nil for an alert that is about one alone.
  package var count: Int?
  /// When its condition was seen first, microseconds since 1970.
  package var since: Int64
  /// What was measured: seconds, bytes or a number, as the rule has it; of several the worst.
  package var value: Int64
  /// What is the matter, without what to do.
  package var text: String

  package init(rule: AlertRule, subject: AlertSubject, count: Int? = nil, since: Int64, value: Int64, text: String) {
    self.rule = rule
    self.subject = subject
    self.count = count
    self.since = since
    self.value = value
    self.text = text
  }

  /// The same in every message of this alert, and in no other alert's.
  package var id: String { "\(rule.rawValue)/\(count == nil ? subject.text : "many")/\(since)" }
  package var advice: String { rule.advice }
}

/// What to send.
package struct AlertChange: Equatable, Sendable {
  package enum State: String, Sendable {
    /// It began, or it grew: an alert about several tells when they have become twice as many.
    case firing
    case resolved
  }

  package var state: State
  package var alert: Alert
  /// When that was seen, microseconds since 1970.
  package var at: Int64

  package init(_ state: State, _ alert: Alert, at: Int64) {
    self.state = state
    self.alert = alert
    self.at = at
  }
}

/// All alerts there are.
package struct AlertFigures: Sendable {
  package var open: [Alert]
  /// How many subjects each rule that is on finds beyond its limit.
  package var counts: [(rule: AlertRule, count: Int)]
  /// nil without a webhook.
  package var posting: AlertPosting?

  package init(open: [Alert], counts: [(rule: AlertRule, count: Int)], posting: AlertPosting? = nil) {
    self.posting = posting
    self.open = open
    self.counts = counts
  }
}

/// Where a consumer keeps what the next one has to know of its alerts. DroverSQLite implements it.
package protocol AlertMemory: Sendable {
  /// nil when nothing was ever written.
  func read() throws -> String?
  func write(_ text: String) throws
}
