// Who may ask over HTTP. The token itself is known to its owner alone: what is kept is its hash.

package struct AccessToken: Equatable, Sendable {
  /// Whether its owner may only look, or also change something.
  package enum Access: String, CaseIterable, Sendable { case read, write }

  /// For logs and for the person who takes it away.
  package let name: String
  /// SHA-256 of the token's bytes.
  package let digest: [UInt8]
  package let access: Access

  package init(name: String, digest: [UInt8], access: Access) {
    self.name = name
    self.digest = digest
    self.access = access
  }
}
