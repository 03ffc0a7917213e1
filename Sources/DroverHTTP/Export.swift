// The replica as newline-delimited JSON. A thread of its own reads rows in one transaction and waits for the reader of the answer, so that a
// few pieces are in memory however large the database is.

import Dispatch
import DroverCore
import DroverWire
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import Synchronization

final class Exports: Sendable {
  /// Each holds a thread, a connection and a moment of the database, whose log grows meanwhile.
  private static let most = 2

  private let running = Mutex(0)

  /// - Parameter stream: nil for all.
  func respond(
    _ reader: any CloudReader, stream: StreamName?, _ asking: Asking, _ blocking: Blocking
  ) async throws -> Response {
    if let stream {
      let isKnown = try await blocking.run { try reader.sinks().contains { $0.stream == stream } }
      guard isKnown else { throw Problem(.notFound, "The store has no stream \(stream).") }
    }
    let isFree = running.withLock { running in
      guard running < Self.most else { return false }
      running += 1
      return true
    }
    guard isFree else {
      throw Problem(
        .serviceUnavailable, "\(Self.most) exports are running; try again when one has ended.",
        headers: [.retryAfter: "10"])
    }
    let place = Place { [self] in running.withLock { $0 -= 1 } }
    return Response(
      status: .ok, headers: [.contentType: "application/x-ndjson"],
      body: ResponseBody { writer in
        defer { withExtendedLifetime(place) {} }
        try await Self.write(reader, stream, to: &writer, asking)
        try await writer.finish(nil)
      })
  }

  /// A failure, and the end of the process, end the connection before the answer is complete, which its reader sees.
  private static func write(
    _ reader: any CloudReader, _ stream: StreamName?, to writer: inout any ResponseBodyWriter, _ asking: Asking
  ) async throws {
    let pipe = ExportPipe()
    pipe.start(reader, stream)
    defer { pipe.abandon() }
    for try await piece in pipe.pieces {
      try await asking.write(piece, to: &writer)
      pipe.taken()
    }
  }
}

/// Between the thread that reads and the task that writes.
private final class ExportPipe: Sendable {
  /// Pieces that wait at a time, and about how many bytes one has.
  private static let depth = 4
  private static let pieceBytes = 64 << 10

  let pieces: AsyncThrowingStream<[UInt8], any Error>
  private let input: AsyncThrowingStream<[UInt8], any Error>.Continuation
  /// One that is freed below its first value ends the process, so it begins at nothing.
  private let room = DispatchSemaphore(value: 0)
  private let isAbandoned = Mutex(false)

  init() {
    (pieces, input) = AsyncThrowingStream.makeStream()
    for _ in 0..<Self.depth { room.signal() }
  }

  func start(_ reader: any CloudReader, _ stream: StreamName?) {
    let thread = Thread { [self] in
      var piece: [UInt8] = []
      do {
        try reader.readRows(of: stream) { sink, row in
          RowDocument.writeLine(of: row, sink, into: &piece)
          if piece.count >= Self.pieceBytes { try send(&piece) }
        }
        if !piece.isEmpty { try send(&piece) }
        input.finish()
      } catch {
        input.finish(throwing: error)
      }
    }
    thread.name = "drover-export"
    thread.start()
  }

  private func send(_ piece: inout [UInt8]) throws {
    room.wait()
    guard !isAbandoned.withLock({ $0 }) else { throw CancellationError() }
    input.yield(piece)
    piece.removeAll(keepingCapacity: true)
  }

  /// A piece is on its way, and another may come.
  func taken() { room.signal() }

  /// The reader is gone.
  func abandon() {
    isAbandoned.withLock { $0 = true }
    room.signal()
  }
}
