// The entries of one stream's rows: what the cloud has decided about each, and which number it has among those that go down. The transaction that writes them
// has the stream to itself, so that numbers are committed in their order.

import DroverCore

struct RowBook {
  struct Entry {
    var localID: String
    var mark: RowMark
    var isGone: Bool
  }

  private let transaction: Transaction
  private let stream: MachineStream
  private let origin: [Parameter]
  private var connection: Connection { transaction.connection }

  init(_ transaction: Transaction, _ machine: MachineID, _ stream: StreamName) {
    self.transaction = transaction
    self.stream = MachineStream(machine: machine, stream: stream)
    origin = [.text(machine.text), .text(TwoWayTables.name(stream))]
  }

  func marks(of ids: [String]) throws -> [ExactText: RowMark] {
    let rows = try connection.query(
      """
      SELECT local_id, edge_epoch, edge_version, cloud_version, decided_epoch, decided_version, is_cloud_content
        FROM \(GivenRows.entries()) JOIN drover_row AS entry ON \(GivenRows.isEntry(of: "entry"))
      """, origin + [.texts(ids)])
    var marks: [ExactText: RowMark] = [:]
    for row in 0..<rows.count {
      marks[ExactText(rows.text(row, 0))] = RowMark(
        edge: version(rows, row, 1), cloud: rows.integer(row, 3), decided: version(rows, row, 4),
        isCloudContent: rows.boolean(row, 6), goesDown: false)
    }
    return marks
  }

  private func version(_ rows: Rows, _ row: Int, _ column: Int) -> RowVersion? {
    guard let epoch = rows.optionalInteger(row, column), let version = rows.optionalInteger(row, column + 1) else {
      return nil
    }
    return RowVersion(epoch: epoch, version: version)
  }

  /// Keeps entries, no two of one row; those that go down get the next numbers, in this order.
  func note(_ entries: [Entry]) throws {
    guard !entries.isEmpty else { return }
    let count = Int64(entries.filter(\.mark.goesDown).count)
    var next = count == 0 ? 0 : try numbers(count) - count
    var list = Columns()
    for entry in entries {
      if entry.mark.goesDown { next += 1 }
      list.append(entry, number: entry.mark.goesDown ? next : nil)
    }
    try connection.query(
      """
      INSERT INTO drover_row AS known
             (machine_id, stream, local_id, edge_epoch, edge_version, cloud_version, decided_epoch, decided_version,
              is_cloud_content, gone_at, number)
      SELECT $1, $2, local_id, edge_epoch, edge_version, cloud_version, decided_epoch, decided_version, is_cloud_content,
             CASE WHEN is_gone THEN $12::bigint END, number
        FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::boolean[],
                    $10::boolean[], $11::bigint[])
             AS given (local_id, edge_epoch, edge_version, cloud_version, decided_epoch, decided_version, is_cloud_content,
                       is_gone, number)
      ON CONFLICT (machine_id, stream, local_id) DO UPDATE
         SET edge_epoch = excluded.edge_epoch, edge_version = excluded.edge_version, cloud_version = excluded.cloud_version,
             decided_epoch = excluded.decided_epoch, decided_version = excluded.decided_version,
             is_cloud_content = excluded.is_cloud_content, gone_at = excluded.gone_at,
             number = coalesce(excluded.number, known.number)
      """, origin + list.parameters + [.integer(transaction.store.now())])
  }

  /// Takes the next numbers. The counter stays locked until the commit.
  /// - Returns: the last of them.
  func numbers(_ count: Int64) throws -> Int64 {
    let last = try connection.query(
      """
      INSERT INTO drover_down AS known (machine_id, stream, last) VALUES ($1, $2, $3)
      ON CONFLICT (machine_id, stream) DO UPDATE SET last = known.last + excluded.last RETURNING last
      """, origin + [.integer(count)]
    ).integer(0, 0)
    try transaction.noteRun(from: last - count + 1, origin)
    transaction.raised[stream] = last
    return last
  }

  private struct Columns {
    private var ids = FieldList(.text)
    private var integers = [FieldList](repeating: FieldList(.bigint), count: 6)
    private var booleans = [FieldList](repeating: FieldList(.boolean), count: 2)

    mutating func append(_ entry: Entry, number: Int64?) {
      ids.append(ArraySlice(entry.localID.utf8))
      let (mark, edge, decided) = (entry.mark, entry.mark.edge, entry.mark.decided)
      let values = [edge?.epoch, edge?.version, mark.cloud, decided?.epoch, decided?.version, number]
      for (index, value) in values.enumerated() {
        if let value { integers[index].append(value) } else { integers[index].appendNull() }
      }
      booleans[0].append(mark.isCloudContent)
      booleans[1].append(entry.isGone)
    }

    var parameters: [Parameter] {
      [ids.array] + integers[..<5].map(\.array) + booleans.map(\.array) + [integers[5].array]
    }
  }
}
