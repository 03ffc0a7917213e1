// By what a stream's rows are matched with other machines' in the cloud: `identity` and `else` of a stream.

internal import DroverCore

extension NaturalKey {
  /// Reads the two keys. Nil without them, and after a problem.
  init?(reading stream: Section, kind: Kind?, hasTable: Bool) {
    let column = Form<String>.text("a column's name", maximumBytes: 128)
    let columns = stream.list("identity", column)
    let fallback = stream.list("else", column)
    guard stream.isGiven("identity") else {
      if stream.isGiven("else") {
        stream.report("`else` is for rows without an `identity`; name that too", at: "else")
      }
      return nil
    }
    guard hasTable, kind == nil || kind == .snapshot else {
      stream.report(
        "only a stream of kind snapshot with a `table` is matched with other machines' rows", at: "identity")
      return nil
    }
    guard !columns.isEmpty else { return nil }
    do throws(InvalidName) {
      try self.init(columns: columns, fallback: fallback)
    } catch {
      stream.report(error.message, at: "identity")
      return nil
    }
  }
}
