// A file beside the database remembers how far the outbox was. The agent raises a generation in the database whenever it writes there,
// and notes it here afterwards: a database that is behind this file was restored from a backup or rolled back, whatever the app has
// written since. Losing the file, or the last note, costs a new epoch and events that are sent again, never an event.

import Foundation
import Glibc

struct OutboxMemory: Equatable {
  var epoch: String
  var generation: Int64

  static func path(for database: String) -> String { database + "-drover.state" }

  /// nil when there is no such file, or nothing of sense in it.
  static func read(database: String) -> OutboxMemory? {
    guard let text = try? String(contentsOfFile: path(for: database), encoding: .utf8) else { return nil }
    let words = text.split(whereSeparator: \.isWhitespace)
    guard words.count == 2, let generation = Int64(words[1]) else { return nil }
    return OutboxMemory(epoch: String(words[0]), generation: generation)
  }

  /// Whole or not at all, by renaming. What is renamed always has the same name, so that an agent that is killed in between leaves one
  /// file, and the next one takes it; Foundation's atomic writing leaves another one each time.
  func write(database: String) throws(EdgeFileError) {
    let unfinished = Self.unfinishedPath(for: database)
    let descriptor = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw EdgeFileError("open", unfinished, errno) }
    defer { close(descriptor) }
    let text = Array("\(epoch) \(generation)\n".utf8)
    let count = Glibc.write(descriptor, text, text.count)
    guard count == text.count else { throw EdgeFileError("write", unfinished, count < 0 ? errno : ENOSPC) }
    guard fsync(descriptor) == 0 else { throw EdgeFileError("flush", unfinished, errno) }
    guard rename(unfinished, Self.path(for: database)) == 0 else {
      throw EdgeFileError("rename", unfinished, errno)
    }
  }

  static func remove(database: String) {
    unlink(unfinishedPath(for: database))
    unlink(path(for: database))
  }

  private static func unfinishedPath(for database: String) -> String { path(for: database) + ".new" }
}
