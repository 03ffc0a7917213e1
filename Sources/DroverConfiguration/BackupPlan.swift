// The section `backup`, the same on both sides.

/// Which backups are made of the side's database.
package struct BackupPlan: Equatable, Sendable {
  /// How long between two; nil: only on request.
  package let every: Duration?
  /// The resolved path of the folder that they go to.
  package let folder: String
  /// How many stay, at least 1.
  package let keep: Int

  package init(every: Duration? = nil, folder: String, keep: Int = 7) {
    self.every = every
    self.folder = folder
    self.keep = keep
  }
}

extension BackupPlan {
  /// - Parameter keys: the section.
  init(reading keys: Section) {
    self.init(
      every: keys.optional("every", .seconds(.seconds(5) ... .seconds(31_536_000))),
      folder: keys.optional("folder", .path(in: keys.folder), default: resolve("./backups", in: keys.folder)),
      keep: keys.optional("keep", .integer(1...10_000), default: 7))
  }
}
