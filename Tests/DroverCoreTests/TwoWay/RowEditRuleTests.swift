// What a person may do to a row over HTTP and on the page, as truth tables.

import DroverCore
import Testing

@Suite struct RowEditRuleTests {
  private static let schema = try! StreamSchema(
    kind: .snapshot,
    columns: [
      Column(name: "shop", declaredType: "TEXT"), Column(name: "number", declaredType: "INTEGER"),
      Column(name: "name", declaredType: "TEXT"), Column(name: "price", declaredType: "REAL"),
    ], key: [0, 1])
  private static let key: [Value] = [.text("a"), .integer(7)]
  private static let stored: [Value] = key + [.text("tea"), .real(1.5)]
  private static let tag = RowTag(stored)

  private func decide(
    _ change: RowEditRequest.Change, _ condition: RowCondition, on stored: [Value]? = stored, key: [Value] = key,
    isComplete: Bool = false
  ) -> RowEditRule.Decision {
    RowEditRule.decide(
      RowEditRequest(change, if: condition), on: stored, key: key, schema: Self.schema, isComplete: isComplete)
  }

  private enum Outcome { case done, missing, needsCondition, changed }

  @Test func `the truth table of conditions: what must be true of the row before it is touched`() {
    let (other, own): (RowCondition, RowCondition) = (.content([RowTag(text: "0")]), .content([Self.tag]))
    let table: [(condition: RowCondition, isThere: Bool, replace: Outcome, others: Outcome)] = [
      (.none, true, .needsCondition, .needsCondition), (.none, false, .done, .missing),
      (.present, true, .done, .done), (.present, false, .changed, .changed),
      (own, true, .done, .done), (own, false, .changed, .changed),
      (other, true, .changed, .changed), (other, false, .changed, .changed),
      (.content([]), true, .changed, .changed), (.content([]), false, .changed, .changed),
      (.absent, true, .changed, .changed), (.absent, false, .done, .missing),
    ]
    let changes: [(RowEditRequest.Change, Bool)] = [
      (.replace([RowField(name: "name", value: .text("new"))]), true),
      (.modify([RowField(name: "name", value: .text("new"))]), false), (.delete, false),
    ]
    for (condition, isThere, replace, others) in table {
      for (change, isReplacement) in changes {
        let found: Outcome? =
          switch decide(change, condition, on: isThere ? Self.stored : nil) {
          case .refuse(.missing): .missing
          case .refuse(.needsCondition): .needsCondition
          case .refuse(.changed): .changed
          case .refuse: nil
          case .nothing, .insert, .update, .delete: .done
          }
        #expect(found == (isReplacement ? replace : others), "\(change) \(condition) \(isThere)")
      }
    }
  }

  @Test func `what is written: only the columns that change, and all of them where the row is replaced`() {
    let any = RowCondition.present
    let name = RowField(name: "NAME", value: .text("new"))
    #expect(decide(.modify([name]), any) == .update([2: .text("new")]))
    #expect(decide(.replace([name]), any) == .update([2: .text("new"), 3: .null]))
    #expect(decide(.delete, any) == .delete)
    #expect(decide(.modify([]), any) == .nothing)
    #expect(decide(.modify([RowField(name: "price", value: .real(1.5))]), any) == .nothing)
    #expect(
      decide(.replace(Self.stored.enumerated().map { RowField(name: Self.schema.columns[$0].name, value: $1) }), any)
        == .nothing)
    #expect(decide(.replace([name]), .none, on: nil) == .insert(Self.key + [.text("new"), .null]))
    // A number is stored as the column has it.
    #expect(decide(.modify([RowField(name: "price", value: .integer(2))]), any) == .update([3: .real(2)]))
  }

  @Test func `what cannot be a row is refused, whatever the condition`() {
    func refusal(_ change: RowEditRequest.Change, on stored: [Value]? = Self.stored, key: [Value] = Self.key) -> String?
    {
      guard case .refuse(.invalid(let text)) = decide(change, stored == nil ? .none : .present, on: stored, key: key)
      else { return nil }
      return text
    }
    func modify(_ fields: (String, Value)...) -> RowEditRequest.Change {
      .modify(fields.map { RowField(name: $0, value: $1) })
    }
    #expect(refusal(modify(("colour", .null)))?.contains("no column colour") == true)
    #expect(refusal(modify(("machine_id", .text("x"))))?.contains("Drover's own") == true)
    #expect(refusal(modify(("Drover_version", .integer(1))))?.contains("Drover's own") == true)
    #expect(refusal(modify(("name", .null), ("Name", .null)))?.contains("named twice") == true)
    #expect(refusal(modify(("name", .integer(1))))?.contains("takes a text") == true)
    #expect(refusal(modify(("price", .text("much"))))?.contains("takes a number") == true)
    // Each part of the key has to be that of the path; it may be there.
    #expect(refusal(modify(("number", .integer(8))))?.contains("part of the key") == true)
    #expect(refusal(modify(("shop", .text("b"))))?.contains("part of the key") == true)
    #expect(decide(modify(("shop", .text("a")), ("number", .integer(7))), .present) == .nothing)
    #expect(refusal(.replace([]), on: nil, key: [.text("a"), .null])?.contains("NULL") == true)
    #expect(refusal(.replace([]), on: nil, key: [.integer(1), .integer(7)])?.contains("shop") == true)
    // What stands there already may be sent back, although nobody may write it.
    let odd: [Value] = Self.key + [.integer(1), .text("much")]
    #expect(
      decide(
        modify(("name", .integer(1)), ("price", .real(2))), .present, on: odd) == .update([3: .real(2)]))
  }

  @Test func `a complete row is never touched, and a stale tag is said first`() {
    for change in [RowEditRequest.Change.delete, .modify([]), .replace([])] {
      guard case .refuse(.closed(let text)) = decide(change, .present, isComplete: true) else {
        Issue.record("\(change)")
        continue
      }
      #expect(text.contains("complete"))
      #expect(decide(change, .content([]), isComplete: true) == .refuse(.changed))
      #expect(decide(change, .none, isComplete: true) == .refuse(.needsCondition))
    }
  }

  @Test func `the truth table of which column takes which value`() {
    let values: [Value] = [.null, .integer(1), .real(1), .real(1.5), .text("x"), .blob([1])]
    let table: [(type: String, taken: [Bool])] = [
      ("INTEGER", [true, true, true, false, false, false]), ("REAL", [true, true, true, true, false, false]),
      ("TEXT", [true, false, false, false, true, false]), ("BLOB", [true, false, false, false, false, true]),
      ("", [true, true, true, true, true, true]), ("DATETIME", [true, true, true, true, true, false]),
    ]
    for (type, taken) in table {
      let column = Column(name: "c", declaredType: type)
      #expect(values.map { RowType.refusal(of: $0, in: column) == nil } == taken, "\(type)")
    }
  }
}
