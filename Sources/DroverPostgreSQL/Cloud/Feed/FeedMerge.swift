// The changes of several tables in the order of their numbers, read piece by piece within a transaction.

import DroverCore

/// A sink table, as a reader that follows it sees it.
struct FollowedSink {
  let noted: NotedSink
  let table: SinkTable
  private let columns: [SinkColumn]
  private let key: [SinkColumn]

  init(_ noted: NotedSink, in place: String, _ connection: Connection) throws {
    self.noted = noted
    let table = try SinkTable.read(noted.stream, in: place, connection)!
    self.table = table
    columns = try noted.columns(in: table)
    key = table.key.map { table.column($0)! }
  }

  /// Its rows after a number, and the keys of those that were deleted.
  fileprivate func selection(gone: Bool) -> String {
    let what =
      gone
      ? (["drover_version", table.machine] + key.map(\.identifier)).joined(separator: ", ")
      : NotedSink.selection(table, columns)
    return "SELECT \(TableShape.changeColumn), \(what) FROM \(gone ? table.feed!.gone : table.qualified)"
  }

  /// Nil for a row that is none of Drover's.
  fileprivate func content(_ rows: Rows, _ row: Int, gone: Bool) -> Change.Content? {
    guard gone else { return noted.row(rows, row, from: 1, columns).map { .put($0) } }
    return .delete(
      SinkKey(
        machine: rows.text(row, 2), version: rows.integer(row, 1),
        key: key.indices.map { key[$0].value(rows, row, $0 + 3) }))
  }
}

final class FeedMerge {
  /// Rows of a source that are in memory at a time; one may have megabytes.
  private static let rowsOfPiece = 100

  /// A table's rows, or what was deleted of it.
  private final class Source {
    let sink: FollowedSink
    let isGone: Bool
    private let name: String
    private let connection: Connection
    private var piece: Rows?
    private var row = 0

    init(_ sink: FollowedSink, isGone: Bool, name: String, _ connection: Connection) {
      self.sink = sink
      self.isGone = isGone
      self.name = name
      self.connection = connection
    }

    /// - Returns: whether there is another one.
    func step() throws -> Bool {
      row += 1
      if let piece, row < piece.count { return true }
      guard piece.map({ $0.count == FeedMerge.rowsOfPiece }) ?? true else { return false }
      piece = try connection.query("FETCH \(FeedMerge.rowsOfPiece) FROM \(name)", isKept: false)
      row = 0
      return piece!.count > 0
    }

    var number: Int64 { piece!.integer(row, 0) }

    func change(after cursor: ChangeCursor) -> Change? {
      sink.content(piece!, row, gone: isGone).map {
        Change(cursor: cursor.moved(to: number), sink: sink.noted.description, content: $0)
      }
    }
  }

  private let after: ChangeCursor
  private var sources: [Source] = []

  /// - Parameter end: the highest number that is read.
  init(
    _ sinks: [FollowedSink], after: ChangeCursor, through end: Int64, _ machine: MachineID?, _ connection: Connection
  ) throws {
    self.after = after
    var cursors: [String] = []
    for sink in sinks {
      let ofMachine = machine.map { " AND \(sink.table.machine) = '\($0.text)'" } ?? ""
      for isGone in [false, true] {
        let name = "drover_changes_\(cursors.count)"
        // A reader gets no delete for a row that it never had.
        let first = isGone ? after.known : after.number
        cursors.append(
          """
          DECLARE \(name) NO SCROLL CURSOR FOR \(sink.selection(gone: isGone))
           WHERE drover_change > \(first) AND drover_change <= \(end)\(ofMachine) ORDER BY drover_change
          """)
        sources.append(Source(sink, isGone: isGone, name: name, connection))
      }
    }
    if !cursors.isEmpty { try connection.run(cursors.joined(separator: ";\n")) }
    sources = try sources.filter { try $0.step() }
  }

  /// - Parameter take: gets each change, and says whether it wants another one.
  /// - Returns: the number of the last one where there are others; nil at the end.
  func run(_ take: (Change) throws -> Bool) throws -> Int64? {
    while let index = sources.indices.min(by: { sources[$0].number < sources[$1].number }) {
      let (source, number) = (sources[index], sources[index].number)
      let goesOn = try source.change(after: after).map(take) ?? true
      if try !source.step() { sources.remove(at: index) }
      if !goesOn, !sources.isEmpty { return number }
    }
    return nil
  }
}
