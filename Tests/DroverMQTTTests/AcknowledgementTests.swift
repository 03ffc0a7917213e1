// The adapter's first promise: a message is acknowledged after the handler has taken it, and never before; and what the
// broker answers to our own messages reaches the handler as it was said.

import DroverCore
import DroverMQTT
import DroverProcesses
import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct AcknowledgementTests {
  /// libmosquitto queues a PUBACK before it calls back, and its manual does not say when it leaves. If this fails after
  /// an update of the library, acknowledging after the commit is lost.
  @Test(arguments: [false, true])
  func `what the handler refused comes again with DUP, and nothing is lost`(tls: Bool) async throws {
    let broker = try MosquittoBroker(hasTLS: tls)
    let options = broker.options("consumer", subscriptions: [Subscription(filter: "t/#")], tls: tls)
    try await Client.with(options) { _ = try await $0.opened() }
    try await Client.with(broker.options("publisher")) { publisher in
      publisher.publish(numbered(500))
      try await publisher.record.wait(for: "500 PUBACKs") { $0.answers.count == 500 }
    }

    var manner = Manner()
    manner.onReceived = { _, number in if number == 0 { throw Refusal() } }
    try await Client.with(options, manner: manner) { consumer in
      let record = try await consumer.record.wait(for: "all 500 messages") {
        Set($0.messages.map(\.number)).count == 500
      }
      let refused = try #require(record.refusals.first)
      #expect(record.refusals.count == 1)
      #expect(!refused.isEmpty && refused.allSatisfy { !$0.isDuplicate })
      #expect(record.messages.map(\.number) == Array(0..<500))
      // The broker may have sent more than was read when the connection was dropped: those come with DUP too.
      #expect(record.messages.prefix(refused.count).allSatisfy { $0.isDuplicate })
      #expect(record.closings.first?.contains("without acknowledging") == true)
    }
  }

  @Test func `what the handler took is not delivered again`() async throws {
    let broker = try MosquittoBroker()
    let options = broker.options("consumer", subscriptions: [Subscription(filter: "t/#")])
    try await Client.with(broker.options("publisher")) { publisher in
      try await Client.with(options) { consumer in
        try await consumer.opened()
        publisher.publish(numbered(300))
        try await consumer.record.wait(for: "300 messages") { $0.messages.count == 300 }
      }
      try await leaving("consumer", broker)
      publisher.publish("t/last", "last")
      try await publisher.record.wait(for: "the PUBACK") { $0.answers.count == 301 }
    }
    try await Client.with(options) { consumer in
      let record = try await consumer.record.wait(for: "the last message") {
        $0.messages.contains { $0.topic == "t/last" }
      }
      #expect(record.openings.first?.sessionPresent == true)
      #expect(record.messages.map(\.topic) == ["t/last"])
    }
  }

  /// Consumers that went through what was delivered again with care, on a machine that was busy, took longer over a batch than the broker waits
  /// for a sign of life. It closed the connection, delivered all of it again, and nothing was ever taken.
  @Test func `a handler that is slower than the broker is patient gets through all the same`() async throws {
    let broker = try MosquittoBroker()
    var options = broker.options("consumer", subscriptions: [Subscription(filter: "t/#")])
    options.keepAlive = .seconds(5)
    try await Client.with(options) { _ = try await $0.opened() }
    try await Client.with(broker.options("publisher")) { publisher in
      publisher.publish(numbered(70))
      try await publisher.record.wait(for: "70 PUBACKs") { $0.answers.count == 70 }
      var manner = Manner()
      // The broker's patience is real time, so the handler has to take it: 64 messages take longer than the broker waits.
      manner.onReceived = { batch, _ in Thread.sleep(forTimeInterval: 0.3 * Double(batch.count)) }
      try await Client.with(options, manner: manner) { consumer in
        try await consumer.record.wait(for: "all 70 messages", atMost: .seconds(120)) {
          Set($0.messages.map(\.number)).count == 70
        }
        // All of them may have been taken on a connection that the broker had closed. This one comes behind what it delivers again.
        publisher.publish("t/next", "next")
        try await consumer.record.wait(for: "the next message", atMost: .seconds(120)) {
          $0.messages.contains { $0.topic == "t/next" }
        }
      }
      try await leaving("consumer", broker)
      // What was taken and not acknowledged would come before it.
      publisher.publish("t/last", "last")
      try await Client.with(options) { consumer in
        let record = try await consumer.record.wait(for: "the last message") {
          $0.messages.contains { $0.topic == "t/last" }
        }
        #expect(record.messages.map(\.topic) == ["t/last"])
      }
    }
  }

  @Test func `a PUBACK tells whether anybody was there`() async throws {
    let broker = try MosquittoBroker()
    try await Client.with(broker.options("publisher")) { publisher in
      publisher.publish("t/lonely", "anyone?")
      try await publisher.record.wait(for: "a PUBACK") { $0.answers.count == 1 }
      try await Client.with(broker.options("listener", subscriptions: [Subscription(filter: "t/lonely")])) { listener in
        try await listener.opened()
        publisher.publish("t/lonely", "anyone now?")
        let record = try await publisher.record.wait(for: "two PUBACKs") { $0.answers.count == 2 }
        #expect(record.reasons == [.noMatchingSubscribers, .success])
      }
    }
  }

  @Test func `a PUBACK tells of the broker's ACL`() async throws {
    let broker = try MosquittoBroker { folder in
      let acl = try folder.write("topic readwrite open/#\n", to: "acl")
      return ["allow_anonymous true", "acl_file \(acl)"]
    }
    try await Client.with(broker.options("publisher", subscriptions: [Subscription(filter: "open/#")])) { publisher in
      publisher.publish("open/door", "may I?")
      publisher.publish("closed/door", "may I?")
      let record = try await publisher.record.wait(for: "two PUBACKs") { $0.answers.count == 2 }
      #expect(record.reasons == [.success, .notAuthorised])
    }
  }

  /// Waits until the broker has read the client's DISCONNECT and the PUBACKs before it. It reads one packet of a connection at a time: a client
  /// that comes back earlier takes its session over, and the broker drops the PUBACKs that it has not read.
  private func leaving(_ client: String, _ broker: MosquittoBroker) async throws {
    let end = ContinuousClock.now + .seconds(60)
    while broker.log.split(separator: "\n").last(where: { $0.contains(" \(client)") })?.contains("disconnected") != true
    {
      try #require(ContinuousClock.now < end, "the broker still holds the connection of \(client)")
      try await Task.sleep(for: .milliseconds(20))
    }
  }
}
