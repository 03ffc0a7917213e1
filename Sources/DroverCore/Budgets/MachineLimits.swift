// What one machine may use of a consumer and of its store, so that one that is broken or hostile does not stop the events of others. The
// defaults are far above what an agent does: docs/configuration.md has them, and docs/decisions/0028 tells why they are what they are.

/// A budget of a machine, by the name of its limit in the configuration.
package enum Budget: String, CaseIterable, Sendable {
  case messages = "messages_per_second"
  case bytes = "bytes_per_second"
  case deadLetters = "dead_letters_per_minute"
  case deadLetterBytes = "dead_letter_bytes_per_minute"
  case epochs = "epochs_per_hour"
  case schemaChanges = "schema_changes_per_minute"
  case longIDs = "long_ids_per_minute"
  case streams = "streams_per_machine"
  case openIntervals = "open_intervals"
  case tombstones
}

package struct MachineLimits: Equatable, Sendable {
  package var messagesPerSecond = 20_000
  /// Unpacked where it is packed.
  package var bytesPerSecond = 128 << 20
  package var deadLettersPerMinute = 6000
  package var deadLetterBytesPerMinute = 64 << 20
  /// Events whose ID is longer than `longID`: a database finds and compares such keys slowly.
  package var longIDsPerMinute = 600
  /// Epochs that were not heard of before.
  package var epochsPerHour = 60
  /// How many epochs are known, with what was received in them.
  package var epochsKept = 200
  /// Descriptions that differ from the one before.
  package var schemaChangesPerMinute = 60
  /// How many descriptions of one stream are kept.
  package var schemasPerStream = 1000
  package var streams = 200
  /// Intervals of received sequence numbers with a gap before them, of all streams in an epoch.
  package var openIntervals = 2000
  package var tombstones = 1_000_000
  package var tombstoneBytes = 64 << 20

  /// Bytes. Longer keys do not fit into one page of SQLite's index, and PostgreSQL takes few of them.
  package static let longID = 2048

  package init() {}
}

/// What was set aside of one machine because a budget was used up.
package struct Overrun: Equatable, Sendable {
  /// A `Budget`'s name; another version of Drover may know others.
  package var budget: String
  /// Messages that were set aside; of tombstones those that were retired early.
  package var count: Int
  /// Microseconds since 1970.
  package var firstAt: Int64
  package var lastAt: Int64

  package init(budget: String, count: Int, firstAt: Int64, lastAt: Int64) {
    self.budget = budget
    self.count = count
    self.firstAt = firstAt
    self.lastAt = lastAt
  }
}
