// What every store must do with single rows that people look at and edit (`RowEditor`). The claims are written once, and each store's tests run all of them.

package import DroverCore
import Testing

package struct RowEditorConformance {
  /// One claim; its name is the sentence that the test's output shows.
  package struct Claim: Sendable, CustomTestStringConvertible {
    package let name: String
    fileprivate let check: @Sendable (Scene) throws -> Void

    init(_ name: String, check: @escaping @Sendable (Scene) throws -> Void) {
      self.name = name
      self.check = check
    }

    package var testDescription: String { name }
  }

  package static let claims = looking + editing + conditions + refusing

  private let makePlace: () throws -> (TwoWayPlace, any RowEditor)

  /// - Parameter makePlace: makes an empty store; all of it lives until the claim is checked.
  package init(makePlace: @escaping () throws -> (TwoWayPlace, any RowEditor)) { self.makePlace = makePlace }

  package func check(_ claim: Claim) throws {
    let (place, editor) = try makePlace()
    try claim.check(Scene(base: TwoWayConformance.Scene(place: place), editor: editor))
  }

  /// The stream is `stock (id INTEGER, a TEXT, n INTEGER)` of MAH001.
  struct Scene {
    let base: TwoWayConformance.Scene
    let editor: any RowEditor
    let origin = MachineStream(machine: .a, stream: .stock)

    func begin(_ schema: StreamSchema = .twoWay) throws {
      try base.adopt(schema)
      try base.begin(.one)
    }

    func row(_ id: String) throws -> ViewedRow? { try editor.row(id, of: origin)?.row }

    func tag(_ id: String) throws -> RowTag { RowTag(try #require(try row(id)?.values)) }

    func edit(
      _ id: String, _ change: RowEditRequest.Change, if condition: RowCondition = .none
    ) throws -> RowEditOutcome? {
      try editor.edit(id, RowEditRequest(change, if: condition), of: origin)
    }

    /// What an edit is refused with; nil where it is made.
    func refusal(
      _ id: String, _ change: RowEditRequest.Change, if condition: RowCondition = .none
    ) throws -> RowRefusal? {
      guard case .refused(let refusal, _)? = try edit(id, change, if: condition) else { return nil }
      return refusal
    }

    func isInvalid(_ id: String, _ change: RowEditRequest.Change, _ part: String) throws -> Bool {
      let condition: RowCondition = try row(id) == nil ? .none : .present
      guard case .invalid(let sentence)? = try refusal(id, change, if: condition) else { return false }
      return sentence.contains(part)
    }

    func page(_ question: RowQuestion) throws -> RowPage { try #require(try editor.rows(question, of: origin)).page }
  }
}

extension [RowField] {
  fileprivate static func of(_ fields: KeyValuePairs<String, Value>) -> Self {
    fields.map { RowField(name: $0.key, value: $0.value) }
  }
}

private func failed(_ text: String) { Issue.record(Comment(rawValue: text)) }

// MARK: Looking

extension RowEditorConformance {
  static let looking: [Claim] = [
    Claim("a row is shown with its values and where it stands, from the machine's value to the confirmed edit") {
      scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge", n: 5))
      let first = try #require(try scene.row("1"))
      #expect(first.values == [.integer(1), .text("edge"), .integer(5)] && first.version == 100)
      #expect(first.standing.state == .machine && !first.standing.isCloudContent)
      #expect(try scene.refusal("1", .modify(.of(["a": .text("cloud")])), if: .content([scene.tag("1")])) == nil)
      let edited = try #require(try scene.row("1"))
      #expect(edited.standing.state == .edited && edited.standing.isCloudContent)
      try scene.base.take()
      #expect(try scene.row("1")?.standing.state == .waiting)
      let entry = try #require(try scene.base.down(1))
      #expect(try scene.base.received(entry.seq))
      #expect(try scene.row("1")?.standing.state == .confirmed)
      #expect(try scene.row("1")?.standing.isCloudContent == true)
    },
    Claim("a row that has reached the machine and is refused there is shown as refused, with why, until it is not") {
      scene in
      try scene.begin()
      for key in 1...2 { try scene.base.sql("INSERT INTO stock (machine_id, id, a) VALUES ('MAH001', \(key), 'x')") }
      try scene.base.take()
      let entry = try #require(try scene.base.down(1))
      try scene.base.refuse(.refused("1", version: entry.version, cause: "UNIQUE constraint failed: stock.a"))
      #expect(try scene.row("1")?.standing.state == .waiting, "it may have been edited since")
      try scene.base.refuse(
        .refused("1", version: entry.version, cause: "UNIQUE constraint failed: stock.a"), received: 2)
      let standing = try #require(try scene.row("1")?.standing)
      #expect(standing.state == .refused && standing.refusals.map(\.machine) == [.a])
      #expect(standing.refusals.map(\.row.cause) == ["UNIQUE constraint failed: stock.a"])
      #expect(try scene.row("2")?.standing.state == .confirmed)
      #expect(try scene.page(RowQuestion(limit: 9)).rows.map(\.standing.state) == [.refused, .confirmed])
      _ = try scene.edit("1", .modify(.of(["a": .text("y")])), if: .present)
      #expect(try scene.row("1")?.standing.state == .edited)
      try scene.base.take()
      #expect(try scene.row("1")?.standing.state == .waiting)
      try scene.base.refuse(received: 3)
      #expect(try scene.row("1")?.standing.state == .confirmed)
    },
    Claim("a row for all machines names those that refuse it, and no others") { scene in
      let schema = StreamSchema.twoWay(.down, reach: .all)
      for machine in [MachineID.a, .b] { try scene.base.adopt(schema, machine: machine) }
      try scene.base.sql("INSERT INTO stock (machine_id, id, a) VALUES ('*', 1, 'x')")
      try scene.base.take()
      try scene.base.refuse(machine: .a, received: 1)
      try scene.base.refuse(.refused("1", version: 1, cause: "no"), machine: .b, received: 1)
      let origin = MachineStream(machine: .all, stream: .stock)
      let standing = try #require(try scene.editor.row("1", of: origin)?.row?.standing)
      #expect(standing.state == .refused && standing.machines == 2 && standing.refusals.map(\.machine) == [.b])
    },
    Claim("a row that the machine edits after the cloud is the machine's, and a conflict is named") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge"))
      _ = try scene.edit("1", .modify(.of(["a": .text("cloud")])), if: .present)
      try scene.base.take()
      try scene.base.merge(.edit(1 << 60, 1, "mine"))
      let row = try #require(try scene.row("1"))
      #expect(row.values?[1] == .text("mine") && !row.standing.isCloudContent)
      #expect(try row.standing.conflicts == scene.base.conflicts().map(\.id) && row.standing.conflicts.count == 1)
    },
    Claim("an ID reads as the key's own text, and one that no row can have is refused") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 7, "edge"))
      #expect(try scene.row("7")?.localID == "7")
      #expect(try scene.row("[7]")?.localID == "7")
      #expect(try scene.row("8") == nil)
      #expect(try scene.row("nothing") == nil)
      #expect(throws: InvalidRowID.self) { try scene.row("[7,8]") }
      #expect(throws: InvalidRowID.self) { try scene.row("[7") }
    },
    Claim("a machine or a stream that is not known has no rows") { scene in
      try scene.begin()
      let stranger = MachineStream(machine: try MachineID("MAH999"), stream: .stock)
      #expect(try scene.editor.row("1", of: stranger) == nil)
      #expect(try scene.editor.table(of: stranger) == nil)
      #expect(try scene.editor.rows(RowQuestion(limit: 1), of: stranger) == nil)
      #expect(try scene.editor.edit("1", RowEditRequest(.replace([])), of: stranger) == nil)
      let other = MachineStream(machine: .a, stream: try StreamName("nothing"))
      #expect(try scene.editor.row("1", of: other) == nil)
    },
    Claim("rows are listed by their keys, page by page, and found by a text in any column") { scene in
      try scene.begin()
      for key in [10, 9, 2, 33, 4] as [Int64] {
        try scene.base.merge(.edit(100 + key, key, "Pen \(key)", n: key * 100))
      }
      let first = try scene.page(RowQuestion(limit: 2))
      #expect(first.rows.map(\.localID) == ["2", "4"])
      let second = try scene.page(RowQuestion(after: first.next, limit: 2))
      #expect(second.rows.map(\.localID) == ["9", "10"])
      let third = try scene.page(RowQuestion(after: second.next, limit: 2))
      #expect(third.rows.map(\.localID) == ["33"] && third.next == nil)
      #expect(try scene.page(RowQuestion(limit: 9, search: "pEN 3")).rows.map(\.localID) == ["33"])
      #expect(try scene.page(RowQuestion(limit: 9, search: "900")).rows.map(\.localID) == ["9"])
      let bounded = try scene.page(RowQuestion(limit: 9, search: "33", mostScanned: 3))
      #expect(bounded.rows.isEmpty && bounded.scanned == 3 && bounded.next == "9")
      #expect(try scene.page(RowQuestion(after: "9", limit: 9, search: "33")).rows.map(\.localID) == ["33"])
    },
  ]
}

