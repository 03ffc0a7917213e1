// In which direction a stream's rows travel: `direction` of a stream and what is declared beside it.

internal import DroverCore

extension Flow {
  /// Reads the keys. `up` without them, and after a problem.
  /// - Parameters:
  ///   - name: the stream's, or its table's.
  ///   - key: as it is given; nil where it is not.
  init(reading stream: Section, _ name: String?, kind: Kind?, key: [String]?, syncedColumn: String?) {
    let direction = stream.optional("direction", Form<Direction>.oneOf, default: .up)
    let newer = stream.optional("newer", Form<String>.text("a column's name", maximumBytes: 128))
    let merge = stream.optional("merge", Form<MergeUnit>.oneOf, default: .row)
    let isKeyNatural = stream.optional("natural_key", .yesOrNo, default: false)
    let reach = stream.optional("machines", Form<Reach>.oneOf, default: .machine)
    self.init(direction: direction, newer: newer, merge: merge, isKeyNatural: isKeyNatural, reach: reach)

    let given = Set(StreamKey.allCases.filter { stream.isGiven($0.rawValue) })
    for refusal in FlowRule.refusals(direction, kind, given: given) {
      Self.report(refusal, stream, name, "`direction: \(direction.rawValue)`")
    }
    if direction == .both, let newer,
      let refusal = FlowRule.refusal(ofNewer: newer, key: key, syncedColumn: syncedColumn)
    {
      Self.report(refusal, stream, name, "`newer`")
    }
    // The edge would refuse the stream with the same reason.
    if direction.goesDown, kind == .payload { self = .up }
  }

  /// - Parameter what: what does not go with the other thing.
  private static func report(_ refusal: FlowRule.Refusal, _ stream: Section, _ name: String?, _ what: String) {
    stream.report(
      "\(name.map { "stream \(quoted($0)): " } ?? "")\(what) does not go with \(refusal.other): \(refusal.why); \(refusal.advice)",
      at: refusal.place?.rawValue ?? "direction")
  }
}

/// Whether the app's own triggers fire for a row that comes down.
enum Switch: String, CaseIterable {
  case on
  case off
}
