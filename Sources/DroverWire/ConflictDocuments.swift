// Conflicts as JSON: one form for `drover conflicts list --json`, for the HTTP server, and for what a machine asks of the cloud.

package import DroverCore
private import Foundation

extension JSON {
  /// A value as frames write it (docs/protocol.md, "Values").
  fileprivate init(value: Value) {
    func tagged(_ tag: String, _ bytes: [UInt8]) -> JSON {
      .object([(tag, .string(Data(bytes).base64EncodedString()))])
    }
    switch value {
    case .null: self = .null
    case .integer(let integer): self = .integer(integer)
    case .real(let real) where real.isFinite: self = .real(real)
    case .real(let real): self = .object([("$real", real < 0 ? "-inf" : "inf")])
    case .text(let bytes):
      self = String(validating: bytes, as: UTF8.self).map { .string($0) } ?? tagged("$text", Array(bytes))
    case .blob(let bytes): self = tagged("$blob", Array(bytes))
    }
  }
}

extension Conflict {
  package var members: [(String, JSON)] {
    func row(_ values: [Value]?) -> JSON {
      values.map { .object(zip(columns, $0).map { ($0, JSON(value: $1)) }) } ?? .null
    }
    return [
      ("id", .integer(id)), ("machine", .string(machine.text)), ("stream", .string(stream.text)),
      ("row", .string(localID)), ("decided", .string(Timestamp.text(microseconds: at))),
      ("reason", .string(lost.reason.rawValue)), ("lost", .string(lost.loser.rawValue)),
      ("version", .integer(lost.version)), ("result", .integer(lost.result)),
      ("columns", .array(columns.map { .string($0) })), ("value", row(lost.value)), ("present", row(present)),
      ("differs", .array(differing.map { .string(columns[$0]) })), ("changed_since", .bool(hasChangedSince)),
      ("seen", .string(seen)), ("problem", problem.map { .string($0) } ?? .null),
    ]
  }

  package var document: JSON { .object(members) }
}
