// The cloud's queue of orders as JSON: one form for `drover worklist status --json` and for the HTTP server; and orders as a program lists them over HTTP.

package import DroverCore
private import Foundation

extension WorklistSummary {
  package var document: JSON {
    func time(_ at: Int64?) -> JSON { at.map { .string(Timestamp.text(microseconds: $0)) } ?? .null }
    let open = OrderState.allCases.filter(\.isOpen).reduce(0) { $0 + (counts[$1] ?? 0) }
    return .object([
      ("name", .string(name.text)), ("total_orders", .integer(Int64(counts.values.reduce(0, +)))),
      ("is_empty", .bool(open == 0)),
      ("orders", .object(OrderState.allCases.map { ($0.member, .integer(Int64(counts[$0] ?? 0))) })),
      ("in_doubt", .integer(Int64(inDoubt))), ("refills", .integer(Int64(refills))),
      ("oldest_in_work", time(oldestInWork)), ("last_moved", time(lastMoved)),
    ])
  }
}

extension OrderState {
  /// As a member's name and in addresses: `handed_out`.
  package var member: String { rawValue.replacing(" ", with: "_") }

  package init?(member: String) { self.init(rawValue: member.replacing("_", with: " ")) }

  /// Whether something is still to be done about it.
  package var isOpen: Bool {
    switch self {
    case .queued, .handedOut, .inWork: true
    case .complete, .withdrawn, .refused: false
    }
  }
}

extension QueuedOrder {
  /// With its fields as they were listed.
  package var text: String {
    func time(_ at: Int64?) -> JSON { at.map { .string(Timestamp.text(microseconds: $0)) } ?? .null }
    let members: [(String, JSON)] = [
      ("key", .string(new.order.key)), ("state", .string(state.member)), ("since", time(since)),
      ("in_doubt", .bool(isInDoubt)), ("note", note.map { .string($0) } ?? .null),
      ("machine", new.machine.map { .string($0.text) } ?? .null),
      ("holder", holder.map { .string($0.text) } ?? .null), ("handed_out", time(handedOutAt)),
      ("request", request.map { .string($0.text) } ?? .null), ("priority", .integer(Int64(new.priority))),
      ("not_before", time(new.notBefore)), ("requeued", time(new.order.requeuedAt)),
    ]
    return JSON.object(members).text().dropLast()
      + ",\"fields\":\(String(decoding: new.order.fields, as: UTF8.self))}"
  }
}

extension OrderAction {
  package var document: JSON {
    .object([("key", .string(key)), ("why", refusal.map { .string($0) } ?? .null)])
  }
}

/// Orders that a program lists: `{"orders": [{"key": "4711", "fields": {…}, "machine": "MAH001", "priority": 5, "not_before": "2026-12-01T06:00:00Z"}]}`.
package enum OrderPost {
  /// Most orders of one request.
  package static let most = 10_000

  package static func orders(_ body: [UInt8]) throws(WireError) -> [NewOrder] {
    var orders: [NewOrder]?
    var scanner = JSONScanner(body[...])
    try scanner.readObject { (name, scanner) throws(WireError) in
      guard name.elementsEqual("orders".utf8) else {
        throw WireError("unknown member \(String(decoding: name, as: UTF8.self)); the body has orders")
      }
      var found: [NewOrder] = []
      try scanner.readArray { (scanner) throws(WireError) in
        guard found.count < most else { throw WireError("\"orders\" has at most \(most) orders") }
        found.append(try order(&scanner, place: found.count + 1))
      }
      orders = found
    }
    try scanner.expectEnd()
    guard let orders, !orders.isEmpty else { throw WireError("\"orders\" is a list of at least one order") }
    return orders
  }

  private static func order(_ scanner: inout JSONScanner, place: Int) throws(WireError) -> NewOrder {
    func fault(_ what: String) -> WireError { WireError("order \(place): \(what)") }
    var (key, fields): (String?, ArraySlice<UInt8>?)
    var new = NewOrder(order: Order(key: "", fields: []))
    try scanner.readObject { (name, scanner) throws(WireError) in
      switch String(decoding: name, as: UTF8.self) {
      case "key":
        switch try scanner.readValue() {
        case .text(let bytes): key = String(decoding: bytes, as: UTF8.self)
        case .integer(let number): key = String(number)
        default: throw fault("\"key\" is a text or a whole number")
        }
      case "fields":
        _ = scanner.peek()
        fields = try scanner.readRaw()
      case "machine":
        switch try scanner.readValue() {
        case .null: break
        case .text(let bytes):
          guard let machine = try? MachineID(String(decoding: bytes, as: UTF8.self)) else {
            throw fault("\"machine\" is the name of a machine")
          }
          new.machine = machine
        default: throw fault("\"machine\" is the name of a machine")
        }
      case "priority":
        guard case .integer(let priority) = try scanner.readValue(), let priority = Int(exactly: priority) else {
          throw fault("\"priority\" is a whole number")
        }
        new.priority = priority
      case "not_before": new.notBefore = try time(scanner.readValue(), fault)
      default: throw fault("unknown member \(String(decoding: name, as: UTF8.self))")
      }
    }
    guard let key else { throw fault("\"key\" is missing") }
    guard let fields, fields.first == UInt8(ascii: "{") else { throw fault("\"fields\" is an object") }
    new.order = Order(key: key, fields: ArraySlice(Array(fields)))
    return new
  }

  private static func time(_ value: Value, _ fault: (String) -> WireError) throws(WireError) -> Int64? {
    switch value {
    case .null: return nil
    case .integer(let microseconds) where Bounds.time.contains(microseconds): return microseconds
    case .text(let bytes):
      if let date = try? Date(String(decoding: bytes, as: UTF8.self), strategy: .iso8601) {
        return Int64(date.timeIntervalSince1970 * 1_000_000)
      }
    default: break
    }
    throw fault("\"not_before\" is a time such as 2026-12-01T06:00:00Z, or microseconds since 1970")
  }
}
