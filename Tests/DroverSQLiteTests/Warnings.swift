import Synchronization

/// Collects what the store wants an operator to know.
final class Warnings: Sendable {
  private let noted = Mutex<[String]>([])
  var texts: [String] { noted.withLock { $0 } }
  var note: @Sendable (String) -> Void { { text in self.noted.withLock { $0.append(text) } } }
}
