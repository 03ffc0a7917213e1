// When each of many has its next turn, to the millisecond. To set a time costs the same for ten and for ten thousand of them.

struct TimerWheel {
  /// Longer than any wait that is set, so that no slot holds two times.
  private static let slotCount = 2048
  static let longestWait = 2000

  private var slots = [[Int]](repeating: [], count: slotCount)
  /// In milliseconds; -1: none. Entries of a slot that say otherwise are of an earlier wish.
  private var due: [Int]
  private var now: Int

  /// - Parameters:
  ///   - count: whose turns are kept, by their numbers from 0.
  ///   - now: the time in milliseconds.
  init(count: Int, now: Int) {
    due = Array(repeating: -1, count: count)
    self.now = now
  }

  /// Sets the next turn, in place of the one that was set before.
  /// - Parameter wait: in milliseconds from the time that `advance` was told last; not above `longestWait`.
  mutating func set(_ number: Int, in wait: Int) {
    let time = now + max(1, min(wait, Self.longestWait))
    guard due[number] != time else { return }
    due[number] = time
    slots[time % Self.slotCount].append(number)
  }

  /// Takes all whose time has come by `time`.
  mutating func advance(to time: Int) -> [Int] {
    var taken: [Int] = []
    // After a long rest every slot is looked at once.
    for tick in stride(from: max(now + 1, time - Self.slotCount + 1), through: time, by: 1) {
      let slot = tick % Self.slotCount
      for number in slots[slot] where (0...time).contains(due[number]) {
        due[number] = -1
        taken.append(number)
      }
      slots[slot].removeAll(keepingCapacity: true)
    }
    now = max(now, time)
    return taken
  }
}
