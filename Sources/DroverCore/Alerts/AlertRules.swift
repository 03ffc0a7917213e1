// What operators want to be alerted about, and from which limit on.

package enum AlertRule: String, CaseIterable, Sendable {
  case silent
  case oldestUnconfirmed = "oldest_unconfirmed"
  case failures
  case deadLetters = "dead_letters"
  case conflicts
  case disk
  case schemas
  case jobs
  case budgets
  case names
  case tables
  case streams
  case endpoints
  case worklists

  /// What to do about it.
  package var advice: String {
    switch self {
    case .silent:
      "check the machine's power and network, then run `drover doctor` there; if it is many machines at once, check the broker and the consumer's connection"
    case .oldestUnconfirmed:
      "look at `drover status` on the machine: pending events wait for the broker, synced ones for the cloud; the logs of agent and consumer say why"
    case .failures: "the consumer's log and `drover status` say why; check the store, its disk and its server"
    case .deadLetters: "`drover dead list` says why; replay them when the reason is gone, or purge them"
    case .conflicts:
      "`drover conflicts list` shows them, and the page shows both values side by side; resolve them there"
    case .disk: "free space on that disk, or make it larger; lower backup.keep or outbox.max_bytes if they fill it"
    case .schemas: "`drover schema list` shows the difference, `drover schema accept` accepts it"
    case .budgets:
      "look at what the machine sends; if that is right, raise the limit; if not, stop the machine or remove its right to publish"
    case .names:
      "`drover status` and `drover doctor` say which name it is and what to do: a copied card, a second agent, or another program with the same client_id"
    case .tables:
      "`drover status` says who or what blocks the table and what to do; the streams go on by themselves when it is over"
    case .streams:
      "`drover status` says which table of the machine it is, why, and what to do; the stream goes on by itself when the table is mended"
    case .endpoints:
      "look whether the other system answers, and at url, token and certificate of the worklist's `fetch` or `completed`; the consumer tries again by itself"
    case .worklists:
      "`drover worklist status` shows the orders and which machine has them; look at the machine's program, or requeue what is in doubt"
    case .jobs: "the consumer's log says what it did last; restart it if it goes on"
    }
  }

  /// Whether each of several consumers sends it about itself. The other rules are sent by one of them, about all machines.
  package var isOwn: Bool { [.failures, .jobs, .endpoints].contains(self) }

  /// Whether one look is enough: what counts tries or waits for a person does not come and go by itself.
  var beginsAtOnce: Bool {
    switch self {
    case .silent, .oldestUnconfirmed, .disk, .tables, .streams: false
    case .failures, .deadLetters, .conflicts, .schemas, .jobs, .budgets, .names, .endpoints, .worklists: true
    }
  }
}

/// The limits; a rule without one is off.
package struct AlertRules: Equatable, Sendable {
  /// Nothing was heard of a machine for longer.
  package var silent: Duration?
  /// A machine's oldest event has waited longer for its confirmation.
  package var oldestUnconfirmed: Duration?
  /// More commits of the consumer's, or comparisons of a stream, failed in a row.
  package var failures: Int?
  /// More dead letters of a machine are kept, in the cloud and at the edge.
  package var deadLetters: Int?
  /// More conflicts of a machine wait for a person.
  package var conflicts: Int?
  /// A machine's disk, or the store's, has fewer bytes left.
  package var disk: Int64?
  /// A machine's schema waits for a person.
  package var schemas: Bool
  /// A job of the consumer's no longer moves.
  package var jobs: Bool
  /// A machine sends more than its budgets allow.
  package var budgets: Bool
  /// Two machines have one name, or another client takes a session again and again.
  package var names: Bool
  /// A sink table cannot be written.
  package var tables: Bool
  /// A stream waits at its machine because of its table there.
  package var streams: Bool
  /// More requests to a worklist's endpoint failed in a row.
  package var endpoints: Int?
  /// A worklist has orders, and none has changed its state for longer.
  package var worklists: Duration?
  /// How long a condition that may pass by itself has to hold before it is an alert.
  package var hold: Duration
  /// How long the cause has to be gone before the end is sent.
  package var calm: Duration

  package init(
    silent: Duration? = .seconds(900), oldestUnconfirmed: Duration? = .seconds(600), failures: Int? = 3,
    deadLetters: Int? = 0, conflicts: Int? = 0, disk: Int64? = 1 << 30, schemas: Bool = true, jobs: Bool = true,
    budgets: Bool = true, names: Bool = true, tables: Bool = true, streams: Bool = true,
    endpoints: Int? = 3, worklists: Duration? = .seconds(86_400),
    hold: Duration = .seconds(30), calm: Duration = .seconds(60)
  ) {
    self.silent = silent
    self.oldestUnconfirmed = oldestUnconfirmed
    self.failures = failures
    self.deadLetters = deadLetters
    self.conflicts = conflicts
    self.disk = disk
    self.schemas = schemas
    self.jobs = jobs
    self.budgets = budgets
    self.names = names
    self.tables = tables
    self.streams = streams
    self.endpoints = endpoints
    self.worklists = worklists
    self.hold = hold
    self.calm = calm
  }

  /// The rules that are on, in the order in which they are shown.
  package var active: [AlertRule] {
    AlertRule.allCases.filter { rule in
      switch rule {
      case .silent: silent != nil
      case .oldestUnconfirmed: oldestUnconfirmed != nil
      case .failures: failures != nil
      case .deadLetters: deadLetters != nil
      case .conflicts: conflicts != nil
      case .disk: disk != nil
      case .schemas: schemas
      case .jobs: jobs
      case .budgets: budgets
      case .names: names
      case .tables: tables
      case .streams: streams
      case .endpoints: endpoints != nil
      case .worklists: worklists != nil
      }
    }
  }
}