// MARK: Editing

extension RowEditorConformance {
  static let editing: [Claim] = [
    // An edit that was written as the consumer writes would fire no trigger, and never reach the machine.
    Claim("an edit is captured like one of any SQL client, and has seen the machine's") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge", n: 5))
      _ = try scene.edit("1", .modify(.of(["A": .text("cloud")])), if: .content([scene.tag("1")]))
      #expect(try scene.base.row(1) == "cloud 5")
      #expect(try scene.base.take() == [.stock])
      let entry = try #require(try scene.base.down(1))
      #expect(entry.a == "cloud" && entry.edge == DownEvent.Mark(epoch: .one, version: 100))
    },
    Claim("a row that is put is inserted or replaced, and columns that are not named become NULL") { scene in
      try scene.begin()
      guard
        case .done(let made, isNew: true)? = try scene.edit("3", .replace(.of(["a": .text("new"), "n": .integer(1)])))
      else { return failed("the row was not inserted") }
      #expect(made.values == [.integer(3), .text("new"), .integer(1)] && made.standing.state == .edited)
      guard
        case .done(_, isNew: false)? = try scene.edit(
          "3", .replace(.of(["id": .integer(3), "n": .integer(2)])), if: .present)
      else { return failed("the row was not replaced") }
      #expect(try scene.base.row(3) == "NULL 2")
      try scene.base.take()
      #expect(try scene.base.down(3)?.edge == nil)
    },
    Claim("a delete goes down, and the row is shown as gone") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge"))
      #expect(try scene.refusal("1", .delete, if: .content([scene.tag("1")])) == nil)
      #expect(try scene.base.row(1) == nil)
      let gone = try #require(try scene.row("1"))
      #expect(gone.values == nil && gone.standing.state == .edited)
      try scene.base.take()
      #expect(try scene.base.down(1)?.content == Content.none)
      #expect(try scene.refusal("1", .delete) == .missing)
      #expect(try scene.refusal("1", .modify([])) == .missing)
    },
    Claim("an edit that changes nothing is none") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge", n: 5))
      let outcome = try scene.edit("1", .modify(.of(["a": .text("edge"), "n": .integer(5)])), if: .present)
      guard case .done(_, isNew: false)? = outcome else { return failed("\(String(describing: outcome))") }
      #expect(try scene.base.take() == [])
    },
    Claim("integers of 64 bits, NULL and empty texts stay what they are") { scene in
      try scene.begin()
      let big = Int64(1) << 53 + 1
      _ = try scene.edit("\(big)", .replace(.of(["a": .text(""), "n": .integer(.max)])))
      #expect(try scene.row("\(big)")?.values == [.integer(big), .text(""), .integer(.max)])
      _ = try scene.edit("\(big)", .modify(.of(["a": .null])), if: .present)
      #expect(try scene.row("\(big)")?.values == [.integer(big), .null, .integer(.max)])
    },
    Claim("blobs, reals and values without a type stay what they are") { scene in
      try scene.begin(.twoWay(further: [("b", "BLOB"), ("r", "REAL"), ("x", "")]))
      let values: [Value] = [.integer(1), .null, .null, .blob([0, 255]), .real(1.5), .text("x")]
      _ = try scene.edit("1", .replace(.of(["b": .blob([0, 255]), "r": .real(1.5), "x": .text("x")])))
      #expect(try scene.row("1")?.values == values)
      _ = try scene.edit("1", .modify(.of(["x": .integer(7), "b": .blob([])])), if: .content([scene.tag("1")]))
      #expect(try scene.row("1")?.values?[3] == .blob([]))
      #expect(try scene.row("1")?.values?[5] == .integer(7))
    },
    Claim("rows of reference data are edited for all machines, and confirmed when each has them") { scene in
      try scene.base.adopt(.twoWay(.down, reach: .all))
      try scene.base.adopt(.twoWay(.down, reach: .all), machine: .b)
      let all = MachineStream(machine: .all, stream: .stock)
      let put = RowEditRequest(.replace(.of(["a": .text("price")])))
      guard case .refused(.closed(let sentence), _)? = try scene.edit("1", put.change) else {
        return failed("a row for all machines was edited under one of them")
      }
      #expect(sentence.contains("*"))
      guard case .done? = try scene.editor.edit("1", put, of: all) else { return failed("it was refused") }
      try scene.base.take()
      let number = try #require(try scene.base.down(1)).seq
      #expect(try scene.base.received(number))
      let standing = try #require(try scene.editor.row("1", of: all)?.row).standing
      #expect(standing.machines == 2 && standing.confirmations == 1 && standing.state == .waiting)
      #expect(try scene.base.received(number, machine: .b))
      #expect(try scene.editor.row("1", of: all)?.row?.standing.state == .confirmed)
    },
  ]

  static let conditions: [Claim] = [
    Claim("a row that has changed since it was seen is not edited, and shown as it is") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge"))
      let seen = try scene.tag("1")
      try scene.base.sql("UPDATE stock SET a = 'of another' WHERE id = 1")
      for change in [.modify(.of(["a": .text("x")])), .replace([]), .delete] as [RowEditRequest.Change] {
        guard case .refused(.changed, let present)? = try scene.edit("1", change, if: .content([seen])) else {
          return failed("\(change) was made")
        }
        #expect(present?.values?[1] == .text("of another"))
      }
      #expect(try scene.base.row(1) == "of another 0")
      #expect(try scene.refusal("1", .modify(.of(["a": .text("x")])), if: .content([seen, scene.tag("1")])) == nil)
    },
    Claim("a row that is there is not edited without a condition") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge"))
      for change in [.modify([]), .replace([]), .delete] as [RowEditRequest.Change] {
        #expect(try scene.refusal("1", change) == .needsCondition)
      }
      #expect(try scene.base.row(1) == "edge 0")
    },
    Claim("a row that must not be there is inserted once") { scene in
      try scene.begin()
      #expect(try scene.refusal("1", .replace(.of(["a": .text("first")])), if: .absent) == nil)
      #expect(try scene.refusal("1", .replace(.of(["a": .text("second")])), if: .absent) == .changed)
      #expect(try scene.base.row(1) == "first NULL")
    },
    Claim("a row that must be there is not inserted") { scene in
      try scene.begin()
      #expect(try scene.refusal("1", .replace([]), if: .present) == .changed)
      #expect(try scene.refusal("1", .replace([]), if: .content([RowTag(text: "0")])) == .changed)
      #expect(try scene.base.row(1) == nil)
    },
  ]

  static let refusing: [Claim] = [
    Claim("rows of a stream that only goes up are shown, and not edited") { scene in
      try scene.begin(.twoWay(.up))
      try scene.base.merge(.edit(100, 1, "edge"), schema: .twoWay(.up))
      #expect(try scene.row("1")?.standing.state == .up)
      guard case .closed(let sentence)? = try scene.refusal("1", .delete, if: .present) else {
        return failed("it was deleted")
      }
      #expect(sentence.contains("only goes up"))
      #expect(try scene.base.row(1) == "edge 0")
    },
    Claim("a complete batch never changes again") { scene in
      let schema = StreamSchema.twoWay(kind: .batch, completeWhen: "a = 'done'")
      try scene.begin(schema)
      try scene.base.merge(.edit(100, 1, "done"), schema: schema)
      for change in [.modify(.of(["n": .integer(1)])), .replace([]), .delete] as [RowEditRequest.Change] {
        guard case .closed(let sentence)? = try scene.refusal("1", change, if: .present) else {
          return failed("\(change) was made")
        }
        #expect(sentence.contains("complete"))
      }
    },
    Claim("columns that are Drover's, that the table has not, or that are named twice are refused") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge"))
      for name in ["machine_id", "MACHINE_ID", "drover_version", "drover_epoch"] {
        #expect(try scene.isInvalid("1", .modify(.of([name: .integer(1)])), "Drover's own"), "\(name)")
      }
      #expect(try scene.isInvalid("1", .modify(.of(["colour": .null])), "no column colour"))
      #expect(try scene.isInvalid("1", .modify(.of(["a": .null, "A": .null])), "named twice"))
      #expect(try scene.base.row(1) == "edge 0")
    },
    Claim("a value of another type, and a key that is another row's, are refused") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge"))
      #expect(try scene.isInvalid("1", .modify(.of(["n": .text("many")])), "takes an integer"))
      #expect(try scene.isInvalid("1", .modify(.of(["n": .real(1.5)])), "takes an integer"))
      #expect(try scene.isInvalid("1", .modify(.of(["a": .integer(1)])), "takes a text"))
      #expect(try scene.isInvalid("1", .modify(.of(["id": .integer(2)])), "differs from the ID"))
      #expect(try scene.isInvalid("new", .replace([]), "takes an integer"))
      #expect(try scene.base.row(1) == "edge 0")
    },
    Claim("what the table's own constraints refuse is refused, and nothing is written") { scene in
      try scene.begin()
      try scene.base.merge(.edit(100, 1, "edge"), .edit(101, 2, "other"))
      try scene.base.sql("CREATE UNIQUE INDEX one_name ON stock (machine_id, a)")
      #expect(try scene.isInvalid("1", .modify(.of(["a": .text("other")])), "table refuses"))
      #expect(try scene.isInvalid("3", .replace(.of(["a": .text("other")])), "table refuses"))
      #expect(try scene.base.row(1) == "edge 0" && scene.base.row(3) == nil)
    },
  ]
}
