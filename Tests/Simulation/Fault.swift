// What can go wrong, by name. A seed draws which of it happens and how often, so that some runs are all storms and some have one
// single kind of trouble.

package enum Fault: Int, CaseIterable, Sendable {
  // The network and the broker; for each message, but the connection's end for each step.
  /// The broker says success and loses it, as a full queue does.
  case drop
  case duplicate
  case reorder
  /// A connection carries nothing for a while.
  case delay
  case disconnect
  /// The broker has taken a message, and the connection ends before its PUBACK.
  case disconnectBeforePuback
  /// PUBACK 0x97, and the message goes nowhere.
  case quota
  /// Not an occasion but a property of the run: queues so short that they overflow.
  case fullQueue
  /// Likewise: MQTT 3.1.1, where every PUBACK looks like success.
  case noReasons
  /// One client's session is gone.
  case sessionLost
  /// The broker comes back with nothing: sessions, queues and retained messages.
  case brokerEmpty
  /// The broker comes back as it was when it last wrote to its disk.
  case brokerOlder

  // An edge: for each step, and the stores' for each call.
  case edgeCrash
  case edgeCrashBeforeCommit
  case edgeCrashAfterCommit
  /// SIGTERM: it drains, says farewell and starts again.
  case edgeStop
  case edgeDiskFull
  /// The app holds the lock.
  case appLock
  /// 1970, or years forward or back.
  case edgeClockStep
  /// A table of the app's gets another column.
  case migration

  // The cloud.
  case consumerCrash
  case consumerCrashBeforeCommit
  case consumerCrashAfterCommit
  case consumerStop
  /// Another consumer takes over the store, under another client ID.
  case consumerMoves
  case cloudDiskFull
  case cloudClockStep

  /// The app's database, Drover's tables in it, is put back to a copy.
  case edgeRollback
  /// The cloud's database is put back to a copy.
  case cloudRollback
  /// A table of the app's is renamed, and another one of its name made with some of its rows.
  case rotation
  /// As `edgeRollback`, while the agent has the database open: in place by SQLite's backup API, or by another file that takes its name.
  case edgeRestoredLive
  /// A table of the app's gets a column that only the app's own connections can read, or loses it again.
  case unreadable

  package init?(name: String) {
    guard let fault = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
    self = fault
  }

  /// The highest rate that a seed draws, in a thousand occasions.
  var ceiling: Int {
    switch self {
    case .drop, .duplicate, .reorder: 300
    case .quota, .appLock: 200
    case .disconnectBeforePuback, .edgeDiskFull, .cloudDiskFull: 100
    case .edgeCrashBeforeCommit, .edgeCrashAfterCommit, .consumerCrashBeforeCommit, .consumerCrashAfterCommit: 100
    case .disconnect, .edgeCrash, .consumerCrash, .edgeClockStep, .delay: 30
    case .edgeStop, .consumerStop, .consumerMoves, .sessionLost, .brokerEmpty, .brokerOlder, .cloudClockStep: 15
    case .migration, .rotation: 5
    case .unreadable: 20
    case .fullQueue, .noReasons: 1000
    case .edgeRollback, .cloudRollback, .edgeRestoredLive: 10
    }
  }
}

/// How often each fault happens, in a thousand occasions.
package struct Faults: Sendable, CustomStringConvertible {
  private var rates: [Int]

  package static let none = Faults()
  private init() { rates = Fault.allCases.map { _ in 0 } }

  /// A part of all faults, each with a rate of its own.
  package init(seed: UInt64) {
    var random = Seeded(seed, 0xfa17)
    // Some runs have every other fault, some one in ten.
    let share = Int.random(in: 0...60, using: &random)
    rates = Fault.allCases.map { fault in
      let isOn = random.percent(share)
      let rate = Int.random(in: 1...max(1, fault.ceiling), using: &random)
      return isOn ? min(rate, fault.ceiling) : 0
    }
  }

  package subscript(_ fault: Fault) -> Int {
    get { rates[fault.rawValue] }
    set { rates[fault.rawValue] = newValue }
  }

  package var active: [Fault] { Fault.allCases.filter { self[$0] > 0 } }
  package var description: String { active.map { "\($0) \(self[$0])" }.joined(separator: ", ") }
}

extension Fault {
  /// Whether seeds draw it, as an occasion that is counted.
  package var isDrawn: Bool { ceiling > 0 && self != .fullQueue && self != .noReasons }
}

/// A mistake that the product does not make, built into the layer around the real stores: so the simulation is tested too.
package enum Mistake: String, CaseIterable, Sendable {
  /// The edge forgets with the broker's PUBACK.
  case forgetOnPuback = "forget-on-puback"
  /// The cloud says that it has what is lost with a failed commit.
  case confirmBeforeCommit = "confirm-before-commit"
  /// The cloud compares versions with >= where > is meant: of two events with one version the later one wins.
  case equalVersionWins = "equal-version-wins"
  /// A row that is sent again without an edit gets the version of a new one.
  case freshVersionAgain = "fresh-version-again"
  /// An edit in the cloud gets its number before it is committed, so that a higher one may be sent before it.
  case numberedBeforeCommit = "numbered-before-commit"
  /// A row that came down enters the outbox as an edit of the app's.
  case appliedIsCaptured = "applied-is-captured"

  /// Whether it is about rows that both sides edit.
  package var isTwoWay: Bool { [.freshVersionAgain, .numberedBeforeCommit, .appliedIsCaptured].contains(self) }

  /// Whether it shows in what is left in the end. Which of two events with one version came first is not written down anywhere.
  package var showsInTheEnd: Bool { self != .equalVersionWins }
}
