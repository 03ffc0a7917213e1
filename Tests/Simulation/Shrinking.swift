// Makes a run that breaks a promise small: fewer kinds of faults, fewer machines, fewer steps, as long as the same promise breaks.

package enum Shrinking {
  /// - Parameter runs: how many runs may be spent on it.
  package static func smallest(_ plan: Plan, atMost runs: Int) throws -> Plan {
    guard let violation = try Simulation.run(plan).violation else { return plan }
    var plan = plan
    var left = runs
    func stillBreaks(_ candidate: Plan) throws -> Bool {
      guard left > 0 else { return false }
      left -= 1
      return try Simulation.run(candidate).violation?.invariant == violation.invariant
    }

    for fault in plan.faults.active {
      var candidate = plan
      candidate.faults[fault] = 0
      if try stillBreaks(candidate) { plan = candidate }
    }
    while plan.machines > 1 {
      var candidate = plan
      candidate.machines -= 1
      guard try stillBreaks(candidate) else { break }
      plan = candidate
    }
    // Delta debugging (Zeller, Hildebrandt 2002) on the steps, from halves down to single ones, from the end.
    var size = max(1, plan.steps.count / 2)
    while true {
      var end = plan.steps.count
      while end > 0 {
        let range = max(0, end - size)..<end
        var candidate = plan
        candidate.steps.removeSubrange(range)
        if try stillBreaks(candidate) { plan = candidate }
        end = range.lowerBound
      }
      guard size > 1, left > 0 else { break }
      size = max(1, size / 2)
    }
    return plan
  }

  /// What a person needs to look into it: the seed, what is left of the run, and its trace.
  package static func report(of plan: Plan, atMost runs: Int) throws -> String {
    let small = try smallest(plan, atMost: runs)
    let outcome = try Simulation.run(small, isTracing: true)
    return """
      seed \(plan.seed): \(outcome.violation?.description ?? "no violation any more")
      faults: \(small.faults)
      \(small.machines) machines, \(small.steps.count) of \(plan.steps.count) steps: \(small.steps)
      \(outcome.trace.suffix(200).joined(separator: "\n"))
      """
  }
}
