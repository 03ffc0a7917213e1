/// The seam to whoever alerts are posted to. DroverHTTP's webhook is behind it.
package protocol AlertReceiver: Sendable {
  /// Returns when the document was taken.
  func post(_ document: String) async throws
  /// Nothing is posted afterwards.
  func close() async
}
