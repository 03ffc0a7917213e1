// The tables of one machine that the cloud's rows come down into, with what both sides have written there.

import DroverCore

final class TwoWayTables {
  let form: TwoWayForm
  private let mistake: Mistake?
  var ledger = TwoWayLedger()
  private var marks = 0
  /// Edits that left the outbox: table, key and version.
  private(set) var edits: Set<String> = []
  /// Entries that left the outbox, rows that are sent again among them.
  private(set) var entries: Set<String> = []

  init(_ form: TwoWayForm, mistake: Mistake?) {
    self.form = form
    self.mistake = mistake
  }

  func mark(_ side: TwoWaySide) -> String {
    marks += 1
    return "\(side.rawValue)\(marks)."
  }

  /// One transaction of the app's. Returns what it said.
  /// - Parameter isAttached: without triggers nothing tells of an edit of reference data, and it stays.
  func write(_ app: PlainDatabase, _ random: inout Seeded, isAttached: Bool) throws -> [String] {
    let isPrice = isAttached && random.percent(6)
    var editor = TwoWayEditor(app, table: isPrice ? "price" : "product", owner: nil, random: random) { [unowned self] in
      mark(.edge)
    }
    let before = try editor.texts()
    try app.execute("BEGIN IMMEDIATE")
    let isKept = try editor.transaction()
    random = editor.random
    if isKept, !isPrice { ledger.wrote(.edge, before, try editor.texts(), changes: editor.changes) }
    return editor.said
  }

  /// What the agent has read of its outbox, before it sends it.
  func read(_ entries: inout [OutboxEntry], epoch: Epoch, streams: [EdgeStream], wall: Int64) {
    for index in entries.indices {
      let entry = entries[index]
      guard let ancestry = entry.ancestry, let name = streams.first(where: { $0.number == entry.stream })?.name else {
        continue
      }
      self.entries.insert("\(epoch) \(name) \(entry.seq)")
      if !ancestry.isAgain { edits.insert("\(name) \(Array(entry.key)) \(entry.version)") }
      if mistake == .freshVersionAgain, ancestry.isAgain { entries[index].version = wall }
    }
  }

  /// Rows that came down were written into the app's tables.
  func didApply(_ frame: DownFrame, _ app: PlainDatabase, streams: [EdgeStream]) throws {
    guard mistake == .appliedIsCaptured, let name = streams.first(where: { $0.number == frame.stream })?.name else {
      return
    }
    for event in frame.events {
      guard case .integer(let id)? = event.key.first else { continue }
      try app.execute("UPDATE \(name) SET log = log WHERE id = ?", [.integer(id)])
    }
  }
}

extension TwoWayEditor {
  /// A few edits, in a transaction that is open. Returns whether it was committed.
  mutating func transaction() throws -> Bool {
    for _ in 0..<(1 + random.below(3)) {
      do { try edit() } catch let error as PlainError where error.isConstraint { note("refused") }
    }
    let isKept = !random.percent(8)
    note(isKept ? "COMMIT" : "ROLLBACK")
    try database.execute(isKept ? "COMMIT" : "ROLLBACK")
    return isKept
  }
}
