// Rows from the cloud that machines refuse: the store has what each machine said last.

import DroverCore
import Testing

extension CloudReaderConformance {
  static let refusals = [
    // A dead letter at a machine was known there alone: in the cloud the row was confirmed.
    Claim("what a machine refuses is what it said last, whatever is repeated or lost") { scene in
      try scene.goDown(.a, .b)
      try scene.refuse([.refused("1"), .refused("2", cause: "größe")])
      try scene.refuse([.refused("1")], machine: .b)
      #expect(try scene.refused() == ["MAH001 stock 1 no 1", "MAH001 stock 2 größe 1", "MAH002 stock 1 no 1"])
      #expect(try scene.report().machines.map(\.refusedRows) == [2, 1])
      // The same once more, another one, and then the first one's again, as a broker may deliver it.
      let list = try scene.list()
      try scene.refuse([.refused("1"), .refused("2", cause: "größe")])
      #expect(try scene.list() == list)
      try scene.refuse([.refused("2", cause: "other", tries: 2), .refused("3")])
      #expect(try scene.refused(.a) == ["MAH001 stock 2 other 2", "MAH001 stock 3 no 1"])
      #expect(try scene.list().rows.first { $0.row.localID == "2" }?.id == list.rows[1].id, "it stays the same one")
      try scene.refuse([])
      #expect(try scene.refused() == ["MAH002 stock 1 no 1"])
      #expect(try scene.report().machines.map(\.refusedRows) == [0, 1])
    },
    Claim("rows that a machine does not name are counted, and IDs that look alike are two") { scene in
      try scene.goDown(.a)
      try scene.refuse([.refused("\u{e9}"), .refused("e\u{301}")], total: 300)
      let list = try scene.list()
      #expect(list.total == 2 && list.unnamed == 298 && list.rows.count == 2)
      #expect(try scene.report().machines.map(\.refusedRows) == [300])
      #expect(try scene.reader.refusals(RefusalFilter(localID: "\u{e9}"), after: 0, limit: 9).rows.count == 1)
      #expect(try scene.reader.refusals(RefusalFilter(), after: list.rows[0].id, limit: 9).rows == [list.rows[1]])
      #expect(try scene.reader.refusals(RefusalFilter(), after: 0, limit: 1).rows == [list.rows[0]])
      for (filter, count) in [
        (RefusalFilter(machine: .b), 0), (RefusalFilter(stream: .stock), 2), (RefusalFilter(reason: "schema"), 0),
        (RefusalFilter(machine: .a, stream: .named("other")), 0),
      ] { #expect(try scene.reader.refusals(filter, after: 0, limit: 9).total == count) }
    },
    Claim("what a machine refuses is true in every numbering, and goes with the machine and the direction") { scene in
      try scene.goDown(.a, .b)
      let other = try Epoch("ffff")
      try scene.refuse([.refused("1"), .refused("2")], epoch: other)
      try scene.refuse([.refused("1")], machine: .b)
      #expect(try scene.refused(.a).count == 2)
      _ = try scene.store.transaction { try $0.forgetMachine(.b, removesRows: true) }
      #expect(try scene.refused(.b) == [] && scene.report().machines.map(\.refusedRows) == [2])
      // One that nothing is known of is not listed, whatever it says.
      try scene.refuse([.refused("1")], machine: .b)
      #expect(try scene.refused(.b) == [])
      #expect(try scene.adopt(.twoWay(.up), machine: .a) == nil)
      #expect(try scene.list() == RefusalList() && scene.report().machines.map(\.refusedRows) == [0])
    },
  ]
}

extension CloudReaderConformance.Scene {
  fileprivate func goDown(_ machines: MachineID...) throws {
    for machine in machines {
      #expect(try adopt(.twoWay, machine: machine) == nil)
      try store.transaction { try $0.heard(machine: machine, epoch: .one) }
    }
  }

  /// - Parameter epoch: the numbering in which the machine speaks; the store's without one.
  fileprivate func refuse(
    _ rows: [RefusedRow], total: Int = 0, machine: MachineID = .a, epoch: Epoch? = nil
  ) throws {
    try store.transaction {
      let said = DownConfirmation(
        epoch: try epoch ?? $0.downEpoch(), refused: RefusedRows(total: total, rows: rows))
      _ = try $0.note(said, machine: machine)
    }
  }

  fileprivate func list(_ machine: MachineID? = nil) throws -> RefusalList {
    try reader.refusals(RefusalFilter(machine: machine), after: 0, limit: 1000)
  }

  fileprivate func refused(_ machine: MachineID? = nil) throws -> [String] {
    let list = try list(machine)
    #expect(list.total == list.rows.count && list.unnamed == 0)
    return list.rows.map { "\($0.machine) \($0.row.stream) \($0.row.localID) \($0.row.cause) \($0.row.tries)" }
  }
}
