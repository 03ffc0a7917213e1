// Which keys of a stream cannot stand together with its direction, and why. docs/configuration.md has the same as a table, with the reasons why the others can.

/// A key of a stream in the configuration of a machine.
package enum StreamKey: String, CaseIterable, Sendable {
  case table
  case key
  case timeColumn = "time_column"
  case syncedColumn = "synced_column"
  case completeWhen = "complete_when"
  case with
  case include
  case exclude
  case filter = "where"
  case hash
  case identity
  case newer
  case merge
  case naturalKey = "natural_key"
  case appTriggers = "app_triggers"
  case machines
}

package enum FlowRule {
  /// Two things that cannot stand together.
  package struct Refusal: Equatable, Sendable {
    /// The key at which it is said; nil: `direction`.
    package var place: StreamKey?
    /// What does not go with the direction, as it is written in the file.
    package var other: String
    package var why: String
    /// What to do.
    package var advice: String
  }

  /// - Parameters:
  ///   - kind: nil where the file names none.
  ///   - given: the keys that stand in the file.
  package static func refusals(_ direction: Direction, _ kind: Kind?, given: Set<StreamKey>) -> [Refusal] {
    var found: [Refusal] = []
    func refuse(_ key: StreamKey, at place: StreamKey? = nil, _ why: String, _ advice: String) {
      guard given.contains(key) else { return }
      found.append(Refusal(place: place, other: "`\(key.rawValue)`", why: why, advice: advice))
    }
    if direction != .both {
      for key in [StreamKey.newer, .merge, .naturalKey] {
        refuse(
          key, at: key, "only one side edits the rows, so no two edits meet",
          "set `direction: both`, or remove `\(key.rawValue)`")
      }
    }
    if direction != .down {
      refuse(
        .machines, at: .machines, "a row that its machine edits belongs to that machine alone",
        "set `direction: down`, or remove `machines`")
    }
    guard direction.goesDown else {
      refuse(
        .appTriggers, at: .appTriggers, "no row comes down, for which a trigger could fire",
        "set `direction: both` or `down`, or remove `app_triggers`")
      return found
    }
    let word = "`direction: \(direction.rawValue)`"
    guard given.contains(.table) else {
      found.append(
        Refusal(
          other: "a stream without `table`", why: "rows come down into a table",
          advice: "name it with `table`, or leave out \(word)"))
      return found
    }
    if kind == .payload {
      found.append(
        Refusal(
          other: "`kind: payload`", why: "facts never change",
          advice: "use `kind: snapshot` for rows that change, or leave out \(word)"))
    }
    refuse(
      .identity, "one row in the cloud belongs to several machines, so an edit there has no one machine to go to",
      "leave out \(word) or `identity`")
    refuse(
      .with,
      "a header and its lines travel up as one unit, and an edit of one of them in the cloud cannot come down",
      "make the lines a stream of their own, or leave out \(word)")
    for key in [StreamKey.include, .exclude] {
      refuse(
        key, "a row that is inserted in the cloud would come down without the columns that do not travel",
        "let all columns travel, or move what stays on the machine into a table of its own; otherwise leave out \(word)"
      )
    }
    refuse(
      .filter, "an edit in the cloud could move a row out of what travels, and the two sides would differ for good",
      "let all rows travel, or leave out \(word)")
    refuse(
      .hash, "the cloud has only a hash of the value, and would send that down in the value's place",
      "let the column travel as it is, or leave out \(word)")
    if direction == .down {
      refuse(
        .timeColumn, at: .timeColumn, "it is for `drover resync --since`, and this machine sends none of these rows",
        "remove `time_column`")
    }
    return found
  }

  /// A column that cannot decide which of two edits wins.
  /// - Parameters:
  ///   - key: the row's key; nil where it is not known.
  package static func refusal(ofNewer newer: String, key: [String]?, syncedColumn: String?) -> Refusal? {
    let name = SQLName(newer)
    if key?.contains(where: { SQLName($0) == name }) == true {
      return Refusal(
        place: .newer, other: "the key's own column \(newer)", why: "two edits of one row have the same key",
        advice: "name a column that each edit raises, such as a time, or remove `newer`")
    }
    if let syncedColumn, SQLName(syncedColumn) == name {
      return Refusal(
        place: .newer, other: "`synced_column: \(newer)`",
        why: "Drover sets this column, so it says nothing of an edit",
        advice: "name a column that each edit raises, such as a time, or remove `newer`")
    }
    return nil
  }
}
