// What `drover emit` took without a field for the local ID, in a file beside the database: each line gets an ID of Drover's own then, so the same
// input taken again, or one that has grown since, makes events twice, and the person should hear of it.

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

  /// What was taken into a stream, the newest last.
  package static func known(stream: String, database: String) -> [Input] {
    all(database).filter { $0.stream.isExactly(stream) }
  }

  private static func all(_ database: String) -> [Input] {
    (file(database).texts.first ?? "").split(separator: "\n").compactMap { Input(line: $0) }
  }

  /// Remembers an input.
  package static func note(_ input: Input, database: String) {
    let lines = (all(database) + [input]).suffix(most).map(\.line).joined()
    // Without it nothing is lost but the warning.
    try? WholeFile.write(lines, to: file(database).path, beside: database)
  }

  static func remove(database: String) { file(database).remove() }
}

/// Finds out, while an input is read, whether it begins with one that was taken before.
package struct EmittedBeginning {
  /// The smallest first.
  private var known: ArraySlice<EmittedFiles.Input>
  private var hash = FNV1a()
  package private(set) var bytes: Int64 = 0
  /// The largest known input that the bytes so far begin with; of the same one taken several times the newest.
  package private(set) var found: EmittedFiles.Input?

  package init(_ known: [EmittedFiles.Input]) {
    self.known = known.sorted { ($0.bytes, $0.at) < ($1.bytes, $1.at) }[...]
  }

  /// Of all bytes so far.
  package var digest: String { hash.hexadecimal }

  package mutating func take(_ piece: ArraySlice<UInt8>) {
    var rest = piece
    while let next = known.first, next.bytes <= bytes + Int64(rest.count) {
      known.removeFirst()
      // A file that a person has changed may have any number.
      guard next.bytes >= bytes else { continue }
      let part = rest.prefix(Int(next.bytes - bytes))
      add(part)
      rest = rest[part.endIndex...]
      if next.digest.isExactly(digest) { found = next }
    }
    add(rest)
  }

  private mutating func add(_ piece: ArraySlice<UInt8>) {
    hash.combine(piece)
    bytes += Int64(piece.count)
  }
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
