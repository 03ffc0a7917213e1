// What a person does to one row in the cloud through Drover's own interfaces, decided as a value. The store gathers the row that is there, asks, and
// writes what comes out with SQL like any other client's: the sink table's triggers capture it.

/// Identifies the content of a row. Two reads with one tag have the same values, whatever happened between them.
package struct RowTag: Hashable, Sendable {
  package let text: String

  package init(_ values: [Value]) {
    let digits = String(Digest.of(values), radix: 16)
    text = String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// As a client has sent it.
  package init(text: String) { self.text = text }
}

/// What must be true of the row for an edit to be made.
package enum RowCondition: Equatable, Sendable {
  /// The client names none.
  case none
  /// It is there, with whatever content.
  case present
  /// It is there, and its content is one of these.
  case content(Set<RowTag>)
  /// It is not there.
  case absent
}

/// A column and the value that it is to have.
package struct RowField: Equatable, Sendable {
  package var name: String
  package var value: Value

  package init(name: String, value: Value) {
    self.name = name
    self.value = value
  }
}

package struct RowEditRequest: Equatable, Sendable {
  package enum Change: Equatable, Sendable {
    /// The row has exactly these values; columns that are not named are NULL.
    case replace([RowField])
    /// These columns get new values.
    case modify([RowField])
    case delete
  }

  package var change: Change
  package var condition: RowCondition

  package init(_ change: Change, if condition: RowCondition = .none) {
    self.change = change
    self.condition = condition
  }
}

/// Why an edit is not made.
package enum RowRefusal: Equatable, Sendable {
  /// There is no such row.
  case missing
  /// The client has to name the content that it has seen.
  case needsCondition
  /// The row is not what the client has seen.
  case changed
  /// Rows here are not edited in the cloud, or this one never changes again. A sentence.
  case closed(String)
  /// What the client sends cannot be a row. A sentence, without values.
  case invalid(String)
}

extension RowRefusal {
  /// What the database says of a row. Drover's own triggers begin with `drover: `, and write sentences.
  /// - Parameter explanation: the same as a dead letter may report it.
  package init(database message: String, explanation: String) {
    let prefix = "drover: "
    guard message.hasPrefix(prefix) else {
      self = .invalid("The cloud's table refuses the row: \(explanation).")
      return
    }
    let sentence = message.dropFirst(prefix.count)
    self = .closed(sentence.prefix(1).uppercased() + sentence.dropFirst() + ".")
  }

  /// A trigger or a rule of the table has dropped the row.
  package static let silence = RowRefusal.invalid(
    "The cloud's table keeps the row out without an error, as a trigger does that returns NULL.")
}

extension StreamSchema {
  /// Whether a row never changes again.
  package func isComplete(_ values: [Value]) -> Bool {
    completeWhen?.holds { name in
      let place = columns.firstIndex { SQLName($0.name) == SQLName(name) }
      return place.map { (values[$0], columns[$0].affinity) } ?? (.null, .blob)
    } ?? false
  }
}

/// Decides about an edit.
package enum RowEditRule {
  package enum Decision: Equatable, Sendable {
    case refuse(RowRefusal)
    /// The row has these values already.
    case nothing
    case insert([Value])
    /// Positions of columns, with their new values.
    case update([Int: Value])
    case delete
  }

  /// - Parameters:
  ///   - stored: the values of the row that is there, in the schema's order; nil without one.
  ///   - key: of the row, as the columns hold it.
  ///   - isComplete: the row is final.
  package static func decide(
    _ request: RowEditRequest, on stored: [Value]?, key: [Value], schema: StreamSchema, isComplete: Bool
  ) -> Decision {
    if let refusal = check(request, stored) { return .refuse(refusal) }
    if isComplete {
      return .refuse(.closed("The row is complete (complete_when), and a complete row never changes again."))
    }
    guard !key.contains(.null) else { return .refuse(.invalid("A part of the row's key is NULL.")) }
    if stored == nil, case .replace = request.change {
      for (place, part) in zip(schema.key, key) {
        if let reason = RowType.refusal(of: part, in: schema.columns[place]) { return .refuse(.invalid(reason)) }
      }
    }
    let fields: [RowField]
    var isReplacement = false
    switch request.change {
    case .delete: return .delete
    case .replace(let given): (fields, isReplacement) = (given, true)
    case .modify(let given): fields = given
    }
    var values = stored ?? schema.columns.map { _ in .null }
    if isReplacement { values = schema.columns.map { _ in .null } }
    for (place, part) in zip(schema.key, key) { values[place] = stored?[place] ?? part }
    var seen: Set<Int> = []
    for field in fields {
      guard let place = schema.columns.firstIndex(where: { SQLName($0.name) == SQLName(field.name) }) else {
        return .refuse(.invalid(unknown(field.name, schema)))
      }
      let column = schema.columns[place]
      guard seen.insert(place).inserted else { return .refuse(.invalid("The column \(column.name) is named twice.")) }
      if stored?[place] == field.value { values[place] = field.value; continue }
      if let reason = RowType.refusal(of: field.value, in: column) { return .refuse(.invalid(reason)) }
      let value = column.affinity.converting(field.value)
      if let part = schema.key.firstIndex(of: place) {
        guard value == values[place] || value == key[part] else {
          return .refuse(
            .invalid("The column \(column.name) is a part of the key, and differs from the ID in the path."))
        }
      } else {
        values[place] = value
      }
    }
    guard let stored else { return .insert(values) }
    let changed = values.indices.filter { values[$0] != stored[$0] }
    return changed.isEmpty ? .nothing : .update(Dictionary(uniqueKeysWithValues: changed.map { ($0, values[$0]) }))
  }

  private static func check(_ request: RowEditRequest, _ stored: [Value]?) -> RowRefusal? {
    switch (request.condition, stored) {
    case (.content(let tags), let stored?): return tags.contains(RowTag(stored)) ? nil : .changed
    case (.content, nil), (.present, nil): return .changed
    case (.absent, .some): return .changed
    case (.absent, nil), (.none, nil):
      if case .replace = request.change { return nil }
      return .missing
    case (.none, .some): return .needsCondition
    case (.present, .some): return nil
    }
  }

  private static func unknown(_ name: String, _ schema: StreamSchema) -> String {
    let lower = SQLName(name)
    if lower == SQLName(schema.machineColumn) || lower.text.hasPrefix("drover_") {
      return "The column \(printable(name)) is Drover's own; leave it out."
    }
    return "The machine's table has no column \(printable(name))."
  }

  /// A name of a client's, short and in one line.
  private static func printable(_ name: String) -> String {
    String(name.unicodeScalars.prefix(80).map { $0.properties.generalCategory == .control ? "?" : Character($0) })
  }
}

/// Which values a column takes from a person. Stricter than SQLite, which stores any value in any column.
package enum RowType {
  /// Why a column does not take a value, or nil.
  package static func refusal(of value: Value, in column: Column) -> String? {
    let wanted: String? =
      switch (column.affinity, value) {
      case (_, .null): nil
      case (.integer, .integer): nil
      case (.integer, .real(let real)) where Int64(exactly: real) != nil: nil
      case (.integer, _): "an integer"
      case (.real, .integer), (.real, .real): nil
      case (.real, _): "a number"
      case (.text, .text): nil
      case (.text, _): "a text"
      case (.blob, _) where column.declaredType.isEmpty: nil
      case (.blob, .blob): nil
      case (.blob, _): "a blob, {\"$blob\":\"base64\"}"
      case (.numeric, .blob): "a number or a text"
      case (.numeric, _): nil
      }
    return wanted.map { "The column \(column.name) (\(column.declaredType)) takes \($0)." }
  }
}
