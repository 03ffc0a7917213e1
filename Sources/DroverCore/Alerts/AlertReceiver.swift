/// The seam to the receiver of alerts. DroverHTTP's webhook implements it.
package protocol AlertReceiver: Sendable {
  /// Returns when the document was taken.
  func post(_ document: String) async throws
  /// Nothing is posted afterwards.
  func close() async
}
