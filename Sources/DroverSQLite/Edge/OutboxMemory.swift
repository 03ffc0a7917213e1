// A file beside the database remembers how far the outbox was. The agent raises a generation in the database whenever it writes there,
// and notes it here afterwards: a database that is behind this file was restored from a backup or rolled back, whatever the app has
// written since. It also holds the agent's runs, and how far each has read the outbox in order to publish it: a cloud that has heard of more
// has heard it from a future that was lost with the database and this file. Losing the file, or the last note, costs a new epoch and events
// that are sent again, never an event.

import DroverCore
private import Foundation

struct OutboxMemory: Equatable {
  var epoch: String
  var generation: Int64
  /// The runs of this epoch, the present one the newest. None in a file of an agent that knew of no runs.
  var runs: Runs
  /// The highest version that was given when something was handed out last, in this run and epoch or an earlier one; 0 where nothing was, or where
  /// that is not known.
  var version: Int64

  static func file(for database: String) -> FileBeside { FileBeside("-drover.state", database: database) }
  static func path(for database: String) -> String { file(for: database).path }

  /// nil when there is no such file, or nothing of sense in it. Of one beside the database and one of an earlier release beside a link, the
  /// one that knows more counts.
  static func read(database: String) -> OutboxMemory? {
    file(for: database).texts.compactMap(OutboxMemory.init).max {
      ($0.generation, $0.runs.newest?.number ?? 0) < ($1.generation, $1.runs.newest?.number ?? 0)
    }
  }

  /// In lines: epoch and generation; each run but the newest with what it has reached; the newest; and twice what that one has reached, of
  /// which the higher counts, and none that is torn.
  init?(text: String) {
    var lines = text.split(separator: "\n").map { $0.split(separator: " ") }
    guard let first = lines.first, first.count == 2, let generation = Self.number(first[1], Bounds.sequence)
    else { return nil }
    self.init(epoch: String(first[0]), generation: generation, runs: Runs(), version: 0)
    guard lines.count > 1 else { return }
    let marks = lines.suffix(RunMark.count).compactMap { RunMark(words: $0) }
    lines = lines.dropFirst().dropLast(RunMark.count)
    guard let mark = marks.max(by: { $0.reached < $1.reached }), let newest = lines.popLast(), newest.count == 1,
      let number = Self.number(newest[0], Bounds.run)
    else { return nil }
    for line in lines {
      guard line.count == 2, let earlier = Self.number(line[0], Bounds.run),
        let reached = Self.number(line[1], Bounds.sequence)
      else { return nil }
      runs.raise(earlier, to: reached)
    }
    runs.raise(number, to: mark.reached)
    version = mark.version
  }

  /// A number that can be true.
  fileprivate static func number(_ text: Substring, _ range: ClosedRange<Int64>) -> Int64? {
    Int64(text).flatMap { range.contains($0) ? $0 : nil }
  }

  init(epoch: String, generation: Int64, runs: Runs, version: Int64) {
    self.epoch = epoch
    self.generation = generation
    self.runs = runs
    self.version = version
  }

  /// What the newest run has reached.
  fileprivate var mark: RunMark { RunMark(reached: runs.newest?.reached ?? 0, version: version) }

  /// All but the marks.
  fileprivate var head: String {
    let earlier = runs.list.dropLast().map { "\($0.number) \($0.reached)\n" }.joined()
    return "\(epoch) \(generation)\n\(earlier)\(runs.newest?.number ?? 0)\n"
  }

  static func remove(database: String) { file(for: database).remove() }
}

/// How far the newest run has come, in a line that is always as long, so that it can be written in its place. It stands there twice, and a
/// write that is cut short damages the one and leaves the other, which holds all that was handed over until then.
private struct RunMark: Equatable {
  static let count = 2

  var reached: Int64
  var version: Int64

  init(reached: Int64, version: Int64) {
    self.reached = reached
    self.version = version
  }

  init?(words: [Substring]) {
    guard words.count == 3, let reached = OutboxMemory.number(words[0], Bounds.sequence),
      let version = OutboxMemory.number(words[1], Bounds.version)
    else { return nil }
    self.init(reached: reached, version: version)
    guard words[2] == digest else { return nil }
  }

  var line: String { "\(Self.padded(reached)) \(Self.padded(version)) \(digest)\n" }

  private var digest: String {
    Self.padded(Int64(bitPattern: Digest.of([.integer(reached), .integer(version)]) >> 1))
  }

  /// As long as the highest number.
  private static func padded(_ number: Int64) -> String {
    let digits = String(number)
    return String(repeating: "0", count: 19 - digits.count) + digits
  }
}

/// The file as the agent writes it: all of it, durable, as it is done with each settlement, and a run's mark in its place, which is not flushed
/// and costs next to nothing.
final class OutboxMemoryFile {
  private let database: String
  private let file: FileBeside
  private var path: String { file.path }
  private var descriptor: Int32 = -1
  /// What the open file holds but for its marks.
  private var written: OutboxMemory?
  /// The mark that is written next: never the one that was written last.
  private var turn = 0

  init(database: String) {
    self.database = database
    file = OutboxMemory.file(for: database)
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  func write(_ memory: OutboxMemory) throws(EdgeFileError) {
    try WholeFile.write(
      memory.head + String(repeating: memory.mark.line, count: RunMark.count), to: path, beside: database)
    // The file that was open has lost its name.
    if descriptor >= 0 { close(descriptor) }
    descriptor = open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw EdgeFileError("open", path, errno) }
    written = memory
    turn = 0
    file.removeEarlier()
  }

  /// Writes how far the newest run has come.
  func mark(_ memory: OutboxMemory) throws(EdgeFileError) {
    guard descriptor >= 0, let written, written.epoch == memory.epoch,
      written.runs.newest?.number == memory.runs.newest?.number
    else { return try write(memory) }
    let bytes = Array(memory.mark.line.utf8)
    let place = written.head.utf8.count + turn * bytes.count
    let count = pwrite(descriptor, bytes, bytes.count, off_t(place))
    guard count == bytes.count else { throw EdgeFileError("write", path, count < 0 ? errno : ENOSPC) }
    turn = (turn + 1) % RunMark.count
  }
}
