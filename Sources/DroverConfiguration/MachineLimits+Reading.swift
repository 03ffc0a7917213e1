// The keys of `limits` that are about one machine; its streams are read with what a table may be.

import DroverCore

extension MachineLimits {
  init(reading keys: Section) {
    self.init()
    func number(_ key: String, _ range: ClosedRange<Int>, _ place: WritableKeyPath<MachineLimits, Int>) {
      self[keyPath: place] = keys.optional(key, .integer(range), default: self[keyPath: place])
    }
    func size(_ key: String, _ range: ClosedRange<Int>, _ place: WritableKeyPath<MachineLimits, Int>) {
      self[keyPath: place] = keys.optional(key, .size(range), default: self[keyPath: place])
    }
    number("messages_per_second", 10...10_000_000, \.messagesPerSecond)
    size("bytes_per_second", 1 << 20...1 << 40, \.bytesPerSecond)
    number("dead_letters_per_minute", 1...10_000_000, \.deadLettersPerMinute)
    size("dead_letter_bytes_per_minute", 1 << 20...1 << 40, \.deadLetterBytesPerMinute)
    number("long_ids_per_minute", 1...10_000_000, \.longIDsPerMinute)
    number("epochs_per_hour", 1...1_000_000, \.epochsPerHour)
    number("epochs_kept", 10...1_000_000, \.epochsKept)
    number("schema_changes_per_minute", 1...1_000_000, \.schemaChangesPerMinute)
    number("schemas_per_stream", 2...1_000_000, \.schemasPerStream)
    number("open_intervals", 10...1_000_000, \.openIntervals)
    number("tombstones", 16...1_000_000_000, \.tombstones)
    size("tombstone_bytes", 1 << 20...1 << 40, \.tombstoneBytes)
  }
}
