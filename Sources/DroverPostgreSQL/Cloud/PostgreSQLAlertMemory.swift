// What the next consumer has to know of the alerts, in the store itself: so it goes where the store goes. On a connection of its own, for a few
// bytes whenever an alert begins or ends. How the endpoints of worklists do is kept the same way.

import DroverCore

package struct PostgreSQLAlertMemory: AlertMemory {
  private let address: PostgreSQLAddress
  private let name: String

  /// - Parameters:
  ///   - address: of a store that a consumer has opened before.
  ///   - name: what is kept, for errors too.
  package init(_ address: PostgreSQLAddress, name: String = "alerts") {
    self.address = address
    self.name = name
  }

  package func read() throws -> String? {
    let rows = try open().query("SELECT value FROM drover_meta WHERE name = $1", [.text(name)])
    return rows.count == 0 ? nil : rows.text(0, 0)
  }

  package func write(_ text: String) throws {
    try open().query(
      """
      INSERT INTO drover_meta (name, value) VALUES ($1, $2)
      ON CONFLICT (name) DO UPDATE SET value = excluded.value
      """, [.text(name), .text(text)])
  }

  private func open() throws -> Connection { try Connection(toStoreAt: address, purpose: "keep the \(name) in") }
}
