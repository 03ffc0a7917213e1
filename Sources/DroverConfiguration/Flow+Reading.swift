// In which direction a stream's rows travel: `direction` of a stream and what is declared beside it.

internal import DroverCore

extension Flow {
  /// Reads the keys. `up` without them, and after a problem.
  init(reading stream: Section, kind: Kind?) {
    let direction = stream.optional("direction", Form<Direction>.oneOf, default: .up)
    let newer = stream.optional("newer", Form<String>.text("a column's name", maximumBytes: 128))
    let merge = stream.optional("merge", Form<MergeUnit>.oneOf, default: .row)
    let isKeyNatural = stream.optional("natural_key", .yesOrNo, default: false)
    let reach = stream.optional("machines", Form<Reach>.oneOf, default: .machine)
    self.init(direction: direction, newer: newer, merge: merge, isKeyNatural: isKeyNatural, reach: reach)

    for key in ["newer", "merge", "natural_key"] where stream.isGiven(key) && direction != .both {
      stream.report("it is about rows that both sides edit; add `direction: both`, or remove it", at: key)
    }
    if stream.isGiven("app_triggers"), !direction.goesDown {
      stream.report("nothing comes down; add `direction: both` or `down`, or remove it", at: "app_triggers")
    }
    if stream.isGiven("machines"), direction != .down {
      stream.report("only reference data is for all machines; add `direction: down`, or remove it", at: "machines")
    }
    guard direction.goesDown else { return }
    Self.reportWhatCannotWork(stream, kind, direction)
    // The edge would refuse the stream with the same reason.
    if kind == .payload { self = .up }
  }

  private static func reportWhatCannotWork(_ stream: Section, _ kind: Kind?, _ direction: Direction) {
    let word = "`direction: \(direction.rawValue)`"
    guard stream.isGiven("table") else {
      return stream.report("rows come down into a table; name it with `table`, or leave out \(word)", at: "direction")
    }
    if kind == .payload {
      stream.report(
        "a stream of kind payload only goes up, because facts never change; use kind snapshot for rows that change",
        at: "direction")
    }
    if stream.isGiven("identity") {
      stream.report(
        "with `identity` one row in the cloud belongs to several machines, so an edit there has no one machine to go to; leave out \(word) or `identity`",
        at: "direction")
    }
    if stream.isGiven("with") {
      stream.report(
        "a header and its lines (`with`) travel up as one unit, and an edit of one of them in the cloud cannot come down; make the lines a stream of their own, or leave out \(word)",
        at: "direction")
    }
    for key in ["include", "exclude", "hash", "where"] where stream.isGiven(key) {
      stream.report(
        "the other side would edit or insert rows without what does not travel (`\(key)`); leave out \(word) or `\(key)`",
        at: "direction")
    }
  }
}

/// Whether the app's own triggers fire for a row that comes down.
enum Switch: String, CaseIterable {
  case on
  case off
}
