/// What a replay came to, for the person who asked for it.
package struct ReplayOutcome {
  /// What `done` of them are now.
  package var success: String
  package var done = 0
  package var remarks: [String] = []
  /// The letters that are still there, and why.
  package var left: [(id: Int64, why: String)] = []

  package init(success: String) { self.success = success }
}
