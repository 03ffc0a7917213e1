// What was written into a table that both sides edit. Each edit appends a mark of its own to the text that its editor sees, so a text names all edits that
// it has seen.

/// The rows of a two-way table: each row's text by its ID.
typealias TwoWayTexts = [String: String]

enum TwoWaySide: String {
  case edge = "e"
  case cloud = "c"
}

struct TwoWayLedger {
  /// A delete, with the text that its editor saw.
  struct Removal {
    var side: TwoWaySide
    var id: String
    var text: String
  }

  /// Marks that must be in a row, in a listed conflict, or in a text that was deleted by an editor who saw it.
  private(set) var owed: Set<String> = []
  /// What was deleted.
  private(set) var removed: Set<String> = []
  /// Deletes that no later edit of the same side has taken back.
  private(set) var removals: [Removal] = []
  /// Rows that each side has changed, counted once for each change.
  private(set) var edgeChanges = 0
  private(set) var cloudChanges = 0
  /// Texts of rows whose edit waited in a database when it was restored, and was never handed out before the copy was made. If the lost future sent the
  /// edit, nobody can tell that it is the same one: it counts as another, which has not seen what followed it there.
  private(set) var sentTwice: Set<String> = []
  /// This machine's database or the cloud's was restored.
  private(set) var wentBack = false
  private(set) var cloudWentBack = false

  /// The marks of a text, in their order.
  static func marks(_ text: String) -> [String] { text.split(separator: ".").map { "\($0)." } }

  /// One transaction.
  /// - Parameter changes: how many rows its statements have written.
  mutating func wrote(_ side: TwoWaySide, _ before: TwoWayTexts, _ after: TwoWayTexts, changes: Int) {
    for (id, text) in after where before[id] != text {
      owed.formUnion(Set(Self.marks(text)).subtracting(Self.marks(before[id] ?? "")).filter { !$0.hasPrefix("t") })
      removals.removeAll { $0.side == side && $0.id == id }
      // Deleted and inserted in one transaction.
      if let old = before[id], !text.hasPrefix(old) { removed.insert(old) }
    }
    let gone = before.filter { after[$0.key] == nil }
    for (id, text) in gone {
      removed.insert(text)
      removals.append(Removal(side: side, id: id, text: text))
    }
    if side == .edge { edgeChanges += changes + gone.count } else { cloudChanges += changes + gone.count }
  }

  /// A trigger of the app's has changed a row that came down.
  mutating func triggered() { edgeChanges += 1 }

  /// A database went back. What is in none of the texts is lost with the restore itself.
  mutating func wentBack(keeping texts: [String], isCloud: Bool) {
    wentBack = true
    cloudWentBack = cloudWentBack || isCloud
    let kept = Set(texts.flatMap(Self.marks)).union(removed.flatMap(Self.marks))
    owed.formIntersection(kept)
  }

  mutating func mayBeSentTwice(_ texts: [String]) { sentTwice.formUnion(texts) }

  /// The list of conflicts went back with the store.
  mutating func forget(listed texts: [String]) { owed.subtract(texts.flatMap(Self.marks)) }
}
