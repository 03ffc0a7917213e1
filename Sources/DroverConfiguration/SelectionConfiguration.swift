// What of a captured table leaves the machine.

package import DroverCore

package struct SelectionConfiguration: Equatable, Sendable {
  /// The columns that travel, besides the key; nil: all.
  package let include: [String]?
  /// The columns that do not.
  package let exclude: [String]
  /// Rows that do not match it do not travel.
  package let filter: Condition?
  /// The columns whose values travel as a hash.
  package let hashed: [String]

  package init(include: [String]? = nil, exclude: [String] = [], filter: Condition? = nil, hashed: [String] = []) {
    self.include = include
    self.exclude = exclude
    self.filter = filter
    self.hashed = hashed
  }
}

extension SelectionConfiguration {
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
