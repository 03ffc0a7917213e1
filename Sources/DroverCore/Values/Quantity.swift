/// A number and what it counts, such as `1 event` or `3 events`, for logs and for what commands print.
/// - Parameter noun: in the singular; its plural ends with an s.
package func quantity(_ count: some BinaryInteger, _ noun: String) -> String {
  "\(count) \(noun)\(count == 1 ? "" : "s")"
}
