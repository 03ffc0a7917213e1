// Reads a file or a pipe in pieces: memory stays bounded however long the input is, and what a slow sensor has said so far is not kept
// waiting for the next line.

import Foundation

struct LineReader {
  enum Piece {
    case bytes(ArraySlice<UInt8>)
    /// Nothing has come for a while.
    case pause
    case end
  }

  private let descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 256 << 10)

  init(descriptor: Int32) { self.descriptor = descriptor }

  /// The next piece of input; `.pause` when none comes within `patience` milliseconds.
  mutating func next(patience: Int32) throws -> Piece {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    while true {
      let ready = poll(&waiting, 1, patience)
      if ready == 0 { return .pause }
      if ready < 0 {
        guard errno == EINTR else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        continue
      }
      let count = read(descriptor, &buffer, buffer.count)
      if count > 0 { return .bytes(buffer[..<count]) }
      if count == 0 { return .end }
      guard errno == EINTR || errno == EAGAIN else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }
  }
}
