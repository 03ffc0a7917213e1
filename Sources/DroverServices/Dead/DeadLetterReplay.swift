// Publishes dead letters of the cloud again, as what they are: messages on their own topics. The broker's PUBACK means only that it is
// worth waiting; the letter goes when the consumer has had it.

package import DroverCore
import Synchronization

package enum DeadLetterReplay {
  /// - Parameters:
  ///   - letters: the dead letters, on a connection of their own.
  ///   - store: the same, on another connection: it works on the session's thread.
  ///   - patience: how long nothing may happen before the rest is given up for now.
  package static func run(
    _ ids: [Int64], of letters: any CloudDeadLetterStore, store: sending any CloudDeadLetterStore,
    over visit: any BrokerVisit, patience: Duration
  ) async throws -> ReplayOutcome {
    var outcome = ReplayOutcome(success: "taken by the consumer")
    guard !ids.isEmpty else { return outcome }
    let sent = Sent()
    let sender = Sender(ids, store: store, visit: visit, sent: sent)
    await visit.run(handler: sender)
    let account = sent.account
    guard account.hasConnected else {
      throw ReplayFailure(
        description: "\(visit.remark ?? "\(visit.broker) does not answer within 5 s"); nothing was sent")
    }
    outcome.left = account.left
    if account.vanished > 0 { outcome.remarks.append("\(account.vanished) were removed before they could be sent") }
    try await settle(account.published, letters, patience, &outcome)
    outcome.left.sort { $0.id < $1.id }
    return outcome
  }

  /// Waits for the consumer.
  private static func settle(
    _ published: [ReplayTicket], _ letters: any CloudDeadLetterStore, _ patience: Duration,
    _ outcome: inout ReplayOutcome
  ) async throws {
    var waiting = published
    var deadline = ContinuousClock.now.advanced(by: patience)
    while true {
      var still: [ReplayTicket] = []
      for ticket in waiting {
        switch try letters.replayState(ticket) {
        case .waiting: still.append(ticket)
        case .taken: outcome.done += 1
        case .refused(let letter):
          let number = letter.id == ticket.id ? "" : " as letter \(letter.id)"
          outcome.left.append((ticket.id, "refused again\(number), \(letter.reason): \(letter.detail)"))
        }
      }
      if still.count < waiting.count { deadline = .now.advanced(by: patience) }
      waiting = still
      guard !waiting.isEmpty, .now < deadline else { break }
      try await Task.sleep(for: .milliseconds(50))
    }
    outcome.left += waiting.map {
      ($0.id, "published, and the consumer has not applied it yet; then the letter is removed")
    }
  }
}

/// Why nothing could be sent.
package struct ReplayFailure: Error, CustomStringConvertible {
  package let description: String

  package init(description: String) { self.description = description }
}

/// What the session's thread reports.
private final class Sent: Sendable {
  struct Account {
    var hasConnected = false
    var published: [ReplayTicket] = []
    var left: [(id: Int64, why: String)] = []
    var vanished = 0
  }

  private let state = Mutex(Account())
  var account: Account { state.withLock { $0 } }
  func note(_ change: (inout Account) -> Void) { state.withLock { change(&$0) } }
}

private final class Sender: SessionHandler {
  /// Messages that wait for their PUBACK at a time; a letter may have a megabyte.
  private static let window = 16
  /// How long the broker may take for a connection or a PUBACK.
  private static let patience: Duration = .seconds(5)

  private var ids: ArraySlice<Int64>
  private let store: any CloudDeadLetterStore
  private let visit: any BrokerVisit
  private let sent: Sent
  private var publisher: (any Publisher)?
  private var inFlight: [PublishToken: ReplayTicket] = [:]
  private var deadline = ContinuousClock.now.advanced(by: patience)

  init(_ ids: [Int64], store: any CloudDeadLetterStore, visit: any BrokerVisit, sent: Sent) {
    self.ids = ids[...]
    self.store = store
    self.visit = visit
    self.sent = sent
  }

  func sessionOpened(_ info: SessionInfo, publisher: any Publisher) {
    self.publisher = publisher
    sent.note { $0.hasConnected = true }
    deadline = .now.advanced(by: Self.patience)
  }

  func received(_ messages: [InboundMessage]) {}

  func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
    guard let ticket = inFlight.removeValue(forKey: token) else { return }
    deadline = .now.advanced(by: Self.patience)
    switch reason {
    case .success: sent.note { $0.published.append(ticket) }
    case .noMatchingSubscribers: giveUp(ticket, "no consumer subscribes; start `drover cloud`, and try again")
    case .notAuthorised:
      let name = visit.user.map { "user \($0)" } ?? "a client without a user name"
      giveUp(ticket, "\(name) is not authorised on \(ticket.topic); the broker's ACL must allow it for a replay")
    case .packetTooLarge: giveUp(ticket, "\(ticket.bytes) bytes are more than the broker takes")
    case .quotaExceeded: giveUp(ticket, "the broker's quota is used up; try again later")
    case .other(let code): giveUp(ticket, "the broker answered \(code)")
    }
  }

  /// It is not known whether the broker has them: their marks stay, and the consumer removes what it gets.
  func sessionClosed(reason: String) {
    publisher = nil
    let lost = inFlight.values
    inFlight = [:]
    sent.note { $0.published += lost }
  }

  func turn(now: ContinuousClock.Instant) -> Duration {
    if let publisher { send(publisher) }
    if (ids.isEmpty && inFlight.isEmpty) || now >= deadline {
      let rest = ids
      ids = []
      sent.note { account in account.left += rest.map { ($0, "not sent: the broker does not answer") } }
      visit.stop()
    }
    return .milliseconds(100)
  }

  private func send(_ publisher: any Publisher) {
    while inFlight.count < Self.window, let id = ids.first {
      do {
        switch try store.beginReplay(id) {
        case .missing: sent.note { $0.vanished += 1 }
        case .cut(let kept, let bytes):
          sent.note {
            $0.left.append(
              (id, "cannot be replayed: it had \(bytes) bytes, and only the first \(kept) of them were kept"))
          }
        case .outdated:
          sent.note {
            $0.left.append(
              (
                id,
                "outdated: the machine has described the stream again since; nothing was sent, and `drover dead purge --id \(id)` removes it"
              ))
          }
        case .publish(let message, let ticket):
          do throws(PublishError) {
            inFlight[try publisher.publish(message)] = ticket
          } catch .notConnected {
            try store.cancelReplay(ticket)
            return
          } catch .tooLarge {
            giveUp(ticket, "\(message.payload.count) bytes are more than the broker takes")
          } catch {
            giveUp(ticket, "\(error)")
          }
        }
      } catch {
        sent.note { $0.left.append((id, "\(error)")) }
      }
      ids.removeFirst()
    }
  }

  private func giveUp(_ ticket: ReplayTicket, _ why: String) {
    do {
      try store.cancelReplay(ticket)
      sent.note { $0.left.append((ticket.id, "not sent: \(why)")) }
    } catch {
      sent.note { $0.left.append((ticket.id, "not sent: \(why); and \(error)")) }
    }
  }

  func isDrained() -> Bool { inFlight.isEmpty }
  func sessionWillClose(publisher: any Publisher) {}
}
