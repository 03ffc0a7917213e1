// A file beside the store remembers how far its change feed was. The consumer notes it after each commit, so a store that is behind this file
// was restored from a backup or rolled back, and numbers that readers know would be given a second time: a new era begins. Losing the file
// costs a new era, never a change.

private import Foundation

struct FeedMemory: Equatable {
  var era: String
  var number: Int64

  static func path(for database: String) -> String { database + "-drover.feed" }

  /// nil when there is no such file, or nothing of sense in it.
  static func read(database: String) -> FeedMemory? {
    guard let text = try? String(contentsOfFile: path(for: database), encoding: .utf8) else { return nil }
    let words = text.split(whereSeparator: \.isWhitespace)
    guard words.count == 2, let number = Int64(words[1]) else { return nil }
    return FeedMemory(era: String(words[0]), number: number)
  }

  /// Always as long, so that it can be written in its place.
  fileprivate var line: String {
    let words = "\(era) \(number)"
    return words + String(repeating: " ", count: max(0, 63 - words.utf8.count)) + "\n"
  }
}

/// The file as the consumer writes it: durable when an era begins, and then in its place, which is not flushed and costs next to nothing.
final class FeedMemoryFile {
  private let path: String
  private let era: String
  private let descriptor: Int32

  init(_ memory: FeedMemory, database: String) throws(EdgeFileError) {
    path = FeedMemory.path(for: database)
    era = memory.era
    try WholeFile.write(memory.line, to: path, beside: database)
    descriptor = open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw EdgeFileError("open", path, errno) }
  }

  deinit { close(descriptor) }

  /// What cannot be written is not left there as it was: without the file a new era begins.
  func note(_ number: Int64) {
    let bytes = Array(FeedMemory(era: era, number: number).line.utf8)
    if pwrite(descriptor, bytes, bytes.count, 0) != bytes.count { WholeFile.remove(path) }
  }
}
