// Rows that came down and that a machine's own tables refuse now: dead letters of the machine. The machine says which there are, whenever that changes, so
// what the cloud knows is the newest list, and a list that is lost or repeated does no harm.

package struct RefusedRow: Equatable, Sendable {
  package var stream: StreamName
  package var localID: String
  package var isDelete: Bool
  /// Which decision of the cloud's is refused.
  package var version: Int64
  /// What kind of refusal it is: `constraint`, `foreign_key`, `app_trigger`, `schema`. Another version of Drover may know others.
  package var reason: String
  /// Why, without values of the row.
  package var cause: String
  /// How often it was tried.
  package var tries: Int
  /// When it was refused first and last, by the machine's clock, microseconds since 1970.
  package var since: Int64
  package var last: Int64

  package init(
    stream: StreamName, localID: String, isDelete: Bool = false, version: Int64, reason: String, cause: String,
    tries: Int = 1, since: Int64, last: Int64
  ) {
    self.stream = stream
    self.localID = localID
    self.isDelete = isDelete
    self.version = version
    self.reason = reason
    self.cause = cause
    self.tries = tries
    self.since = since
    self.last = last
  }
}

package struct RefusedRows: Equatable, Sendable {
  /// Most rows that are named, and about how many bytes they may take together. The others are counted.
  package static let mostNamed = 256
  package static let mostBytes = 64 << 10
  /// Most characters of a cause.
  package static let causeLength = 300

  /// How many there are.
  package var total: Int
  /// Those that are named, each once.
  package private(set) var rows: [RefusedRow]
  private var bytes = 0

  package init(total: Int = 0, rows: [RefusedRow] = []) {
    self.total = total
    self.rows = []
    for row in rows { name(row) }
    self.total = max(total, self.rows.count)
  }

  /// Names a row, where there is room.
  package mutating func name(_ row: RefusedRow) {
    let size = row.stream.text.utf8.count + row.localID.utf8.count + row.reason.utf8.count + row.cause.utf8.count + 160
    guard rows.count < Self.mostNamed, bytes + size <= Self.mostBytes else { return }
    bytes += size
    rows.append(row)
  }

  /// Whether the cloud has to hear of the change. A row that is tried again in vain is no change.
  package func differs(from other: RefusedRows) -> Bool {
    func untried(_ refused: RefusedRows) -> [RefusedRow] {
      refused.rows.map { row in
        var row = row
        (row.tries, row.last) = (0, 0)
        return row
      }
    }
    return total != other.total || untried(self) != untried(other)
  }
}

/// A row that a machine refuses, as the cloud keeps it.
package struct KeptRefusal: Equatable, Sendable {
  /// In the order in which they were heard of.
  package var id: Int64
  package var machine: MachineID
  package var row: RefusedRow

  package init(id: Int64, machine: MachineID, row: RefusedRow) {
    self.id = id
    self.machine = machine
    self.row = row
  }
}

/// Which of them are meant; all conditions have to hold.
package struct RefusalFilter: Equatable, Sendable {
  package var machine: MachineID?
  package var stream: StreamName?
  package var localID: String?
  /// The kind of refusal.
  package var reason: String?

  package init(
    machine: MachineID? = nil, stream: StreamName? = nil, localID: String? = nil, reason: String? = nil
  ) {
    self.machine = machine
    self.stream = stream
    self.localID = localID
    self.reason = reason
  }

  /// The columns of both stores' tables that have to hold these texts.
  package var parts: [(column: String, text: String)] {
    [("machine_id", machine?.text), ("stream", stream?.text), ("local_id", localID), ("reason", reason)].compactMap {
      column, text in text.map { (column, $0) }
    }
  }
}

/// What a machine is asked to try again: the command `retry`.
package struct RetryOrder: Equatable, Sendable {
  /// Only rows of this stream; nil: all that the machine refuses.
  package var stream: StreamName?
  /// Only these of the stream; nil: all of it.
  package var ids: [String]?

  package init(stream: StreamName? = nil, ids: [String]? = nil) {
    self.stream = stream
    self.ids = ids
  }
}

/// A part of the rows that machines refuse.
package struct RefusalList: Equatable, Sendable {
  package var rows: [KeptRefusal]
  /// How many named rows the filter means in all.
  package var total: Int
  /// How many rows the machines refuse beyond those that they name.
  package var unnamed: Int

  package init(rows: [KeptRefusal] = [], total: Int = 0, unnamed: Int = 0) {
    self.rows = rows
    self.total = total
    self.unnamed = unnamed
  }
}

/// What is to be written so that the kept rows of a machine are those that it names.
package struct RefusedRowChanges: Equatable, Sendable {
  private struct Key: Hashable {
    var stream: StreamName
    var localID: ExactText

    init(_ row: RefusedRow) {
      stream = row.stream
      localID = ExactText(row.localID)
    }
  }

  /// The IDs of those that the machine does not name any more.
  package var gone: [Int64]
  /// Those that are not kept, or not as they are.
  package var new: [RefusedRow]

  package init(from known: [KeptRefusal], to named: [RefusedRow]) {
    let kept = Dictionary(known.map { (Key($0.row), $0.row) }) { first, _ in first }
    let wanted = Set(named.map(Key.init))
    gone = known.filter { !wanted.contains(Key($0.row)) }.map(\.id)
    new = named.filter { kept[Key($0)] != $0 }
  }
}
