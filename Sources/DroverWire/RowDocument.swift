// Rows of the replica as JSON: a line of the export, a change of the feed. Values are written as frames write them.

package import DroverCore

package enum RowDocument {
  /// A row as a line.
  package static func writeLine(of row: SinkRow, _ sink: SinkDescription, into out: inout [UInt8]) {
    out.append(UInt8(ascii: "{"))
    writeOrigin(sink, machine: row.machine, into: &out)
    write(row, sink, op: nil, into: &out)
    out += "}\n".utf8
  }

  /// A change as an object, without a line's end.
  package static func write(_ change: Change, into out: inout [UInt8]) {
    out += "{\"cursor\":".utf8
    JSONWriter.write(change.cursor.text, into: &out)
    out.append(UInt8(ascii: ","))
    switch change.content {
    case .put(let row):
      writeOrigin(change.sink, machine: row.machine, into: &out)
      write(row, change.sink, op: .put, into: &out)
    case .delete(let key):
      writeOrigin(change.sink, machine: key.machine, into: &out)
      writeIdentity(change.localID, op: .delete, version: key.version, into: &out)
    }
    out.append(UInt8(ascii: "}"))
  }

  /// The body's JSON text on one line.
  package static func writeBody(of row: SinkRow, _ sink: SinkDescription, into out: inout [UInt8]) {
    switch row.content {
    case .values(let values):
      out.append(UInt8(ascii: "{"))
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        JSONWriter.write(sink.schema!.columns[index].name, into: &out)
        out.append(UInt8(ascii: ":"))
        JSONWriter.write(value, into: &out)
      }
      out.append(UInt8(ascii: "}"))
    case .body(_, _, let text):
      // A body may stand on several lines; within its texts line breaks are escaped.
      out += text.map { $0 == 0x0a || $0 == 0x0d ? 0x20 : $0 }
    }
  }

  private static func writeOrigin(_ sink: SinkDescription, machine: String, into out: inout [UInt8]) {
    out += "\"stream\":".utf8
    JSONWriter.write(sink.stream.text, into: &out)
    out += ",\"machine\":".utf8
    JSONWriter.write(machine, into: &out)
  }

  private static func write(_ row: SinkRow, _ sink: SinkDescription, op: Operation?, into out: inout [UInt8]) {
    writeIdentity(row.localID(sink), op: op, version: row.version, into: &out)
    if case .body(_, let occurredAt?, _) = row.content {
      out += ",\"at\":".utf8
      JSONWriter.write(occurredAt, into: &out)
    }
    out += ",\"body\":".utf8
    writeBody(of: row, sink, into: &out)
  }

  private static func writeIdentity(_ id: String, op: Operation?, version: Int64, into out: inout [UInt8]) {
    out += ",\"id\":".utf8
    JSONWriter.write(id, into: &out)
    if let op { out += ",\"op\":\"\(op.rawValue)\"".utf8 }
    out += ",\"version\":".utf8
    JSONWriter.write(version, into: &out)
  }
}

extension Change {
  /// What the change did.
  package var operation: Operation {
    switch content {
    case .put: .put
    case .delete: .delete
    }
  }

  package var localID: String {
    switch content {
    case .put(let row): return row.localID(sink)
    case .delete(let key):
      if let schema = sink.schema { return LocalIDCodec.text(key: key.key, schema: schema) }
      guard case .text(let bytes)? = key.key.first else { return "" }
      return String(decoding: bytes, as: UTF8.self)
    }
  }
}

extension SinkRow {
  fileprivate func localID(_ sink: SinkDescription) -> String {
    switch content {
    case .values(let values): LocalIDCodec.text(key: sink.schema!.keyValues(of: values), schema: sink.schema!)
    case .body(let localID, _, _): localID
    }
  }
}
