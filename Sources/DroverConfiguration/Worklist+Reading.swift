// A table at the edge that the cloud refills with orders: `worklist` of a stream.

internal import DroverCore

extension WorklistDeclaration {
  /// Reads `worklist`. Nil without the key, and after a problem.
  /// - Parameters:
  ///   - key: as it is given; nil where it is not.
  init?(reading stream: Section, kind: Kind?, direction: Direction, key: [String]?, syncedColumn: String?) {
    let column = Form<String>.text("a column's name", maximumBytes: 128)
    let keys = stream.section("worklist")
    // Read every key, also after a problem and without the section: a key that is not read is reported as unknown.
    let orderKey = keys.optional("order_key", column)
    let interval = keys.optional("interval", .seconds(.seconds(1) ... .seconds(86_400)), default: Self.standardInterval)
    let limit = keys.optional("limit", .integer(1...Self.mostOrders), default: Self.standardLimit)
    let number = keys.optional("number", column)
    let refillWhen = keys.optional("refill_when", Form<RefillWhen>.oneOf, default: .empty)
    let isEnabled = keys.optional("enabled", .yesOrNo, default: true)
    let fields = keys.texts("columns", .text("a name", maximumBytes: 128))
    guard stream.isGiven("worklist") else { return nil }

    Self.reportMisplaced(stream, kind, direction)
    guard let orderKey else {
      if !keys.isGiven("order_key") {
        keys.report(
          "missing; it names the column with the order's key, for example `order_key: mo_id`", at: "order_key")
      }
      return nil
    }
    guard let fields else { return nil }
    self.init(
      orderKey: orderKey, interval: interval, limit: limit, number: number, refillWhen: refillWhen,
      isEnabled: isEnabled, fields: fields.map { ColumnField(column: $0.key, field: $0.value) })
    reportColumns(stream, keys, key, syncedColumn)
  }

  /// Reports what of the stream does not go with a worklist.
  private static func reportMisplaced(_ stream: Section, _ kind: Kind?, _ direction: Direction) {
    func refuse(_ what: String, _ why: String, _ advice: String) {
      stream.report("a worklist does not go with \(what): \(why); \(advice)", at: "worklist")
    }
    if !stream.isGiven("table") {
      refuse("a stream without `table`", "the orders are rows of a table", "name it with `table`")
    }
    if let kind, kind != .batch {
      refuse("`kind: \(kind.rawValue)`", "an order is a unit of work that comes to be complete", "set `kind: batch`")
    }
    if !stream.isGiven("complete_when") {
      refuse(
        "a stream without `complete_when`", "it says which orders are finished",
        "add it, for example `complete_when: \"status_manufacturing = 1\"`")
    }
    let refusals = [
      ("with", "an order is one row, and its lines would be neither filled nor cleared with it"),
      ("where", "the cloud knows what became of an order by its row, so every row has to travel"),
      ("identity", "an order is the work of one machine, and not a thing that several share"),
    ]
    for (key, why) in refusals where stream.isGiven(key) { refuse("`\(key)`", why, "remove `\(key)` or `worklist`") }
    if direction != .up {
      refuse(
        "`direction: \(direction.rawValue)`",
        "rows would come down in two ways, and orders come when the table is ready for them",
        "remove `direction` or `worklist`")
    }
  }

  /// Reports columns that cannot be what they are to be.
  private func reportColumns(_ stream: Section, _ keys: Section, _ key: [String]?, _ syncedColumn: String?) {
    let order = SQLName(orderKey)
    if let key, key.map(SQLName.init) != [order] {
      keys.report(
        "the stream's key is \(key.joined(separator: ", ")), and the cloud knows an order by that; set `key: [\(orderKey)]`, or name the key's one column here",
        at: "order_key")
    }
    if let syncedColumn, SQLName(syncedColumn) == order {
      keys.report("\(orderKey) is `synced_column`, which Drover sets itself; name the key's column", at: "order_key")
    }
    if let number, SQLName(number) == order {
      keys.report(
        "\(number) is `order_key`; the numbers begin with 1 in each refill, so they need a column of their own",
        at: "number")
    }
    if let number, let syncedColumn, SQLName(number) == SQLName(syncedColumn) {
      keys.report("\(number) is `synced_column`; the numbers need a column of their own", at: "number")
    }
    var seen: Set<SQLName> = []
    for column in fields.map(\.column) {
      let name = SQLName(column)
      func refuse(_ why: String) { keys.report("\(column) \(why); remove it here", at: "columns") }
      if name == order {
        refuse("is `order_key`, which takes the order's key and no field")
      } else if let number, name == SQLName(number) {
        refuse("is `number`, which counts the orders and takes no field")
      } else if let syncedColumn, name == SQLName(syncedColumn) {
        refuse("is `synced_column`, which Drover sets itself")
      } else if !seen.insert(name).inserted {
        refuse("stands there twice, as SQLite compares names")
      }
    }
  }
}
