// Orders as another system lists them: a JSON list somewhere in its answer. Reads over what is no order, and says at which place of the list it stood; an
// answer that is no such list is an error, and then nothing of it counts.

package import DroverCore

package struct OrderList: Equatable, Sendable {
  package var orders: [NewOrder] = []
  /// Items that are no order, by their place in the list, which counts from 1, and why. Without values.
  package var unusable: [(place: Int, why: String)] = []

  /// Most items of an answer.
  package static let mostItems = 100_000

  package static func == (a: Self, b: Self) -> Bool {
    a.orders == b.orders && a.unusable.map(\.place) == b.unusable.map(\.place)
      && a.unusable.map(\.why) == b.unusable.map(\.why)
  }

  package init(parsing answer: [UInt8], _ plan: FetchPlan) throws(WireError) {
    var whole = JSONScanner(answer[...])
    let document = try whole.readRaw()
    try whole.expectEnd()
    guard let list = try Self.find(plan.items, in: document) else {
      throw WireError("the answer has no member \(Self.text(plan.items))")
    }
    var scanner = JSONScanner(list)
    guard scanner.peek() == UInt8(ascii: "[") else {
      throw WireError(plan.items.isEmpty ? "the answer is no list" : "\(Self.text(plan.items)) is no list")
    }
    var place = 0
    try scanner.readArray { (scanner) throws(WireError) in
      place += 1
      guard place <= Self.mostItems else { throw WireError("the list has more than \(Self.mostItems) items") }
      let item = try scanner.readRaw()
      do throws(Unusable) {
        orders.append(try Self.order(item, plan))
      } catch {
        unusable.append((place, error.why))
      }
    }
  }

  private struct Unusable: Error {
    let why: String
    init(_ why: String) { self.why = why }
  }

  private static func order(_ item: ArraySlice<UInt8>, _ plan: FetchPlan) throws(Unusable) -> NewOrder {
    guard item.first == UInt8(ascii: "{") else { throw Unusable("it is no object") }
    guard let key = key(plan.key, in: item) else {
      throw Unusable("\(text(plan.key)) is no text and no whole number")
    }
    guard (1...WorklistRequest.mostKeyBytes).contains(key.utf8.count), !key.utf8.contains(0), !key.hasPrefix("[") else {
      throw Unusable(
        "\(text(plan.key)) is no key: one has 1 to \(WorklistRequest.mostKeyBytes) bytes, no NUL, and does not begin with ["
      )
    }
    var machine: MachineID?
    if !plan.machine.isEmpty, let name = value(plan.machine, in: item), name != .null {
      guard case .text(let bytes) = name, let id = try? MachineID(String(decoding: bytes, as: UTF8.self)) else {
        throw Unusable("\(text(plan.machine)) is no machine's name")
      }
      machine = id
    }
    return NewOrder(order: Order(key: key, fields: fields(item, plan)), machine: machine)
  }

  /// True and false, which are values as 1 and 0, are no keys.
  private static func key(_ path: [String], in item: ArraySlice<UInt8>) -> String? {
    guard let raw = try? find(path, in: item), raw.first != UInt8(ascii: "t"), raw.first != UInt8(ascii: "f")
    else { return nil }
    switch value(path, in: item) {
    case .integer(let integer): return String(integer)
    case .text(let bytes): return String(validating: bytes, as: UTF8.self)
    default: return nil
    }
  }

  /// An item's fields, under the names that the plan gives them. One that is missing is left out.
  private static func fields(_ item: ArraySlice<UInt8>, _ plan: FetchPlan) -> ArraySlice<UInt8> {
    guard !plan.fields.isEmpty else { return item }
    var out = [UInt8(ascii: "{")]
    for field in plan.fields {
      guard let raw = try? find(field.path, in: item) else { continue }
      if out.count > 1 { out.append(UInt8(ascii: ",")) }
      JSONWriter.write(field.name, into: &out)
      out.append(UInt8(ascii: ":"))
      out += raw
    }
    out.append(UInt8(ascii: "}"))
    return out[...]
  }

  private static func value(_ path: [String], in item: ArraySlice<UInt8>) -> Value? {
    guard let raw = try? find(path, in: item) else { return nil }
    var scanner = JSONScanner(raw)
    return try? scanner.readValue()
  }

  /// The text of the value that members lead to; nil where one of them is not there. Of several members of one name the last one counts.
  private static func find(_ path: [String], in value: ArraySlice<UInt8>) throws(WireError) -> ArraySlice<UInt8>? {
    var value = value
    for name in path {
      var scanner = JSONScanner(value)
      guard scanner.peek() == UInt8(ascii: "{") else { return nil }
      var found: ArraySlice<UInt8>?
      try scanner.readObject { (member, scanner) throws(WireError) in
        let raw = try scanner.readRaw()
        if member.elementsEqual(name.utf8) { found = raw }
      }
      guard let found else { return nil }
      value = found
    }
    return value
  }

  private static func text(_ path: [String]) -> String { path.joined(separator: ".") }
}

/// A completed order, as it is posted to another system.
package struct CompletedOrderDocument {
  /// The members of the document, and the names of a template: each is JSON, but `key` and `machine` in a template, which stand between quotation marks.
  package static func values(
    _ order: QueuedOrder, worklist: WorklistName, row: (schema: StreamSchema, values: [Value])?
  ) -> [(name: String, value: [UInt8])] {
    [
      ("worklist", inner(worklist.text)), ("key", inner(order.new.order.key)),
      ("machine", inner(order.holder?.text ?? "")),
      ("completed_at", timestamp(order.since)), ("fields", Array(order.new.order.fields)),
      ("row", row.map(object) ?? Array("null".utf8)),
    ]
  }

  package static let template = EndpointTemplate(
    #"{"worklist":"{worklist}","key":"{key}","machine":"{machine}","completed_at":"{completed_at}","fields":{fields},"row":{row}}"#
  )

  /// The same whenever the order is posted, and another one if a requeued order completes again. Printable ASCII, as headers are.
  package static func idempotencyKey(_ order: QueuedOrder, _ worklist: WorklistName) -> String {
    let key = order.new.order.key.utf8.map { byte in
      (0x21...0x7e).contains(byte) && byte != UInt8(ascii: "%") ? String(UnicodeScalar(byte)) : hexadecimal(byte)
    }
    return
      "\(worklist.text.utf8.allSatisfy { (0x21...0x7e).contains($0) } ? worklist.text : "worklist")/\(key.joined())/\(order.since)"
  }

  private static func hexadecimal(_ byte: UInt8) -> String {
    "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
  }

  private static func timestamp(_ microseconds: Int64) -> [UInt8] {
    var out: [UInt8] = []
    Timestamp.write(microseconds: microseconds, into: &out)
    return out
  }

  /// A text as it stands between the quotation marks of JSON.
  private static func inner(_ text: String) -> [UInt8] {
    var out: [UInt8] = []
    JSONWriter.write(text, into: &out)
    return Array(out.dropFirst().dropLast())
  }

  private static func object(_ schema: StreamSchema, _ values: [Value]) -> [UInt8] {
    var out = [UInt8(ascii: "{")]
    for (index, value) in values.enumerated() {
      if index > 0 { out.append(UInt8(ascii: ",")) }
      JSONWriter.write(schema.columns[index].name, into: &out)
      out.append(UInt8(ascii: ":"))
      JSONWriter.write(value, into: &out)
    }
    out.append(UInt8(ascii: "}"))
    return out
  }
}
