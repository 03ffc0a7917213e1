// The change feed page by page: which streams there are, and what changed behind a cursor. LiveFeed goes on with the same.

import DroverCore
import DroverWire
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

enum ChangeRoutes {
  /// A page ends behind the change with which it has as many bytes; one change may be larger.
  private static let pageBytes = 1 << 20

  static func all(_ reader: any ChangeReader, _ blocking: Blocking) -> [Route] {
    let live = LiveFeed(reader)
    return [
      Route(.get, "/v1/streams") { _, _ in
        .json(try await blocking.run { try explained { try reader.open().report().document } })
      },
      Route(.get, "/v1/streams/{stream}/changes") { request, asking in
        guard let stream = try? StreamName(try asking.part("stream")) else {
          throw Problem(.notFound, "The store has no such stream.")
        }
        return try await changes(request, of: stream, reader, blocking)
      },
      Route(.get, "/v1/changes") { request, _ in
        try await changes(request, of: nil, reader, blocking)
      },
      Route(.get, "/v1/live") { request, asking in
        let question = try question(request, after: request.headers[.lastEventID] ?? request.text("after"))
        return try await live.respond(question, asking)
      },
    ]
  }

  /// - Parameter stream: nil for those of all streams.
  private static func changes(
    _ request: Request, of stream: StreamName?, _ reader: any ChangeReader, _ blocking: Blocking
  ) async throws -> Response {
    let limit = try request.number("limit", in: 1...1000, default: 100)
    var question = try question(request, after: request.text("after"))
    question.stream = stream ?? question.stream
    let body = try await blocking.run { [question] in
      try explained { try page(question, limit: limit, reader.open()) }
    }
    return Response(
      status: .ok, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(bytes: body)))
  }

  private static func page(_ question: ChangeQuestion, limit: Int, _ session: any ChangeSession) throws -> [UInt8] {
    var out = Array("{\"changes\":[".utf8)
    var count = 0
    var ofStreams: [StreamName: ChangeCounts] = [:]
    let page = try session.read(question) { change in
      out += (count == 0 ? "\n" : ",\n").utf8
      RowDocument.write(change, into: &out)
      count += 1
      ofStreams[change.sink.stream, default: ChangeCounts()] +=
        change.operation == .put ? ChangeCounts(puts: 1) : ChangeCounts(deletes: 1)
      return count < limit && out.count < pageBytes
    }
    let streams = JSON.object(ofStreams.sorted { $0.key < $1.key }.map { ($0.key.text, $0.value.document) })
    out +=
      "],\n\"next\":\"\(page.next.text)\",\"more\":\(page.hasMore),\"counts\":\(page.counts.document.text()),\"page\":\(streams.text())}\n"
      .utf8
    return out
  }

  // MARK: What both have

  private static func question(_ request: Request, after text: String?) throws -> ChangeQuestion {
    ChangeQuestion(
      after: try text.map { text in
        guard let cursor = ChangeCursor(text) else {
          throw Problem(.badRequest, "The cursor is none that this server has given.")
        }
        return cursor
      }, stream: try request.query("stream") { try StreamName($0) },
      machine: try request.query("machine") { try MachineID($0) })
  }

  /// What the feed cannot answer is a problem that says what to do.
  static func explained<Result>(_ ask: () throws -> Result) throws -> Result {
    do {
      return try ask()
    } catch let error as ChangesError {
      throw Problem(error)
    }
  }
}

extension Problem {
  init(_ error: ChangesError) {
    let sentence = error.description.prefix(1).uppercased() + error.description.dropFirst() + "."
    switch error {
    case .off, .unknownStream: self.init(.notFound, sentence)
    case .gone: self.init(.gone, sentence)
    }
  }
}

extension Request {
  /// A text of the query; nil without it.
  fileprivate func text(_ name: String) -> String? { uri.queryParameters[name[...]].map(String.init) }
}

extension HTTPField.Name {
  fileprivate static let lastEventID = Self("Last-Event-ID")!
}

extension ChangeReport {
  fileprivate var document: JSON {
    .object([
      ("newest", .string(newest.text)),
      (
        "streams",
        .array(
          streams.map { stream in
            .object([
              ("stream", .string(stream.stream.text)), ("kind", .string(stream.kind.rawValue)),
              ("lines_of", stream.header.map { .string($0.text) } ?? .null), ("counts", stream.counts.document),
            ])
          })
      ),
    ])
  }
}

extension ChangeCounts {
  fileprivate var document: JSON { .object([("puts", .integer(puts)), ("deletes", .integer(deletes))]) }
}
