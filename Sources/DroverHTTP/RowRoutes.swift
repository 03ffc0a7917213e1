// Single rows of the replica: to look at them, and to edit those that go down. What an edit may do decides `RowEditRule`; here stands how HTTP says it.

package import DroverCore
import DroverWire
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

package enum RowRoutes {
  private static let list = "/v1/streams/{stream}/rows/{machine}"
  private static let row = "/v1/streams/{stream}/rows/{machine}/{id}"
  private static let longestSearch = 200

  package static func all(_ editor: any RowEditor, bodyBytes: Int) -> [Route] {
    let blocking = Blocking()
    @Sendable func edit(
      _ request: Request, _ asking: Asking, _ change: ([UInt8]) throws -> RowEditRequest.Change,
      types: [String]
    ) async throws -> Response {
      let (origin, id) = (try origin(asking), try asking.part("id"))
      let condition = try RowCondition(request.headers)
      var body: [UInt8] = []
      if !types.isEmpty {
        try request.expect(types)
        body = try await request.wholeBody(upTo: bodyBytes)
      }
      let wanted = RowEditRequest(try change(body), if: condition)
      let (outcome, table) = try await blocking.run {
        try explained { (try editor.edit(id, wanted, of: origin), try editor.table(of: origin)) }
      }
      guard let outcome, let table else { throw missing(origin) }
      return try answer(outcome, table)
    }
    return [
      Route(.get, list) { request, asking in
        let origin = try origin(asking)
        let question = RowQuestion(
          after: request.uri.queryParameters["after"].map(String.init),
          limit: try request.number("limit", in: 1...200, default: 50), search: try search(request))
        let found = try await blocking.run { try explained { try editor.rows(question, of: origin) } }
        guard let (table, page) = found else { throw missing(origin) }
        return .json(
          .object(
            table.document + [
              ("rows", .array(page.rows.map { $0.document(table) })), ("next", page.next.map { .string($0) } ?? .null),
            ]))
      },
      Route(.get, row) { _, asking in
        let (origin, id) = (try origin(asking), try asking.part("id"))
        let found = try await blocking.run { try explained { try editor.row(id, of: origin) } }
        guard let (table, row) = found else { throw missing(origin) }
        guard let row, row.values != nil else { throw gone(row) }
        return .json(row.document(table), headers: row.headers)
      },
      Route(.put, row) { request, asking in
        try await edit(request, asking, { .replace(try fields($0)) }, types: ["application/json"])
      },
      Route(.patch, row) { request, asking in
        try await edit(
          request, asking, { .modify(try fields($0)) }, types: ["application/merge-patch+json", "application/json"])
      },
      Route(.delete, row) { request, asking in try await edit(request, asking, { _ in .delete }, types: []) },
    ]
  }

  // MARK: Requests

  private static func origin(_ asking: Asking) throws -> MachineStream {
    let name = try asking.part("machine")
    guard let stream = try? StreamName(try asking.part("stream")) else {
      throw Problem(.notFound, "The store has no such stream.")
    }
    if name == MachineID.all.text { return MachineStream(machine: .all, stream: stream) }
    guard let machine = try? MachineID(name) else { throw Problem(.notFound, "No machine can have this name.") }
    return MachineStream(machine: machine, stream: stream)
  }

  private static func search(_ request: Request) throws -> String? {
    guard let text = request.uri.queryParameters["search"].map(String.init), !text.isEmpty else { return nil }
    guard text.count <= longestSearch else {
      throw Problem(.badRequest, "search has at most \(longestSearch) characters.")
    }
    return text
  }

  private static func fields(_ body: [UInt8]) throws -> [RowField] {
    do throws(WireError) {
      return try RowBody.fields(body)
    } catch {
      throw Problem(.badRequest, "The body has to be a JSON object with columns and their values: \(error).")
    }
  }

  private static func explained<Result>(_ ask: () throws -> Result) throws -> Result {
    do {
      return try ask()
    } catch let error as InvalidRowID {
      throw Problem(.notFound, "The ID is none that a row of this table can have: \(error.reason).")
    }
  }

  // MARK: Answers

  private static func missing(_ origin: MachineStream) -> Problem {
    Problem(
      .notFound,
      "The store has no table of the stream \(origin.stream.text) for \(origin.machine == .all ? "all machines" : "the machine \(origin.machine)"); /v1/machines lists machines and their streams."
    )
  }

  private static func gone(_ row: ViewedRow?) -> Problem {
    guard let row else { return Problem(.notFound, "There is no such row.") }
    return Problem(.notFound, "The row was deleted. \(row.standing.sentence)")
  }

  private static func answer(_ outcome: RowEditOutcome, _ table: RowTable) throws -> Response {
    switch outcome {
    case .done(let row, let isNew):
      guard row.values != nil else { return Response(status: .noContent) }
      return .json(row.document(table), status: isNew ? .created : .ok, headers: row.headers)
    case .refused(let refusal, let present):
      throw problem(refusal, present, table)
    }
  }

  private static func problem(_ refusal: RowRefusal, _ present: ViewedRow?, _ table: RowTable) -> Problem {
    let row = present.flatMap { $0.values == nil ? nil : $0 }
    let headers = row?.headers ?? [:]
    func problem(_ status: HTTPResponse.Status, _ detail: String, showsRow: Bool = false) -> Problem {
      Problem(
        status, detail, headers: headers,
        members: showsRow ? [("row", row.map { $0.document(table) } ?? .null)] : [])
    }
    return switch refusal {
    case .missing: gone(present)
    case .needsCondition:
      problem(
        .preconditionRequired,
        "The row is there. Send its ETag in If-Match, so that no other edit is overwritten, or If-Match: * to overwrite whatever is there."
      )
    case .changed where row == nil:
      problem(.preconditionFailed, "The row is not there any more.", showsRow: true)
    case .changed:
      problem(
        .preconditionFailed,
        "The row is not what If-Match or If-None-Match says; `row` is what it is now. Look at it, and send the edit with its ETag.",
        showsRow: true)
    case .closed(let sentence): problem(.conflict, sentence)
    case .invalid(let sentence): problem(.unprocessableContent, sentence)
    }
  }
}

