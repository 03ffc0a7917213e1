// Judges each look at the fleet by the rules, and tells what began and what ended.

import DroverConfiguration
import DroverCore
import Logging
import Synchronization

final class AlertDesk: Sendable {
  private let ledger: Mutex<AlertLedger>
  private let keepsHouse: @Sendable () -> Bool
  private let logger: Logger

  /// - Parameter keepsHouse: whether this consumer is the one that tells of the whole fleet.
  init(_ configuration: AlertsConfiguration, keepsHouse: @escaping @Sendable () -> Bool, logger: Logger) {
    self.keepsHouse = keepsHouse
    ledger = Mutex(AlertLedger(configuration.rules))
    self.logger = logger
  }

  /// - Returns: the alerts that there are now.
  func judge(_ fleet: FleetSnapshot) -> AlertStanding {
    let (changes, standing) = ledger.withLock { ledger in (ledger.take(fleet), ledger.standing) }
    for change in changes { log(change) }
    return standing
  }

  private func log(_ change: AlertChange) {
    let alert = change.alert
    // Of several consumers each tells of itself.
    guard keepsHouse() || [.failures, .jobs].contains(alert.rule) else { return }
    switch change.state {
    case .firing: logger.warning("alert \(alert.rule.rawValue): \(alert.text); \(alert.advice)")
    case .resolved:
      logger.notice("alert \(alert.rule.rawValue) is over after \(ageText(change.at - alert.since)): \(alert.text)")
    }
  }
}
