// Makes a case that breaks the promise small, as long as it breaks in the same way: fewer steps, fewer columns, a plainer table, plainer values.

import DroverCore

struct ReplicaShrinking {
  private var plan: ReplicaCase
  private var left: Int
  private let sort: ReplicaFailure.Sort
  private let failure: (ReplicaCase) throws -> ReplicaFailure?

  /// - Parameters:
  ///   - runs: how many runs may be spent on it.
  ///   - failure: how a case breaks; nil where it holds.
  static func smallest(
    _ plan: ReplicaCase, atMost runs: Int = 600, failure: @escaping (ReplicaCase) throws -> ReplicaFailure?
  ) throws -> ReplicaCase {
    guard let sort = try failure(plan)?.sort else { return plan }
    var shrinking = ReplicaShrinking(plan: plan, left: runs, sort: sort, failure: failure)
    while try shrinking.round() {}
    return shrinking.plan
  }

  /// True when the case is smaller now, and there may be more to take.
  private mutating func round() throws -> Bool {
    var isSmaller = try dropSteps()
    if try dropColumns() { isSmaller = true }
    for pass in [Self.flatter, Self.plainer, Self.simpler] {
      var candidates = pass(plan)
      while let candidate = candidates.popLast() {
        guard try take(candidate) else { continue }
        isSmaller = true
        candidates = pass(plan)
      }
    }
    return isSmaller && left > 0
  }

  /// Whether the case breaks as the first one did; then it takes its place.
  private mutating func take(_ candidate: ReplicaCase) throws -> Bool {
    guard left > 0, candidate != plan else { return false }
    left -= 1
    guard try failure(candidate)?.sort == sort else { return false }
    plan = candidate
    return true
  }

  private mutating func dropSteps() throws -> Bool {
    try dropParts(\.steps.count) { $0.steps.removeSubrange($1) }
  }

  private mutating func dropColumns() throws -> Bool {
    try dropParts(\.table.columns.count) { plan, range in
      let gone = plan.table.columns[range].map(\.number)
      plan.table.columns.removeSubrange(range)
      plan.table.key.removeAll(where: gone.contains)
      plan.table.uniques = plan.table.uniques.map { $0.filter { !gone.contains($0) } }.filter { !$0.isEmpty }
    }
  }

  /// Delta debugging (Zeller, Hildebrandt 2002): from halves down to single parts, from the end.
  private mutating func dropParts(
    _ count: KeyPath<ReplicaCase, Int>, _ drop: (inout ReplicaCase, Range<Int>) -> Void
  ) throws -> Bool {
    var isSmaller = false
    var size = max(1, plan[keyPath: count] / 2)
    while true {
      var end = plan[keyPath: count]
      while end > 0 {
        let range = max(0, end - size)..<end
        var candidate = plan
        drop(&candidate, range)
        if try take(candidate) { isSmaller = true }
        end = range.lowerBound
      }
      guard size > 1 else { return isSmaller }
      size /= 2
    }
  }

  /// Groups that become their steps.
  private static func flatter(_ plan: ReplicaCase) -> [ReplicaCase] {
    plan.steps.indices.compactMap { index in
      var candidate = plan
      switch plan.steps[index] {
      case .transaction(let steps, _), .savepoint(let steps, _):
        candidate.steps.replaceSubrange(index...index, with: steps)
        return candidate
      default: return nil
      }
    }
  }

  /// The table without one of its options.
  private static func plainer(_ plan: ReplicaCase) -> [ReplicaCase] {
    var candidates: [ReplicaCase] = []
    func without(_ change: (inout ReplicaCase) -> Void) {
      var candidate = plan
      change(&candidate)
      if candidate != plan { candidates.append(candidate) }
    }
    for index in plan.table.columns.indices {
      without { $0.table.columns[index].name = "c\(plan.table.columns[index].number)" }
      without { $0.table.columns[index].type = "" }
      without { $0.table.columns[index].collation = nil }
      without { $0.table.columns[index].defaultValue = nil }
      without { $0.table.columns[index].check = nil }
      without { $0.table.columns[index].generated = nil }
    }
    if plan.table.key.count > 1 { without { $0.table.key.removeLast() } }
    without { $0.table.key = [] }
    without { $0.table.keyOption = "" }
    without { $0.table.isStrict = false }
    without { $0.table.isWithoutRowid = false }
    without { $0.table.uniques = [] }
    without { $0.table.name = "t" }
    without { $0.kind = .snapshot }
    without { $0.attachesFirst = true }
    without { $0.delivery = .inOrder }
    without { $0.eventsPerFrame = 100 }
    return candidates
  }

  /// One statement with a plainer value, or without a part.
  private static func simpler(_ plan: ReplicaCase) -> [ReplicaCase] {
    plan.steps.indices.flatMap { index in
      simpler(plan.steps[index]).map { step in
        var candidate = plan
        candidate.steps[index] = step
        return candidate
      }
    }
  }

  private static func simpler(_ step: ReplicaStep) -> [ReplicaStep] {
    switch step {
    case .insert(let conflict, let values, let update):
      (conflict.isEmpty ? [] : [.insert(conflict: "", values: values, update: update)])
        + (update == nil ? [] : [.insert(conflict: conflict, values: values, update: nil)])
        + simpler(values).map { .insert(conflict: conflict, values: $0, update: update) }
        + simpler(update ?? []).map { .insert(conflict: conflict, values: values, update: $0) }
    case .update(let conflict, let set, let condition):
      (conflict.isEmpty ? [] : [.update(conflict: "", set: set, condition: condition)])
        + (condition == nil ? [] : [.update(conflict: conflict, set: set, condition: nil)])
        + simpler(set).map { .update(conflict: conflict, set: $0, condition: condition) }
    case .delete(let condition): condition == nil ? [] : [.delete(condition: nil)]
    case .transaction(let steps, let ending):
      (ending == "COMMIT" ? [] : [.transaction(steps, ending: "COMMIT")])
        + simpler(steps).map { .transaction($0, ending: ending) }
    case .savepoint(let steps, let isRolledBack):
      (isRolledBack ? [.savepoint(steps, isRolledBack: false)] : [])
        + simpler(steps).map { .savepoint($0, isRolledBack: isRolledBack) }
    case .addColumn(let column):
      [ColumnDefinition(number: column.number, name: column.name, type: column.type, defaultValue: column.defaultValue)]
        .filter { $0 != column }.map { .addColumn($0) }
    case .renameColumn, .dropColumn, .uniqueIndex, .sync: []
    }
  }

  private static func simpler(_ steps: [ReplicaStep]) -> [[ReplicaStep]] {
    steps.indices.flatMap { index in
      var fewer = steps
      fewer.remove(at: index)
      return [fewer]
        + simpler(steps[index]).map { step in
          var changed = steps
          changed[index] = step
          return changed
        }
    }
  }

  private static func simpler(_ assignments: [Assignment]) -> [[Assignment]] {
    assignments.indices.flatMap { index in
      var fewer = assignments
      fewer.remove(at: index)
      let plain = ["NULL", "1", "0"]
      // Only towards the plainer end, so that it comes to an end.
      let plainer = plain.prefix(while: { $0 != assignments[index].value })
      return [fewer]
        + plainer.reversed().map { value in
          var changed = assignments
          changed[index].value = value
          return changed
        }
    }
  }
}