extension ViewedRow {
  /// The tag is of the columns' values alone.
  fileprivate var headers: HTTPFields {
    values.map { [.eTag: "\"\(RowTag($0).text)\""] } ?? [:]
  }
}

extension RowCondition {
  /// Reads `If-Match` and `If-None-Match` (RFC 9110, section 13.1).
  init(_ headers: HTTPFields) throws {
    if let text = headers[.ifNoneMatch], text.filter({ $0 != " " }) != "*" {
      throw Problem(.badRequest, "If-None-Match takes only * here: insert the row if it is not there.")
    }
    switch (headers[.ifMatch], headers[.ifNoneMatch]) {
    case (nil, nil): self = .none
    // The row cannot be there and not be there.
    case (_?, _?): self = .content([])
    case (nil, _?): self = .absent
    case (let text?, nil):
      if text.filter({ $0 != " " }) == "*" {
        self = .present
        return
      }
      self = .content(Self.tags(text))
    }
  }

  /// The strong tags of a list, with their quotes or without. What is no tag matches no row.
  private static func tags(_ text: String) -> Set<RowTag> {
    var rest = text[...]
    var tags: Set<RowTag> = []
    while true {
      rest = rest.drop { $0 == " " || $0 == "\t" || $0 == "," }
      guard let first = rest.first else { return tags }
      let end: Substring.Index?
      if first == "\"" {
        rest = rest.dropFirst()
        end = rest.firstIndex(of: "\"")
      } else {
        // A weak tag begins so, and is compared with nothing.
        end = rest.firstIndex { $0 == "," || $0 == " " || $0 == "\t" }
      }
      tags.insert(RowTag(text: String(rest[..<(end ?? rest.endIndex)])))
      rest = end.map { rest[rest.index(after: $0)...] } ?? ""
    }
  }
}

extension Request {
  /// The body's type has to be one of these.
  fileprivate func expect(_ types: [String]) throws {
    let type = headers[.contentType].map { $0.prefix { $0 != ";" }.filter { $0 != " " }.lowercased() }
    guard let type, types.contains(type) else {
      throw Problem(.unsupportedMediaType, "The body has to be of the type \(types.joined(separator: " or ")).")
    }
  }
}
