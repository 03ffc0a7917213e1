// Judges each look at the fleet by the rules, tells what began and what ended, and remembers it for the next consumer. Of a group all judge and
// one tells; the others follow what it told, so that an alert is the same whichever is asked, and whichever reports its end. The webhook is
// served beside all that, at its own pace.

import Dispatch
package import DroverCore
import DroverWire
package import Logging
import ServiceLifecycle
import Synchronization

package final class AlertService: Service {
  private struct State {
    var ledger: AlertLedger
    var queue = AlertQueue()
    var failure: String?
    /// Whether this consumer tells of the whole fleet, and the memory is its own: false until it has read what was sent before.
    var isLeader = false
    /// The memory could not be written, as while another program has the store locked. Until it can, this process alone knows what was sent.
    var isUnwritten = false
    /// Wakes who posts.
    var newsCame: AsyncStream<Void>.Continuation?
  }

  private static let backoff = Backoff(base: .seconds(1), cap: .seconds(300))

  private let state: Mutex<State>
  private let receiver: (@Sendable () -> any AlertReceiver)?
  /// Who posts.
  private let consumer: String
  private let isLeader: @Sendable () -> Bool
  private let memory: any AlertMemory
  private let logger: Logger
  /// Writes to the memory one after the other.
  private let writing = DispatchQueue(label: "drover-alerts")

  /// - Parameters:
  ///   - consumer: who posts.
  ///   - receiver: makes the receiver of the posts; nil without one.
  ///   - isLeader: whether this consumer is the leader, which reports on the whole fleet.
  package init(
    _ rules: AlertRules, consumer: String, receiver: (@Sendable () -> any AlertReceiver)?,
    isLeader: @escaping @Sendable () -> Bool,
    memory: any AlertMemory, logger: Logger
  ) {
    state = Mutex(State(ledger: AlertLedger(rules)))
    self.receiver = receiver
    self.consumer = consumer
    self.isLeader = isLeader
    self.memory = memory
    self.logger = logger
  }

  // MARK: Judging

  /// Blocks while the memory is read or written.
  /// - Returns: the alerts that there are now.
  /// - Throws: when the memory cannot be read, before anything is judged. While a lock keeps the store from being read, the lock is judged without the memory.
  package func judge(_ fleet: FleetSnapshot) throws -> AlertFigures {
    do {
      try follow(isLeader: isLeader())
    } catch {
      guard !fleet.isRead else { throw error }
      state.withLock { $0.isUnwritten = true }
    }
    let (changes, figures) = state.withLock { state in
      let changes = state.ledger.take(fleet).filter { state.isLeader || $0.alert.rule.isOwn || !fleet.isRead }
      if receiver != nil { state.queue.add(changes) }
      var figures = state.ledger.figures
      figures.posting = receiver.map { _ in state.queue.posting }
      return (changes, figures)
    }
    for change in changes { log(change) }
    if !changes.isEmpty || state.withLock(\.isUnwritten) { remember() }
    if !changes.isEmpty { _ = state.withLock { $0.newsCame?.yield() } }
    return figures
  }

  /// Reads what the leader has reported, until this consumer is the leader.
  private func follow(isLeader: Bool) throws {
    let isKnown = state.withLock { state in
      // What waits stands in the memory, which is another's from now on.
      if state.isLeader, !isLeader { state.queue.giveAway() }
      state.isLeader = state.isLeader && isLeader
      return state.isLeader
    }
    guard !isKnown else { return }
    let notes = parsed(try memory.read())
    state.withLock { state in
      // What was sent while the memory could not be read is in no memory yet.
      let unwritten =
        state.isUnwritten ? state.ledger.open.filter { own in !notes.open.contains { $0.id == own.id } } : []
      state.ledger.follow(notes.open + unwritten, takesOver: isLeader)
      if isLeader, receiver != nil { state.queue.add(notes.waiting) }
      state.isLeader = isLeader
    }
    _ = state.withLock { $0.newsCame?.yield() }
  }

  private func parsed(_ text: String?) -> AlertNotes {
    do throws(WireError) {
      return try text.map { text throws(WireError) in try AlertNotes(parsing: text) } ?? AlertNotes()
    } catch {
      logger.warning("read the alerts that were sent before: \(error); open alerts are sent again")
      return AlertNotes()
    }
  }

  private func log(_ change: AlertChange) {
    let alert = change.alert
    switch change.state {
    case .firing: logger.warning("alert \(alert.rule.rawValue): \(alert.text); \(alert.advice)")
    case .resolved:
      logger.notice("alert \(alert.rule.rawValue) is over after \(ageText(change.at - alert.since)): \(alert.text)")
    }
  }

  /// Of several consumers the one that tells of the machines.
  private func remember() {
    writing.sync {
      let notes = state.withLock { state in
        state.isLeader ? AlertNotes(open: state.ledger.open, waiting: state.queue.waiting) : nil
      }
      guard let notes else { return }
      do {
        try memory.write(notes.text)
        state.withLock { $0.isUnwritten = false }
      } catch {
        let isNew = state.withLock { state in
          defer { state.isUnwritten = true }
          return !state.isUnwritten
        }
        if isNew {
          logger.warning(
            "\(error); the consumer tries again, and after a restart before that, alerts may be sent again")
        }
      }
    }
  }

  // MARK: The webhook

  package func run() async throws {
    guard let receiver = self.receiver?() else { return try await gracefulShutdown() }
    let (news, newsCame) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    state.withLock { $0.newsCame = newsCame }
    // It may have been there before.
    newsCame.yield()
    await cancelWhenGracefulShutdown {
      for await _ in news {
        while !Task.isCancelled, await self.post(to: receiver) {}
      }
    }
    await receiver.close()
  }

  /// Posts what comes next, and waits after a failure.
  /// - Returns: whether there may be more.
  private func post(to receiver: any AlertReceiver) async -> Bool {
    let batch = state.withLock(\.queue.next)
    guard !batch.changes.isEmpty else { return false }
    do {
      try await receiver.post(AlertChange.document(batch.changes, consumer: consumer).text())
    } catch {
      guard !Task.isCancelled else { return false }
      await pause(after: error)
      return true
    }
    state.withLock { state in
      state.queue.delivered(batch)
      state.failure = nil
    }
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async { [self] in
        remember()
        continuation.resume()
      }
    }
    return true
  }

  private func pause(after error: any Error) async {
    let (attempt, isNew) = state.withLock { state in
      state.queue.failed()
      defer { state.failure = "\(error)" }
      return (state.queue.attempts, state.failure != "\(error)")
    }
    let delay = Self.backoff.delay(attempt: attempt, seed: .random(in: .min ... .max))
    if isNew { logger.warning("post alerts to the webhook: \(error); the consumer tries again; check alerts.webhook") }
    try? await Task.sleep(for: delay)
  }
}
