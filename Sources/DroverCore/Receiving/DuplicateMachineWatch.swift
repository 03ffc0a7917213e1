// Whether two machines have one name: a card was copied, and both go by what it says. Each process of the agent names itself in its statuses. One
// that is followed by another has ended, whatever the reason: a restart, a crash, a new card. One that is heard again after another, and again
// after that, lives beside it. The decision is a value, one for each machine.

package struct DuplicateMachineWatch: Sendable {
  package enum Verdict: Equatable, Sendable {
    case nothing
    /// Another process than the one before, which may have ended. The consumer asks all agents of this name for their status.
    case unclear
    /// Two are at work under this name.
    case cloned
    /// Only one has been heard for a while.
    case alone
  }

  /// A process comes back so often after others before it counts.
  private static let returns = 2
  /// Within this time, in microseconds.
  private static let memory: Int64 = 600_000_000
  /// The others have to be silent for so long before one is alone. While they are held, agents are heard every five seconds.
  private static let silence: Int64 = 30_000_000
  /// A machine that names itself anew each time must not fill the memory.
  private static let most = 8

  private struct Process {
    var id: Int64
    /// When it was heard last, by the listener's clock, and what it said then was the time.
    var heard: Int64
    var said: Int64
    /// When it came back after another.
    var returned: [Int64] = []
  }

  /// The one that was heard last stands last.
  private var processes: [Process] = []
  private var listeningSince: Int64?

  package init() {}

  /// Takes note of a status that was sent just now: none that the broker kept, and none that it delivers again.
  /// - Parameters:
  ///   - process: how the agent's process names itself.
  ///   - said: when the status was written, by the machine's clock. The same again is the same status.
  ///   - isHeld: whether two are known to be at work.
  ///   - now: of the listener's clock, microseconds.
  package mutating func heard(_ process: Int64, said: Int64, isHeld: Bool, now: Int64) -> Verdict {
    // A clock that was set back must not make silence of the time that it went.
    listeningSince = min(listeningSince ?? now, now)
    for index in processes.indices { processes[index].heard = min(processes[index].heard, now) }
    let index = processes.firstIndex { $0.id == process }
    var current = index.map { processes.remove(at: $0) } ?? Process(id: process, heard: now, said: said)
    if let index {
      guard current.said != said else {
        processes.insert(current, at: index)
        return .nothing
      }
      if index < processes.count { current.returned.append(now) }
    }
    current.returned.removeAll { now - $0 > Self.memory }
    current.returned = current.returned.suffix(Self.returns)
    (current.heard, current.said) = (now, said)
    let others = processes.map(\.heard).max()
    processes.append(current)
    if processes.count > Self.most { processes.removeFirst() }
    guard isHeld else {
      if current.returned.count >= Self.returns { return .cloned }
      let isOther = processes.count > 1 && index != processes.count - 1
      return isOther && others.map { now - $0 < Self.silence } ?? false ? .unclear : .nothing
    }
    let since = max(others ?? listeningSince!, listeningSince!)
    guard now - since >= Self.silence else { return .nothing }
    processes = [Process(id: process, heard: now, said: said)]
    return .alone
  }
}
