// What the next consumer has to know of the alerts, in the store itself: so it goes where the store goes. On a connection of its own, for a few
// bytes whenever an alert begins or ends.

import DroverCore

package struct PostgreSQLAlertMemory: AlertMemory {
  private let address: PostgreSQLAddress

  /// - Parameter address: of a store that a consumer has opened before.
  package init(_ address: PostgreSQLAddress) { self.address = address }

  package func read() throws -> String? {
    let rows = try open().query("SELECT value FROM drover_meta WHERE name = 'alerts'")
    return rows.count == 0 ? nil : rows.text(0, 0)
  }

  package func write(_ text: String) throws {
    try open().query(
      """
      INSERT INTO drover_meta (name, value) VALUES ('alerts', $1)
      ON CONFLICT (name) DO UPDATE SET value = excluded.value
      """, [.text(text)])
  }

  private func open() throws -> Connection { try Connection(toStoreAt: address, purpose: "keep the alerts in") }
}
