// The change feed as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). Every reader pulls from the store at its
// own pace, so nothing is kept for a slow one. One look at the store tells all of them that something was committed.

import DroverCore
import DroverWire
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore
import ServiceLifecycle
import Synchronization

final class LiveFeed: Sendable {
  /// Each has a session of the store's, which is a connection in SQLite.
  private static let most = 50
  /// How often the store is read while there are readers; it takes a few microseconds in SQLite, and less than a hundred in PostgreSQL.
  private static let pause = Duration.milliseconds(25)
  /// A comment is due when nothing was written for so long, and whether it is, is seen at each beat: every 15 s at the latest, so that those in
  /// between see that the connection lives.
  private static let silence = Duration.seconds(12)
  private static let beat = Duration.seconds(3)
  private static let pieceBytes = 64 << 10

  private struct Listeners {
    var signals: [Int: AsyncStream<Void>.Continuation] = [:]
    var count = 0
    var watch: Task<Void, Never>?
  }

  private let reader: any ChangeReader
  private let blocking = Blocking()
  private let listeners = Mutex(Listeners())

  init(_ reader: any ChangeReader) { self.reader = reader }

  /// - Parameter question: without a cursor what comes from now on.
  func respond(_ question: ChangeQuestion, _ asking: Asking) async throws -> Response {
    let (listener, place) = try join()
    let (session, question) = try await blocking.run { [reader] in
      try ChangeRoutes.explained {
        let session = try reader.open()
        var question = question
        if question.after == nil { question.after = try session.report().newest }
        // What cannot be answered is a problem, as long as nothing was.
        _ = try session.read(question) { _ in false }
        return (session, question)
      }
    }
    asking.channel.closeFuture.whenComplete { _ in listener.end() }
    return Response(
      status: .ok,
      headers: [.contentType: "text/event-stream", .cacheControl: "no-store", .accelBuffering: "no"],
      body: ResponseBody { [self] writer in
        defer { withExtendedLifetime(place) {} }
        try await withGracefulShutdownHandler {
          try await write(question, session, to: &writer, asking, listener)
        } onGracefulShutdown: {
          listener.end()
        }
        try await writer.finish(nil)
      })
  }

  // MARK: One reader

  private func write(
    _ question: ChangeQuestion, _ session: any ChangeSession, to writer: inout any ResponseBodyWriter,
    _ asking: Asking, _ listener: Listener
  ) async throws {
    var question = question
    // The reader's place, in case it hears nothing else.
    try await asking.write(Self.place(question.after!), to: &writer)
    var last = ContinuousClock.now
    for await _ in listener.signals {
      var hasMore = true
      while hasMore, !listener.isEnded {
        let piece = try await blocking.run { [question] in try Self.piece(question, session) }
        hasMore = piece.hasMore
        question.after = piece.next
        if !piece.bytes.isEmpty {
          try await asking.write(piece.bytes, to: &writer)
          last = .now
        }
        if piece.isLast { return }
      }
      if last.duration(to: .now) >= Self.silence, !listener.isEnded {
        try await asking.write(Self.place(question.after!), to: &writer)
        last = .now
      }
    }
  }

  private struct Piece: Sendable {
    var bytes: [UInt8]
    var next: ChangeCursor?
    var hasMore = false
    /// The reader has to begin again.
    var isLast = false
  }

  private static func piece(_ question: ChangeQuestion, _ session: any ChangeSession) throws -> Piece {
    var bytes: [UInt8] = []
    do {
      let page = try session.read(question) { change in
        bytes += "id: \(change.cursor.text)\nevent: \(change.operation.rawValue)\ndata: ".utf8
        RowDocument.write(change, into: &bytes)
        bytes += "\n\n".utf8
        return bytes.count < pieceBytes
      }
      return Piece(bytes: bytes, next: page.next, hasMore: page.hasMore)
    } catch let error as ChangesError {
      // An empty ID, so that who comes again begins with what there is then.
      return Piece(bytes: Array("id:\nevent: gone\ndata: \(Problem(error).text)\n\n".utf8), isLast: true)
    }
  }

  /// A comment, and where the reader is.
  private static func place(_ cursor: ChangeCursor) -> [UInt8] { Array(": \nid: \(cursor.text)\n\n".utf8) }

  // MARK: All readers

  /// A reader that is woken.
  private final class Listener: Sendable {
    let signals: AsyncStream<Void>
    private let input: AsyncStream<Void>.Continuation
    private let hasEnded = Atomic(false)

    init(_ signals: AsyncStream<Void>, _ input: AsyncStream<Void>.Continuation) {
      self.signals = signals
      self.input = input
    }

    var isEnded: Bool { hasEnded.load(ordering: .relaxed) }

    func end() {
      hasEnded.store(true, ordering: .relaxed)
      input.finish()
    }
  }

  private func join() throws -> (Listener, Place) {
    // Waking twice is waking once.
    let (signals, input) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    input.yield()
    let number: Int? = listeners.withLock { listeners in
      guard listeners.signals.count < Self.most else { return nil }
      listeners.count += 1
      listeners.signals[listeners.count] = input
      if listeners.watch == nil { listeners.watch = Task { await self.watch() } }
      return listeners.count
    }
    guard let number else {
      throw Problem(
        .serviceUnavailable, "\(Self.most) readers use the live feed; try again when one has ended.",
        headers: [.retryAfter: "10"])
    }
    return (Listener(signals, input), Place { [self] in leave(number) })
  }

  private func leave(_ number: Int) {
    listeners.withLock { listeners in
      listeners.signals[number] = nil
      guard listeners.signals.isEmpty else { return }
      listeners.watch?.cancel()
      listeners.watch = nil
    }
  }

  /// Reads the store while there are readers. A new reader reads for itself first, and the first read here is for all, so nothing is
  /// missed between the two.
  private func watch() async {
    var session: (any ChangeSession)?
    var told = ContinuousClock.now
    while !Task.isCancelled {
      let present = session
      let look = try? await blocking.run { [reader] in
        let session = try present ?? reader.open()
        return (session, try session.hasMoved())
      }
      session = look?.0
      // Each of those who listen finds out what is wrong.
      if look?.1 ?? true || told.duration(to: .now) >= Self.beat {
        told = .now
        listeners.withLock { for signal in $0.signals.values { signal.yield() } }
      }
      try? await Task.sleep(for: Self.pause)
    }
  }
}

extension HTTPField.Name {
  /// For nginx, which would keep what it has until it is a page.
  fileprivate static let accelBuffering = Self("X-Accel-Buffering")!
}
