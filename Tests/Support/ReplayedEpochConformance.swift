// A dead letter of an epoch that is over, replayed. A row that existed only in the future that a restored machine had lost came back, and stayed.

import DroverCloud
package import DroverCore
import Logging
import Testing

package enum ReplayedEpochConformance {
  private static let schema = StreamSchema.make([("id", "INTEGER"), ("qty", "INTEGER")], key: [0])

  /// - Parameters:
  ///   - store: an empty one.
  ///   - letters: those of the store, and its replica, as other processes see them.
  package static func check(
    _ store: any CloudStore, _ letters: any CloudDeadLetterStore, _ replica: any Replica
  ) throws {
    let topic = Topic.events(.a, .snapshot, .stock).text
    func addDeadLetter(_ id: Int64, epoch: Epoch) throws -> Int64 {
      let letter = DeadLetter(
        topic: topic, machine: .a, stream: .stock, epoch: epoch, reason: .store, detail: "no",
        raw: Array("{\"id\":\"\(id)\",\"version\":\(id),\"body\":{\"id\":\(id),\"qty\":1}}".utf8)[...])
      _ = try store.transaction { try $0.addDeadLetter(letter) }
      return try letters.letters(DeadLetterFilter(), limit: 10).first!.id
    }
    func setEpoch(_ epoch: Epoch) throws {
      try store.transaction {
        try $0.setStatus(MachineStatus(isOnline: true, epoch: epoch, software: nil, at: nil), machine: .a)
      }
    }
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let consumer = Consumer(store: store, limits: .init(), logger: logger, wallClock: { 1_795_000_000_000_000 })
    func replay(_ id: Int64) throws {
      guard case .publish(let message, let ticket) = try letters.beginReplay(id) else {
        Issue.record("the letter cannot be replayed")
        return
      }
      try consumer.received([InboundMessage(topic: message.topic, payload: message.payload)])
      #expect(try letters.replayState(ticket) == .taken)
    }
    try setEpoch(.one)
    let refusal = try store.transaction { try $0.adopt(schema, machine: .a, stream: .stock) }
    #expect(refusal == nil)
    // Of the machine's present epoch nothing else is needed.
    try replay(addDeadLetter(1, epoch: .one))
    #expect(try replica.gaps().isEmpty)
    let second = Epoch(random: 2)
    let late = try addDeadLetter(5, epoch: .one)
    try setEpoch(second)
    try replay(late)
    #expect(try replica.gaps().map(\.stream.stream) == [.stock])
    #expect(try replica.count(#require(try replica.streams().first)) == 2)
  }
}
