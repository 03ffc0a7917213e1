// Whether the epoch of the outbox still holds: do the agent, its database and the cloud mean the same event by a sequence number? When they do not, a
// new epoch begins, and everything is sent again.

package enum EpochEnd: Equatable, Sendable {
  /// The cloud asked for a new epoch.
  case otherEvents
  /// A confirmation names a run of the agent that this database never saw.
  case unknownRun
  /// The cloud lacks what it had confirmed.
  case cloudWentBack
  /// The cloud knows nothing of this outbox.
  case unknownMachine(MachineID)
  /// The database is another one, or there is none; the text says which.
  case otherDatabase(String)

  /// Only the cloud knows of the history that the database has lost.
  package var wasRestored: Bool { self == .otherEvents || self == .unknownRun }

  /// For the operator; completes "because …".
  package var text: String {
    switch self {
    case .otherEvents:
      "the cloud knows a later epoch of this machine: the database was restored to an earlier state, or another machine had its name"
    case .unknownRun:
      "the cloud has heard of a run of this machine's agent that is not known here: the database was restored to an earlier state, or another machine has its name"
    case .cloudWentBack:
      "the cloud no longer has what it had confirmed: its database was restored to an earlier state, or is another one"
    case .unknownMachine(let machine):
      "the cloud knows nothing of this outbox under the name \(machine): the machine has got another name, was forgotten there, or the cloud has another database"
    case .otherDatabase(let text): text
    }
  }
}

package struct EpochWatch: Sendable {
  package enum State: Equatable, Sendable {
    /// The epoch holds. Becomes `over` or `away`.
    case current
    /// A new epoch has to begin. Becomes `begun` when the store has begun it, `away`, and `current` again when two machines turn out to have one
    /// name: then the cloud had heard the other one.
    case over(EpochEnd)
    /// The database is gone, or another one has its name that cannot be attached yet: nothing of it can be said. Becomes `begun`, or `away` for
    /// another reason.
    case away(EpochEnd)
    /// The new epoch stands in the store, and the relay does not know it yet. Becomes `current`, or `away`.
    case begun(wasAway: Bool)
  }

  package enum Step: Equatable, Sendable {
    case none
    /// The store is to begin a new epoch, and the relay to start from it.
    case begin(EpochEnd)
    /// The store has begun it already; the relay is to start from it.
    case finish
  }

  package private(set) var state = State.current

  package init() {}

  /// Whether nothing may be sent, and no confirmation counts.
  package var isOver: Bool { state != .current }

  /// Whether the database cannot be spoken of.
  package var isAway: Bool {
    switch state {
    case .away, .begun(wasAway: true): true
    case .current, .over, .begun(wasAway: false): false
    }
  }

  /// The cloud has said something that ends the epoch. What is known of the database itself stands above it.
  package mutating func ended(_ end: EpochEnd) {
    switch state {
    case .current, .over: state = .over(end)
    case .away, .begun: break
    }
  }

  /// The database is not the one that the relay knows.
  package mutating func left(because reason: String) { state = .away(.otherDatabase(reason)) }

  /// What the cloud had heard was another machine of this name.
  package mutating func forgave() {
    if case .over = state { state = .current }
  }

  /// What is to be done now.
  package var step: Step {
    switch state {
    case .current: .none
    case .over(let end), .away(let end): .begin(end)
    case .begun: .finish
    }
  }

  /// The store has begun the new epoch. Once begun, it is not begun again because a lock of the app's is in the way of what follows.
  package mutating func began() { state = .begun(wasAway: isAway) }

  /// The relay works in the new epoch.
  package mutating func finished() { state = .current }
}
