// Why one stream waits at its machine while the others go on: its table is not there, is not what the configuration says, or cannot be read.
// The machine keeps it, shows it and tells the cloud; it ends by itself when the table is as configured again.

package struct StreamWait: Equatable, Sendable {
  package var stream: StreamName
  /// The table as the configuration names it; empty for a stream without one.
  package var table: String
  package var reason: String
  /// What to do about it.
  package var advice: String
  /// When it began, microseconds since 1970.
  package var since: Int64

  /// How many of them a machine reports. The others are reported when some of these have ended.
  package static let most = 64
  private static let longestText = 500

  /// Texts that are too long are cut, and control characters in them become spaces: a machine may say anything.
  package init(stream: StreamName, table: String, reason: String, advice: String, since: Int64) {
    self.stream = stream
    self.table = Self.tidy(table)
    self.reason = Self.tidy(reason)
    self.advice = Self.tidy(advice)
    self.since = since.clamped(to: Bounds.time)
  }

  private static func tidy(_ text: String) -> String {
    var tidy = String.UnicodeScalarView()
    for scalar in text.unicodeScalars.prefix(longestText) {
      tidy.append(scalar.properties.generalCategory == .control ? " " : scalar)
    }
    return String(tidy)
  }

  /// What is the matter, as a sentence without a full stop.
  package var text: String { "stream \(stream) waits: \(reason)" }

  /// Whether the same is the matter, since whenever.
  package func isSame(as other: Self) -> Bool {
    stream == other.stream && table == other.table && reason == other.reason && advice == other.advice
  }
}
