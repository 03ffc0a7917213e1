// Questions to machines over a connection of their own: the command line's, or the consumer's for its regular comparisons.

package import DroverCloud
package import DroverCore
import DroverWire
import Synchronization

package final class MachineChannel: MachineQuestions, Sendable {
  /// How long the next message of an answer may take: the agent may be walking through a large table.
  private static let patience = Duration.seconds(60)

  private let visit: any BrokerVisit
  private let state = Mutex(State())

  fileprivate struct State {
    var outgoing: [(id: String, message: OutboundMessage)] = []
    var waiting: [String: Waiting] = [:]
    var isStopped = false
  }

  fileprivate struct Waiting {
    var answers: AsyncThrowingStream<StreamReply, any Error>.Continuation
    var deadline: ContinuousClock.Instant
    /// Nothing comes but the broker's acknowledgement.
    var endsWithAcknowledgement = false
  }

  /// - Parameter visit: a connection that subscribes to `Topic.replyFilter`.
  package init(_ visit: any BrokerVisit) { self.visit = visit }

  /// Runs the connection until `stop`.
  package func run() async { await visit.run(handler: ChannelHandler(self)) }

  package func stop() {
    state.withLock { state in
      state.isStopped = true
      for waiting in state.waiting.values { waiting.answers.finish(throwing: CancellationError()) }
      state.waiting = [:]
    }
    visit.stop()
  }

  package nonisolated(nonsending) func ask(
    _ question: StreamQuestion, of stream: ReplicatedStream, _ take: (StreamAnswer) throws -> Void
  ) async throws {
    let id = Self.newID()
    let request = StreamRequest(id: id, stream: stream.stream, schema: stream.schema.id, question: question)
    let answers = try send(
      OutboundMessage(
        topic: Topic.command(stream.machine, name: "stream").text, payload: request.document,
        contentType: "application/json"), id: id)
    var expected = 0
    for try await reply in answers {
      guard reply.number == expected else {
        finish(id, throwing: CheckFailure("a part of the answer is missing; check again"))
        continue
      }
      if case .failure(let reason) = reply.content { throw CheckFailure(reason) }
      try take(reply.content)
      expected += 1
    }
  }

  package nonisolated(nonsending) func describe(_ machine: MachineID) async throws {
    let message = OutboundMessage(topic: Topic.command(machine, name: "schema").text, payload: [])
    for try await _ in try send(message, id: Self.newID(), endsWithAcknowledgement: true) {}
  }

  private static func newID() -> String { Epoch(random: .random(in: .min ... .max)).text }

  private func send(
    _ message: OutboundMessage, id: String, endsWithAcknowledgement: Bool = false
  ) throws -> AsyncThrowingStream<StreamReply, any Error> {
    let (answers, continuation) = AsyncThrowingStream.makeStream(of: StreamReply.self)
    try state.withLock { state in
      guard !state.isStopped else { throw CancellationError() }
      state.waiting[id] = Waiting(
        answers: continuation, deadline: .now.advanced(by: Self.patience),
        endsWithAcknowledgement: endsWithAcknowledgement)
      state.outgoing.append((id, message))
    }
    visit.wake()
    return answers
  }

  fileprivate func acknowledged(_ id: String) {
    if state.withLock({ $0.waiting[id]?.endsWithAcknowledgement == true }) { finish(id) }
  }

  fileprivate func finish(_ id: String, throwing error: (any Error)? = nil) {
    state.withLock { $0.waiting.removeValue(forKey: id) }?.answers.finish(throwing: error)
  }

  fileprivate func takeOutgoing() -> [(id: String, message: OutboundMessage)] {
    state.withLock { state in
      defer { state.outgoing = [] }
      return state.outgoing
    }
  }

  fileprivate func heard(_ reply: StreamReply, id: String) {
    state.withLock { state in
      guard let waiting = state.waiting[id] else { return }
      waiting.answers.yield(reply)
      if reply.hasMore {
        state.waiting[id]!.deadline = .now.advanced(by: Self.patience)
      } else {
        waiting.answers.finish()
        state.waiting[id] = nil
      }
    }
  }

  /// Gives up on machines that say nothing.
  fileprivate func giveUp(now: ContinuousClock.Instant, isConnected: Bool) {
    let late = state.withLock { $0.waiting.filter { $0.value.deadline <= now }.map(\.key) }
    for id in late {
      finish(
        id,
        throwing: CheckFailure(
          isConnected
            ? "the machine has not answered within \(Self.patience.components.seconds) s"
            : visit.remark ?? "\(visit.broker) does not answer", isSilence: true))
    }
  }
}

private final class ChannelHandler: SessionHandler {
  private let channel: MachineChannel
  private var publisher: (any Publisher)?
  private var asked: [PublishToken: String] = [:]

  init(_ channel: MachineChannel) { self.channel = channel }

  func sessionOpened(_ info: SessionInfo, publisher: any Publisher) { self.publisher = publisher }

  func received(_ messages: [InboundMessage]) {
    for message in messages {
      guard case .reply(_, let id)? = try? Topic(parsing: message.topic) else { continue }
      do throws(WireError) {
        channel.heard(try StreamReply(document: message.payload), id: id)
      } catch {
        channel.finish(id, throwing: CheckFailure("read the answer: \(error)"))
      }
    }
  }

  func acknowledged(_ token: PublishToken, reason: AcknowledgementReason) {
    guard let id = asked.removeValue(forKey: token) else { return }
    guard reason != .success else { return channel.acknowledged(id) }
    channel.finish(
      id,
      throwing: CheckFailure(
        reason == .noMatchingSubscribers
          ? "its agent is not connected to the broker" : "the broker answered \(reason) to the request"))
  }

  func sessionClosed(reason: String) {
    publisher = nil
    for id in asked.values {
      channel.finish(id, throwing: CheckFailure("the connection to the broker was lost; check again"))
    }
    asked = [:]
  }

  func turn(now: ContinuousClock.Instant) -> Duration {
    channel.giveUp(now: now, isConnected: publisher != nil)
    guard let publisher else { return .milliseconds(200) }
    for (id, message) in channel.takeOutgoing() {
      do throws(PublishError) {
        asked[try publisher.publish(message)] = id
      } catch {
        channel.finish(id, throwing: CheckFailure("send the question: \(error)"))
      }
    }
    return .seconds(1)
  }

  func isDrained() -> Bool { true }
  func sessionWillClose(publisher: any Publisher) {}
}
