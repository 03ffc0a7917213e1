// What `drover emit` took without a field for the local ID, in a file beside the database: each line gets an ID of Drover's own then, so the same
// input taken again makes each event twice, and the person should hear of it.

private import DroverCore
private import Foundation

package struct EmittedFiles {
  /// One input that was taken.
  package struct Input: Equatable, Sendable {
    package var stream: String
    /// Of all its bytes.
    package var digest: String
    package var bytes: Int64
    package var events: Int
    /// Microseconds since 1970.
    package var at: Int64

    package init(stream: String, digest: String, bytes: Int64, events: Int, at: Int64) {
      self.stream = stream
      self.digest = digest
      self.bytes = bytes
      self.events = events
      self.at = at
    }
  }

  private static let most = 500
  private static func file(_ database: String) -> FileBeside { FileBeside("-drover.emitted", database: database) }

  /// Remembers an input.
  /// - Returns: when the same was taken into the stream before; nil where it is not known.
  package static func note(_ input: Input, database: String) -> Input? {
    let known = (file(database).texts.first ?? "").split(separator: "\n").compactMap { Input(line: $0) }
    let before = known.last {
      $0.stream.isExactly(input.stream) && $0.digest == input.digest && $0.bytes == input.bytes
    }
    let lines = (known + [input]).suffix(most).map(\.line).joined()
    // Without it nothing is lost but the warning.
    try? WholeFile.write(lines, to: file(database).path, beside: database)
    return before
  }

  static func remove(database: String) { file(database).remove() }
}

extension EmittedFiles.Input {
  fileprivate var line: String { "\(digest) \(bytes) \(events) \(at) \(stream)\n" }

  fileprivate init?(line: Substring) {
    let words = line.split(separator: " ", maxSplits: 4, omittingEmptySubsequences: false)
    guard words.count == 5, let bytes = Int64(words[1]), let events = Int(words[2]), let at = Int64(words[3]) else {
      return nil
    }
    self.init(
      stream: String(words[4]), digest: String(words[0]), bytes: bytes, events: events, at: at.clamped(to: Bounds.time))
  }
}
