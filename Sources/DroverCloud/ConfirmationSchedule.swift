// When which machine hears its confirmation: at once when it has been quiet, and not more often than the interval when it is busy.

import DroverCore

struct ConfirmationSchedule {
  private var waiting: [MachineID: Epoch] = [:]
  /// The machines that wait, in the order in which they came to wait: none stands back for others that talk more.
  private var order: [MachineID] = []
  private var last: [MachineID: ContinuousClock.Instant] = [:]

  var isEmpty: Bool { waiting.isEmpty }

  /// Something of this machine was committed.
  mutating func touch(_ machine: MachineID, epoch: Epoch) {
    if waiting.updateValue(epoch, forKey: machine) == nil { order.append(machine) }
  }

  /// A machine whose turn it is, or nil.
  mutating func takeDue(now: ContinuousClock.Instant, interval: Duration) -> (MachineID, Epoch)? {
    guard let index = order.firstIndex(where: { isDue($0, now, interval) }) else { return nil }
    let machine = order.remove(at: index)
    last[machine] = now
    return (machine, waiting.removeValue(forKey: machine)!)
  }

  /// How long until the next one, nil when none waits.
  func nextDue(now: ContinuousClock.Instant, interval: Duration) -> Duration? {
    waiting.keys.map { machine in
      last[machine].map { max(.zero, now.duration(to: $0.advanced(by: interval))) } ?? .zero
    }.min()
  }

  private func isDue(_ machine: MachineID, _ now: ContinuousClock.Instant, _ interval: Duration) -> Bool {
    last[machine].map { $0.advanced(by: interval) <= now } ?? true
  }
}
