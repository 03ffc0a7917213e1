// Conditions are read from people's files and from machines' schemas: what is no condition is said with its place, and what is one comes
// out of its own text as it went in.

import DroverCore
import DroverTesting
import Testing

@Suite struct ConditionTests {
  @Test(arguments: [
    ("status_manufacturing = 1", #""status_manufacturing" = 1"#),
    ("a=1 and b<>'x''y' OR NOT c >= -2.5e3", #"(("a" = 1 AND "b" <> 'x''y') OR NOT "c" >= -2500.0)"#),
    ("not (a IS NULL or a is not null)", #"NOT ("a" IS NULL OR "a" IS NOT NULL)"#),
    ("\"a b\"\"c\" IS x'00fF' AND ünder_$1 < b", #"("a b""c" IS x'00ff' AND "ünder_$1" < "b")"#),
    ("a IN (1, 'x', b) AND a NOT IN (2)", #"("a" IN (1, 'x', "b") AND NOT "a" IN (2))"#),
    ("((((a) = 1))) OR 1=1", nil),
    ("(((a = +7))) OR 1=1", #"("a" = 7 OR 1 = 1)"#),
    ("a = -9223372036854775808", #""a" = -9223372036854775808"#),
    ("a = '-- ;) OR 1=1'", #""a" = '-- ;) OR 1=1'"#),
    ("\"NULL\" = ''", #""NULL" = ''"#),
  ])
  func `a condition has one text, which reads as the same`(given: String, text: String?) throws {
    guard let text else {
      #expect(throws: ConditionError.self) { try Condition(parsing: given) }
      return
    }
    let condition = try Condition(parsing: given)
    #expect(condition.text == text)
    #expect(try Condition(parsing: condition.text) == condition)
  }

  @Test(arguments: [
    ("", "a column, a value, NOT or ( at character 1; found the end"),
    ("closed", "=, <>, <, <=, >, >=, IS or IN at character 7; found the end"),
    ("closed == 1", "a column or a value at character 9; found ="),
    ("closed != 1", "a column, a value or an operator at character 8; found != 1"),
    ("a = 1 b = 2", "AND, OR or the end at character 7; found b"),
    ("(a = 1", "AND, OR or ) at character 7; found the end"),
    ("a = NULL", "a column or a value; nothing equals NULL, so use IS NULL at character 5; found NULL"),
    ("a IN ()", "a column or a value at character 7; found )"),
    ("a NOT = 1", "IN at character 7; found ="),
    ("a = 'x", "a text that ends with ' at character 5; found 'x"),
    ("a = \"\"", "a name at character 5; found \"\""),
    ("a = x'0'", "two digits for each byte of a blob at character 6; found '0'"),
    ("a = x'0g'", "hexadecimal digits at character 7; found 0g'"),
    ("a = 9223372036854775808", "an integer of at most 64 bits at character 5; found 9223372036854775808"),
    ("a = 1e999", "a number within the range of a double at character 5; found 1e999"),
    ("a = 1x", "a number at character 5; found 1x"),
    ("lower(a) = 'x'", "=, <>, <, <=, >, >=, IS or IN at character 6; found ("),
    ("a = 1; DROP TABLE t", "a column, a value or an operator at character 6; found ; DROP TABLE t"),
    ("a = 1 -- x", "a number at character 7; found -- x"),
    ("a = (SELECT 1)", "a column or a value at character 5; found ("),
    ("a + 1 = 2", "a number at character 3; found + 1 = 2"),
  ])
  func `what is no condition is said with its place`(text: String, error: String) {
    #expect { try Condition(parsing: text) } throws: { "\($0)" == "expected \(error)" }
  }

  @Test func `length and depth are bounded, and what is within travels`() throws {
    let long = Array(repeating: "a = 1", count: 300).joined(separator: " AND ")
    #expect(try Condition(parsing: Condition(parsing: long).text) == Condition(parsing: long))
    #expect(throws: ConditionError.self) { try Condition(parsing: long + String(repeating: " ", count: 4096)) }
    // Shorter as it is written than as it travels.
    #expect(throws: ConditionError.self) {
      try Condition(parsing: Array(repeating: "a=1", count: 500).joined(separator: " OR "))
    }
    let deep = String(repeating: "NOT ", count: 32) + "a = 1"
    #expect(try Condition(parsing: Condition(parsing: deep).text) == Condition(parsing: deep))
    #expect(throws: ConditionError.self) { try Condition(parsing: "NOT " + deep) }
    #expect(throws: ConditionError.self) { try Condition(parsing: String(repeating: "(", count: 2000) + "a = 1") }
  }

  @Test(arguments: UInt64(0)..<200) func `any condition comes out of its text as it went in`(seed: UInt64) throws {
    var random = Seeded(seed)
    let condition = random.condition(depth: 4)
    #expect(try Condition(parsing: condition.text) == condition, "seed \(seed): \(condition.text)")
  }

  @Test func `columns are found whatever their case, and a column that is not there is named`() throws {
    let columns = [Column(name: "Closed", declaredType: "INT")]
    #expect(try Condition(parsing: "CLOSED = 1").resolved(among: columns).text == #""Closed" = 1"#)
    #expect { try Condition(parsing: "NOT (closed = 1 OR closed IN (opened))").resolved(among: columns) } throws: {
      "\($0)".contains("opened")
    }
  }
}

extension Seeded {
  fileprivate mutating func condition(depth: Int) -> Condition {
    switch Int.random(in: 0..<(depth == 0 ? 2 : 5), using: &self) {
    case 0: .comparison(operand(), Condition.Comparison.allCases.randomElement(using: &self)!, operand())
    case 1: .among(operand(), (0..<Int.random(in: 1...3, using: &self)).map { _ in operand() })
    case 2: .not(condition(depth: depth - 1))
    case 3: .all((0..<Int.random(in: 2...3, using: &self)).map { _ in condition(depth: depth - 1) })
    default: .any((0..<Int.random(in: 2...3, using: &self)).map { _ in condition(depth: depth - 1) })
    }
  }

  private mutating func operand() -> Condition.Operand {
    switch Int.random(in: 0..<5, using: &self) {
    case 0: .literal(.integer(.random(in: .min ... .max, using: &self)))
    case 1: .literal(.real(.random(in: -1e300...1e300, using: &self)))
    case 2: .literal(.text(["", "'", "a", "ü\n", "\"", "1"].randomElement(using: &self)!))
    case 3: .literal(.blob([0, UInt8.random(in: 0...255, using: &self)]))
    default: .column(["a", "a b", "\"", "'", "AND", "null", "ü"].randomElement(using: &self)!)
    }
  }
}
