// What both sides' stores have in common about dead letters: a filter as the end of an SQL statement, and the counters.

import DroverCore
import GRDB

struct DeadLetterCondition {
  let sql: String
  let arguments: StatementArguments

  /// - Parameters:
  ///   - machine: the expression that holds a letter's machine.
  ///   - stream: the expression that holds its stream's name.
  init(_ filter: DeadLetterFilter, machine: String, stream: String) {
    var terms: [String] = []
    var arguments: StatementArguments = []
    func add(_ term: String, _ value: (any DatabaseValueConvertible)?) {
      guard let value else { return }
      terms.append(term)
      arguments += [value]
    }
    add("letter.id = ?", filter.id)
    add("letter.id <= ?", filter.through)
    add("\(machine) = ?", filter.machine?.text)
    add("\(stream) = ?", filter.stream?.text)
    add("letter.reason = ?", filter.reason?.rawValue)
    if let place = filter.behind {
      terms.append("(letter.last_at, letter.id) < (?, ?)")
      arguments += [place.lastAt, place.id]
    }
    sql = terms.isEmpty ? "" : "WHERE " + terms.joined(separator: " AND ")
    self.arguments = arguments
  }
}

/// Counts what leaves the dead letters, in `drover_meta`, so that nothing goes unrecorded.
enum DeadLetterCounter: String {
  case purged = "dead_letters_purged"
  case replayed = "dead_letters_replayed"
  case dropped = "dead_letters_dropped"

  func add(_ count: Int, _ database: Database) throws {
    guard count > 0 else { return }
    try database.execute(
      sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES (?, ?)",
      arguments: [rawValue, try read(database) + count])
  }

  func read(_ database: Database) throws -> Int {
    try Int.fetchOne(
      database, sql: "SELECT CAST(value AS INTEGER) FROM drover_meta WHERE name = ?", arguments: [rawValue]) ?? 0
  }
}

extension DeadLetterFigures {
  init(_ database: Database) throws {
    let hasTable = try database.tableExists("drover_dead_letter")
    self.init(
      present: try hasTable ? Int.fetchOne(database, sql: "SELECT count(*) FROM drover_dead_letter")! : 0,
      replayed: try DeadLetterCounter.replayed.read(database), purged: try DeadLetterCounter.purged.read(database),
      dropped: try DeadLetterCounter.dropped.read(database))
  }
}
