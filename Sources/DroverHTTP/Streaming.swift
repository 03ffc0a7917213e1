// Answers that have no end in sight: an export, and the live feed.

import HummingbirdCore
import NIOCore
import ServiceLifecycle

extension Asking {
  /// Writes a piece of an answer. A reader that takes nothing for too long loses its connection (`ConnectionWatch`), and so does one that is in
  /// the way of the end of the process.
  func write(_ piece: [UInt8], to writer: inout any ResponseBodyWriter) async throws {
    let channel = channel
    try await withGracefulShutdownHandler {
      try await writer.write(ByteBuffer(bytes: piece))
    } onGracefulShutdown: {
      channel.close(promise: nil)
    }
  }
}

/// Gives something back when no reference to it is left.
final class Place: Sendable {
  private let giveBack: @Sendable () -> Void
  init(giveBack: @escaping @Sendable () -> Void) { self.giveBack = giveBack }
  deinit { giveBack() }
}
