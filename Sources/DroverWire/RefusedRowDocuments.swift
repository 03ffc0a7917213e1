// Rows that a machine refuses, as it says so in `down-confirm`, and the command to try them again. docs/protocol.md shows both.

package import DroverCore

extension RefusedRows {
  var json: JSON { .object([("total", integer(total)), ("rows", .array(rows.map(\.json)))]) }

  init(members: JSONDocument.Members) throws(WireError) {
    let total = Int(try members.integer("total", in: Bounds.count))
    var rows: [RefusedRow] = []
    for element in try members.array("rows").prefix(Self.mostNamed) {
      rows.append(try RefusedRow(members: try element.members()))
    }
    self.init(total: total, rows: rows)
  }
}

extension RefusedRow {
  fileprivate var json: JSON {
    .object([
      ("stream", .string(stream.text)), ("id", .string(localID)), ("op", isDelete ? "delete" : "put"),
      ("version", .integer(version.clamped(to: Bounds.version))), ("reason", .string(reason)),
      ("cause", .string(cause)), ("tries", .integer(Int64(tries).clamped(to: Bounds.count))),
      ("since_us", .integer(since.clamped(to: Bounds.time))), ("last_us", .integer(last.clamped(to: Bounds.time))),
    ])
  }

  fileprivate init(members: JSONDocument.Members) throws(WireError) {
    do {
      self.init(
        stream: try StreamName(try members.string("stream")), localID: try members.string("id"),
        isDelete: try members.string("op") == "delete", version: try members.integer("version", in: Bounds.version),
        reason: Self.cut(try members.string("reason"), to: 64),
        cause: Self.cut(try members.string("cause"), to: RefusedRows.causeLength),
        tries: Int(try members.integer("tries", in: Bounds.count)),
        since: try members.integer("since_us", in: Bounds.time), last: try members.integer("last_us", in: Bounds.time))
    } catch let error as InvalidName {
      throw WireError(error.message)
    } catch let error as WireError {
      throw error
    } catch {
      throw WireError("\(error)")
    }
  }

  private static func cut(_ text: String, to length: Int) -> String { String(text.prefix(length)) }
}

extension RetryOrder {
  package var document: [UInt8] {
    var members: [(String, JSON)] = [("v", 1)]
    if let stream { members.append(("stream", .string(stream.text))) }
    if let ids { members.append(("ids", .array(ids.map { .string($0) }))) }
    return Array(JSON.object(members).text().utf8)
  }

  package init(document: [UInt8]) throws(WireError) {
    let members = try JSONDocument(parsing: document).members
    try members.requireVersion1()
    var stream: StreamName?
    if members.has("stream") {
      do { stream = try StreamName(try members.string("stream")) } catch { throw WireError("\(error)") }
    }
    var ids: [String]?
    if members.has("ids") {
      guard stream != nil else { throw WireError("\"ids\" stands without \"stream\"") }
      let elements = try members.array("ids")
      guard elements.count <= Bounds.localIDs else {
        throw WireError("\"ids\" holds more than \(Bounds.localIDs) local IDs")
      }
      ids = []
      for element in elements { ids!.append(try element.string()) }
    }
    self.init(stream: stream, ids: ids)
  }
}

extension RefusalList {
  package var json: JSON {
    .object([("total", integer(total)), ("unnamed", integer(unnamed)), ("rows", .array(rows.map(\.json)))])
  }
}

extension KeptRefusal {
  /// As `drover dead list --json` and the HTTP server write it.
  package var json: JSON {
    .object([
      ("machine", .string(machine.text)), ("stream", .string(row.stream.text)), ("id", .string(row.localID)),
      ("op", row.isDelete ? "delete" : "put"), ("reason", .string(row.reason)), ("cause", .string(row.cause)),
      ("tries", integer(row.tries)), ("since", .string(Timestamp.text(microseconds: row.since))),
      ("last_tried", .string(Timestamp.text(microseconds: row.last))), ("version", .integer(row.version)),
    ])
  }
}
