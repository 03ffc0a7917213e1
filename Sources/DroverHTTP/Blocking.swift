// Databases block, and the threads on which requests are served must not.

import NIOPosix

/// A few threads for short questions to a database.
struct Blocking: Sendable {
  /// As many questions at a time; they share the machine with the consumer or the agent, whose work comes first.
  private static let threads = 2

  private let pool: NIOThreadPool

  init() {
    pool = NIOThreadPool(numberOfThreads: Self.threads)
    pool.start()
  }

  func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await pool.runIfActive(body)
  }
}
