// Carries questions from commands to the agent, and its answers back.

import DroverCore
import DroverEdge
import DroverSQLite
import DroverWire
import Logging
import ServiceLifecycle

struct QuestionService: Service {
  private static let interval = Duration.milliseconds(100)
  /// For how long a command may wait for its answer; then it is removed.
  private static let patience = Duration.seconds(60)

  let mailbox: AgentMailbox
  let questions: CloudQuestions
  let wake: @Sendable () -> Void
  let logger: Logger

  func run() async throws {
    var answered: [(id: String, at: ContinuousClock.Instant)] = []
    while !Task.isShuttingDownGracefully {
      if let (id, document) = mailbox.take() {
        questions.ask(document, id: id)
        wake()
      }
      for (id, answer) in questions.take() {
        do {
          switch answer {
          case .answer(let document): try mailbox.answer(id, document)
          case .failure(let why): try mailbox.answer(id, ConflictReply.failure(why).document)
          }
          answered.append((id, .now))
        } catch {
          logger.warning("answer a command: \(error)")
        }
      }
      while let first = answered.first, first.at.advanced(by: Self.patience) < .now {
        mailbox.removeAnswer(first.id)
        answered.removeFirst()
      }
      do { try await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) } } catch { break }
    }
    for (id, _) in answered { mailbox.removeAnswer(id) }
  }
}
