// What of a captured table leaves the machine.

internal import DroverCore

extension Selection {
  /// Reads `include`, `exclude`, `where` and `hash` of a stream.
  init(reading stream: Section, hasHashKey: Bool) {
    let column = Form<String>.text("a column's name", maximumBytes: 128)
    let include = stream.list("include", column)
    let exclude = stream.list("exclude", column)
    let filter = stream.optional("where", .condition)
    let hashed = stream.list("hash", column)
    if stream.isGiven("include"), stream.isGiven("exclude") {
      stream.report("use `include` or `exclude`, not both", at: "exclude")
    }
    if !stream.isGiven("table") {
      for key in ["include", "exclude", "where", "hash"] where stream.isGiven(key) {
        stream.report("a stream without a `table` has no columns", at: key)
      }
    }
    if stream.isGiven("hash"), !hasHashKey {
      stream.report("a hash needs a secret; name it at the top with `hash_key_file` or `hash_key_env`", at: "hash")
    }
    self.init(
      include: stream.isGiven("include") ? include : nil, exclude: exclude, filter: filter, hashed: hashed)
  }
}
