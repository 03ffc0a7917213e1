// What runs at once. swift-testing starts all tests of a process together, and on two cores a hundred programs and a hundred long computations take
// the time from each other and from every test that waits. These traits let so many of them run, and the others wait their turn.

private import Dispatch
private import Glibc
private import Synchronization
package import Testing

/// Lets a bounded number of tests run at a time; with parameters, of their cases.
package struct Bounded: SuiteTrait, TestTrait, TestScoping {
  fileprivate let gate: Gate
  /// Where the tests run, one for each permit; nil: where all others do.
  fileprivate var threads: [OwnThread]?

  package var isRecursive: Bool { true }

  package func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    let permit = await gate.enter()
    defer { gate.leave(permit) }
    guard let threads else { return try await function() }
    try await withTaskExecutorPreference(threads[permit]) { try await function() }
  }
}

extension Trait where Self == Bounded {
  /// For tests that start programs (a broker, agents, consumers, a browser), of which most wait most of the time.
  package static var programs: Self { Bounded(gate: .programs) }

  /// For tests that compute, or block, for seconds. They run on threads of their own: the cooperative pool has as many threads as the computer has
  /// cores, and nobody hears what happens while such tests have them all.
  package static var ownThread: Self { Bounded(gate: .ownThread, threads: OwnThread.all) }
}

/// Permits, given in the order in which they are asked for.
private final class Gate: Sendable {
  static let programs = Gate(permits: max(4, 3 * OwnThread.cores))
  static let ownThread = Gate(permits: OwnThread.all.count)

  private struct State {
    var free: [Int]
    var waiting: [CheckedContinuation<Int, Never>] = []
  }
  private let state: Mutex<State>

  init(permits: Int) { state = Mutex(State(free: Array(0..<permits))) }

  func enter() async -> Int {
    await withCheckedContinuation { continuation in
      let permit = state.withLock { state -> Int? in
        if let permit = state.free.popLast() { return permit }
        state.waiting.append(continuation)
        return nil
      }
      if let permit { continuation.resume(returning: permit) }
    }
  }

  func leave(_ permit: Int) {
    let next = state.withLock { state -> CheckedContinuation<Int, Never>? in
      guard !state.waiting.isEmpty else {
        state.free.append(permit)
        return nil
      }
      return state.waiting.removeFirst()
    }
    next?.resume(returning: permit)
  }
}

/// A thread beside the cooperative pool.
private final class OwnThread: TaskExecutor {
  static let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  /// Two more than cores, because some wait for a database's server or for a disk.
  static let all = (0..<(cores + 2)).map { _ in OwnThread() }

  private let queue = DispatchQueue(label: "tests that compute")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
