// What is wrong with who is connected under a name. It looks like a network that comes and goes, and only this tells what it is. Either side keeps
// it in its database, for those who look.

package struct Trouble: Equatable, Sendable {
  package enum Kind: String, CaseIterable, Sendable {
    /// Two machines have one name.
    case cloned
    /// The broker gives the session to another client, again and again.
    case session
  }

  package var kind: Kind
  /// When it began and when it was seen last, microseconds since 1970.
  package var since: Int64
  package var last: Int64
  /// How often it was seen.
  package var count: Int

  /// What a machine reports, or a database holds, is limited to 0 and what versions may be, so that no arithmetic on it overflows.
  package init(_ kind: Kind, since: Int64, last: Int64, count: Int) {
    self.kind = kind
    self.last = min(max(0, last), HybridClock.limit)
    self.since = min(max(0, since), self.last)
    self.count = min(max(1, count), 1_000_000_000)
  }

  /// A session that no other client has taken for so long is steady again.
  private static let memory: Int64 = 600_000_000

  /// - Parameter now: microseconds since 1970.
  package func isPresent(now: Int64) -> Bool { kind == .cloned || now - last < Self.memory }

  /// What is the matter.
  /// - Parameter machine: nil for the consumer.
  package func text(_ machine: String?) -> String {
    switch kind {
    case .cloned:
      "two machines are called \(machine ?? ""): the consumer applies nothing from either, and both wait, until only one of them is heard"
    case .session:
      "the session of \(machine ?? "the consumer") was lost \(count) times in \(ageText(max(60_000_000, last - since))): another client seems to connect with the same client ID"
    }
  }

  package var advice: String {
    switch kind {
    case .cloned:
      "a card or a disk was probably copied; give one of the two another name (`machine:` in its configuration, and its own user at the broker) and restart its agent, or switch it off; the other goes on by itself half a minute later"
    case .session:
      "unless the broker itself was restarted so often, find the other program with this client_id (a second agent of this machine, a copied card, a tool), and bind client IDs to users at the broker (broker/mosquitto.conf)"
    }
  }
}
