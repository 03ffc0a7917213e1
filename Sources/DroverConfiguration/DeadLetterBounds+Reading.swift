// The section `dead_letters`, the same on both sides.

import DroverCore

extension DeadLetterBounds {
  /// - Parameters:
  ///   - keys: the section.
  ///   - count: most letters, where the file does not say.
  ///   - bytes: most bytes of them, likewise.
  init(reading keys: Section, count: Int, bytes: Int) {
    self.init(
      maxCount: keys.optional("max_count", .integer(2...100_000_000), default: count),
      maxBytes: keys.optional("max_bytes", .size(1 << 20...1 << 44), default: bytes))
  }
}
