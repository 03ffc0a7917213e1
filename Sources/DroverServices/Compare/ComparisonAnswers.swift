// Compares a stream for the machine that asks, beside the consumer and on connections of its own. A comparison may take minutes, so the machine hears now
// and then that it goes on. Few are made at a time, and one for a machine, so that machines that ask much cost the store little.

package import DroverCloud
import DroverCore
import DroverWire
import Synchronization

package final class ComparisonAnswers: Sendable {
  /// Comparisons that are made at a time, and those that wait.
  private static let mostAtOnce = 4
  private static let mostWaiting = 100
  /// How often a machine that waits hears that the work goes on.
  private static let interval = Duration.seconds(5)

  private let open: @Sendable (MachineChannel) throws -> SideComparison
  private let channel: @Sendable () -> MachineChannel
  private let now: @Sendable () -> Int64
  private let wake: @Sendable () -> Void
  private let state = Mutex(State())

  private struct State {
    var running: [MachineID: MachineAsked] = [:]
    var waiting: [MachineAsked] = []
    var ready: [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)] = []
    var isPulsing = false
  }

  /// - Parameters:
  ///   - open: the store's side of a comparison, on connections of its own.
  ///   - channel: a new connection to the machines.
  ///   - now: wall clock, microseconds since 1970.
  ///   - wake: has the consumer take what is ready.
  package init(
    open: @escaping @Sendable (MachineChannel) throws -> SideComparison,
    channel: @escaping @Sendable () -> MachineChannel, now: @escaping @Sendable () -> Int64,
    wake: @escaping @Sendable () -> Void
  ) {
    self.open = open
    self.channel = channel
    self.now = now
    self.wake = wake
  }

  package func ask(_ question: MachineAsked) {
    let (isTaken, startsPulse) = state.withLock { state in
      guard state.running[question.machine] == nil,
        !state.waiting.contains(where: { $0.machine == question.machine }), state.waiting.count < Self.mostWaiting
      else { return (false, false) }
      state.waiting.append(question)
      state.ready.append((question, CompareReply.working.document, false))
      defer { state.isPulsing = true }
      return (true, !state.isPulsing)
    }
    guard isTaken else {
      return finish(
        question,
        .failure("the consumer makes other comparisons, of this machine or of many others; try again in a minute"))
    }
    if startsPulse { Task { await pulse() } }
    startNext()
    wake()
  }

  package func take() -> [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)] {
    state.withLock { state in
      defer { state.ready = [] }
      return state.ready
    }
  }

  private func startNext() {
    let question = state.withLock { state -> MachineAsked? in
      guard state.running.count < Self.mostAtOnce, !state.waiting.isEmpty else { return nil }
      let next = state.waiting.removeFirst()
      state.running[next.machine] = next
      return next
    }
    guard let question else { return }
    Task {
      let reply = await answer(question)
      state.withLock { _ = $0.running.removeValue(forKey: question.machine) }
      finish(question, reply)
      startNext()
    }
  }

  private func finish(_ question: MachineAsked, _ reply: CompareReply) {
    state.withLock { $0.ready.append((question, reply.document, false)) }
    wake()
  }

  /// Says to those who wait that the work goes on, until none waits.
  private func pulse() async {
    while true {
      do { try await Task.sleep(for: Self.interval) } catch { return }
      let isOver = state.withLock { state in
        for question in Array(state.running.values) + state.waiting {
          state.ready.append((question, CompareReply.working.document, false))
        }
        state.isPulsing = !state.running.isEmpty || !state.waiting.isEmpty
        return !state.isPulsing
      }
      if isOver { return }
      wake()
    }
  }

  private func answer(_ question: MachineAsked) async -> CompareReply {
    do {
      let request = try CompareRequest(document: question.document)
      let since = now() - request.elapsed
      let channel = channel()
      let comparison = try open(channel)
      let streams = try comparison.replica.streams().filter {
        $0.machine == question.machine && $0.stream == request.stream
      }
      guard let stream = streams.first else {
        var standing = StreamStanding(MachineStream(machine: question.machine, stream: request.stream))
        try comparison.count(&standing, since: since)
        return .unknown(conflicts: standing.conflicts, letters: standing.letters)
      }
      async let connection: Void = channel.run()
      let found = await Swift.Result { try await comparison.run([stream], by: request.column, since: since) }
      channel.stop()
      await connection
      return .standing(try found.get()[0])
    } catch {
      return .failure("compare \(question.machine)'s rows: \(error)")
    }
  }
}

extension Swift.Result where Failure == any Error {
  fileprivate init(_ body: nonisolated(nonsending) () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}

/// All questions of machines: each goes to those who answer it.
package final class CloudAnswers: MachineAnswers {
  private let conflicts: ConflictAnswers
  private let comparisons: ComparisonAnswers
  /// nil where the configuration has no worklist.
  private let orders: OrderAnswers?

  package init(conflicts: ConflictAnswers, comparisons: ComparisonAnswers, orders: OrderAnswers? = nil) {
    self.orders = orders
    self.conflicts = conflicts
    self.comparisons = comparisons
  }

  package func ask(_ question: MachineAsked) {
    if CompareRequest.isOne(question.document) {
      comparisons.ask(question)
    } else if let orders, WorklistRequest.isOne(question.document) {
      orders.ask(question)
    } else {
      conflicts.ask(question)
    }
  }

  package func take() -> [(question: MachineAsked, answer: [UInt8], hasChanged: Bool)] {
    conflicts.take() + comparisons.take() + (orders?.take() ?? [])
  }
}
