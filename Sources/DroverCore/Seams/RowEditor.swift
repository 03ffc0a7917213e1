// The seam through which people see and edit single rows of the sink tables: the HTTP server, and the page over it. Both stores implement it. An edit runs
// as one of any SQL client does, in one transaction with the comparison of what the client has seen.

/// The rows of a machine, or those for all machines (`MachineID.all`), in one stream.
package struct RowTable: Equatable, Sendable {
  package var origin: MachineStream
  /// What the machine described last.
  package var schema: StreamSchema
  /// Why rows here cannot be edited in the cloud; nil where they can.
  package var closed: String?

  package init(origin: MachineStream, schema: StreamSchema, closed: String?) {
    self.origin = origin
    self.schema = schema
    self.closed = closed
  }
}

extension RowTable {
  /// - Parameter isCaptured: the triggers of the sink table know the machine.
  package init(origin: MachineStream, schema: StreamSchema, isCaptured: Bool) {
    let closed: String? =
      if schema.flow.direction == .up {
        "The stream only goes up: its rows are edited at the machine (direction: both lets the cloud edit them too)."
      } else if schema.flow.reach == .all, origin.machine != .all {
        "The rows of this stream are for all machines; edit them under the machine *."
      } else if !isCaptured {
        "Edits of this table are not captured yet; try again when the consumer has taken the machine's schema."
      } else {
        nil
      }
    self.init(origin: origin, schema: schema, closed: closed)
  }
}

package struct ViewedRow: Equatable, Sendable {
  package var localID: String
  /// In the schema's order; nil for a row that is gone.
  package var values: [Value]?
  /// The row's own; of one that is gone, that of the decision about it.
  package var version: Int64
  package var standing: RowStanding

  package init(localID: String, values: [Value]?, version: Int64, standing: RowStanding) {
    self.localID = localID
    self.values = values
    self.version = version
    self.standing = standing
  }
}

/// A part of a machine's rows, in the order of their keys.
package struct RowQuestion: Equatable, Sendable {
  /// The local ID after which it begins.
  package var after: String?
  package var limit: Int
  /// Only rows with a column whose text holds this, in upper or lower case.
  package var search: String?
  /// How many rows may be looked at.
  package var mostScanned: Int

  package init(after: String? = nil, limit: Int, search: String? = nil, mostScanned: Int = 10_000) {
    self.after = after
    self.limit = limit
    self.search = search
    self.mostScanned = mostScanned
  }
}

package struct RowPage: Equatable, Sendable {
  package var rows: [ViewedRow]
  /// Behind which to go on; nil at the end.
  package var next: String?
  package var scanned: Int

  package init(rows: [ViewedRow] = [], next: String? = nil, scanned: Int = 0) {
    self.rows = rows
    self.next = next
    self.scanned = scanned
  }
}

package enum RowEditOutcome: Equatable, Sendable {
  /// - Parameter isNew: the row was not there before.
  case done(ViewedRow, isNew: Bool)
  /// - Parameter present: the row as it is.
  case refused(RowRefusal, present: ViewedRow?)
}

package protocol RowEditor: Sendable {
  /// nil if the store has no such rows.
  func table(of origin: MachineStream) throws -> RowTable?
  /// - Throws: `InvalidRowID` for an ID that no row of the table can have.
  func row(_ localID: String, of origin: MachineStream) throws -> (table: RowTable, row: ViewedRow?)?
  /// - Throws: `InvalidRowID` for a cursor that no row of the table can have.
  func rows(_ question: RowQuestion, of origin: MachineStream) throws -> (table: RowTable, page: RowPage)?
  /// nil if the store has no such rows.
  /// - Throws: `InvalidRowID`.
  func edit(_ localID: String, _ request: RowEditRequest, of origin: MachineStream) throws -> RowEditOutcome?
}

package struct InvalidRowID: Error, Equatable {
  package let reason: String

  package init(reason: String) { self.reason = reason }
}

extension RowQuestion {
  /// How many rows are read at a time.
  private static let piece = 200
  /// A page ends behind the row with which its values have as many bytes.
  private static let pageBytes = 1 << 20

  /// Reads pieces of the table until the page is full.
  /// - Parameter read: gives up to so many rows behind a key, or from the first one on, as their values.
  package func page<Row>(
    after key: [Value]?, schema: StreamSchema, values: (Row) -> [Value], read: ([Value]?, Int) throws -> [Row]
  ) rethrows -> (rows: [Row], last: [Value]?, scanned: Int) {
    let wanted = search.map { Array($0.lowercased().utf8) }
    var (found, scanned, bytes, behind) = ([Row](), 0, 0, key)
    while true {
      let count = min(wanted == nil ? limit - found.count + 1 : Self.piece, Self.piece)
      let piece = try read(behind, count)
      for row in piece {
        guard found.count < limit, bytes < Self.pageBytes, scanned < mostScanned else {
          return (found, behind, scanned)
        }
        scanned += 1
        let own = values(row)
        behind = schema.key.map { own[$0] }
        guard wanted.map({ text in own.contains { $0.holds(text) } }) ?? true else { continue }
        found.append(row)
        bytes += own.reduce(0) { $0 + $1.textSize }
      }
      if piece.count < count { return (found, nil, scanned) }
    }
  }
}

extension Value {
  fileprivate var textSize: Int {
    switch self {
    case .null, .integer, .real: 8
    case .text(let bytes), .blob(let bytes): bytes.count
    }
  }

  /// Whether its text holds another one, which is in lower case.
  fileprivate func holds(_ wanted: [UInt8]) -> Bool {
    switch self {
    case .null, .blob: return false
    case .integer(let integer): return Self.find(wanted, in: Array(String(integer).utf8))
    case .real(let real): return Self.find(wanted, in: Array(Affinity.text(of: real).utf8))
    case .text(let bytes): return Self.find(wanted, in: Array(String(decoding: bytes, as: UTF8.self).lowercased().utf8))
    }
  }

  private static func find(_ wanted: [UInt8], in text: [UInt8]) -> Bool {
    guard wanted.count <= text.count else { return false }
    guard let first = wanted.first else { return true }
    for start in 0...(text.count - wanted.count)
    where text[start] == first && text[start..<(start + wanted.count)].elementsEqual(wanted) { return true }
    return false
  }
}
