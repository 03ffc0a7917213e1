// Answers that have no end in sight: an export, and the live feed.

import HummingbirdCore
import NIOCore
import ServiceLifecycle

extension Asking {
  /// Writes a piece of an answer. A reader who takes nothing for too long loses his connection, and so does one who is in the way of the end
  /// of the process.
  func write(_ piece: [UInt8], to writer: inout any ResponseBodyWriter, patience: Duration) async throws {
    let channel = channel
    let watch = Task {
      try await Task.sleep(for: patience)
      channel.close(promise: nil)
    }
    defer { watch.cancel() }
    try await withGracefulShutdownHandler {
      try await writer.write(ByteBuffer(bytes: piece))
    } onGracefulShutdown: {
      channel.close(promise: nil)
    }
  }
}

/// Gives something back when nobody holds it any more.
final class Place: Sendable {
  private let giveBack: @Sendable () -> Void
  init(giveBack: @escaping @Sendable () -> Void) { self.giveBack = giveBack }
  deinit { giveBack() }
}
