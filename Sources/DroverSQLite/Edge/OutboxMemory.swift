// A file beside the database remembers how far the outbox was. The agent raises a generation in the database whenever it writes there,
// and notes it here afterwards: a database that is behind this file was restored from a backup or rolled back, whatever the app has
// written since. Losing the file, or the last note, costs a new epoch and events that are sent again, never an event.

private import Foundation

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

  func write(database: String) throws(EdgeFileError) {
    try WholeFile.write("\(epoch) \(generation)\n", to: Self.path(for: database))
  }

  static func remove(database: String) {
    WholeFile.remove(path(for: database))
  }
}
