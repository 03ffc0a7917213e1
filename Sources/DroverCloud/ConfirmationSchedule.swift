// When which machine hears its confirmation: at once when it has been quiet, and not more often than the interval when it is busy. What a call
// costs depends on the machines that have something to hear now, and not on how many there are.

import DroverCore

struct ConfirmationSchedule {
  private var waiting: [MachineID: Epoch] = [:]
  /// Machines that wait and may hear at once, in the order in which they came to: none stands back for others that talk more.
  private var ready: [MachineID] = []
  /// Machines that heard something within the interval, and until when they rest; in that order.
  private var resting: [(machine: MachineID, until: ContinuousClock.Instant)] = []
  private var isResting: Set<MachineID> = []

  var isEmpty: Bool { waiting.isEmpty }

  /// Something of this machine was committed.
  mutating func touch(_ machine: MachineID, epoch: Epoch) {
    let isNew = waiting.updateValue(epoch, forKey: machine) == nil
    if isNew, !isResting.contains(machine) { ready.append(machine) }
  }

  /// Takes machines whose turn it is, at most `limit`. They rest from now on.
  mutating func takeDue(
    now: ContinuousClock.Instant, interval: Duration, limit: Int
  ) -> [(machine: MachineID, epoch: Epoch)] {
    wake(now)
    let due = ready.prefix(limit).map { ($0, waiting.removeValue(forKey: $0)!) }
    ready.removeFirst(due.count)
    for (machine, _) in due {
      resting.append((machine, now.advanced(by: interval)))
      isResting.insert(machine)
    }
    return due
  }

  /// How long until the next one, nil when none waits.
  func nextDue(now: ContinuousClock.Instant) -> Duration? {
    guard ready.isEmpty else { return .zero }
    return resting.first { waiting[$0.machine] != nil }.map { max(.zero, now.duration(to: $0.until)) }
  }

  private mutating func wake(_ now: ContinuousClock.Instant) {
    let count = resting.prefix { $0.until <= now }.count
    for (machine, _) in resting.prefix(count) {
      isResting.remove(machine)
      if waiting[machine] != nil { ready.append(machine) }
    }
    resting.removeFirst(count)
  }
}
