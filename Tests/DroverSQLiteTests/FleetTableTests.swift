import DroverCore
import DroverProcesses
import DroverSQLite
import GRDB
import Testing

/// That the comparison at the end of a simulated fleet finds what it is there for.
@Suite struct FleetTableTests {
  @Test(arguments: [
    ("", 0, 0), ("DELETE FROM reading WHERE machine_id = 'M2' AND id = 3", 1, 0),
    ("UPDATE reading SET cycles = cycles + 1 WHERE id = 1", 2, 2),
    (
      "INSERT INTO reading SELECT 'M3', id, measured_at, sensor, temperature, humidity, cycles, is_alarm, note, 1, 1 FROM reading WHERE machine_id = 'M1' AND id < 3",
      0, 2
    ),
    ("UPDATE drover_progress SET applied = applied + 1 WHERE machine_id = 'M1'", 0, 1),
  ])
  func `rows that are lost, changed, foreign or applied twice are counted`(sql: String, lost: Int, doubled: Int) throws
  {
    let folder = try TemporaryFolder()
    let path = folder.file("cloud.db")
    let machines = try [MachineID("M1"), MachineID("M2")]
    let stream = try StreamName(FleetTable.name)
    let store = try SQLiteCloudStore(path: path)
    for (number, machine) in machines.enumerated() {
      let events = (1...5).map { id in
        SinkEvent(
          seq: id, localID: String(id), version: id, at: nil, key: [.integer(id)],
          content: .row(Values(FleetTable.values(of: id, machine: number))), raw: [])
      }
      try store.transaction { transaction throws in
        _ = try transaction.adopt(FleetTable.schema, machine: machine, stream: stream)
        let sink = Sink(machine: machine, stream: stream, kind: .snapshot, schema: FleetTable.schema)
        var progress = StreamProgress()
        progress.applied = try transaction.merge(events, epoch: nil, into: sink).count { $0 == .applied }
        try transaction.note(progress, machine: machine, stream: stream)
      }
    }
    try QueryPlans.ofTest { try DatabaseQueue(path: path) }.write { try $0.execute(sql: sql) }
    let found = try FleetTable.compare(path: path, machines: machines, made: 5)
    #expect(found.lost == lost && found.doubled == doubled, "\(found)")
  }
}
