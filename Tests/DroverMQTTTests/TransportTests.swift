// Messages over the wire, in numbers and in size, plain and encrypted.

import DroverCore
import DroverMQTT
import DroverProcesses
import DroverTesting
import Glibc
import Testing

@Suite(.programs) struct TransportTests {
  @Test(arguments: [false, true])
  func `five thousand messages in a burst arrive in both directions, once and in order`(tls: Bool) async throws {
    let broker = try MosquittoBroker(hasTLS: tls)
    let left = broker.options("left", subscriptions: [Subscription(filter: "to/left")], tls: tls)
    let right = broker.options("right", subscriptions: [Subscription(filter: "to/right")], tls: tls)
    try await Client.with(left) { left in
      try await Client.with(right) { right in
        try await left.opened()
        try await right.opened()
        left.publish(numbered(5000, topic: "to/right"))
        right.publish(numbered(5000, topic: "to/left"))
        for client in [left, right] {
          let record = try await client.record.wait(for: "5,000 messages and 5,000 PUBACKs") {
            $0.answers.count == 5000 && $0.batches.reduce(0) { $0 + $1.count } >= 5000
          }
          #expect(record.messages.map(\.number) == Array(0..<5000))
          #expect(record.messages.allSatisfy { !$0.isDuplicate && !$0.isRetained })
          #expect(record.reasons.allSatisfy { $0 == .success })
          #expect(record.openings.count == 1)
        }
      }
    }
  }

  /// Brokers other than mosquitto put many packets into one TLS record. libmosquitto may come back with some of them
  /// left inside OpenSSL, where poll(2) does not see them. `openssl s_server` stands in for such a broker here.
  @Test func `packets that share a TLS record are all read`() async throws {
    let broker = try MosquittoBroker(hasTLS: true)
    let subscriptions = [Subscription(filter: "t/#")]
    try await Client.with(broker.options("consumer", subscriptions: subscriptions)) { _ = try await $0.opened() }
    try await Client.with(broker.options("publisher")) { publisher in
      publisher.publish(numbered(900, size: 20))
      try await publisher.record.wait(for: "900 PUBACKs") { $0.answers.count == 900 }
    }
    let certificates = try #require(broker.certificates)
    let toBroker = try #require(Loopback.connect(port: broker.port))
    let port = Loopback.freePort()
    let front = try ChildProcess(
      "openssl",
      [
        "s_server", "-accept", "\(port)", "-naccept", "1", "-quiet", "-cert", certificates.certificateFile, "-key",
        certificates.keyFile,
      ], standardInput: toBroker, standardOutput: toBroker)
    defer { front.end(SIGKILL) }
    close(toBroker)
    let options = broker.options("consumer", subscriptions: subscriptions, tls: true) { $0.port = port }
    try await Client.with(options) { consumer in
      let record = try await consumer.record.wait(for: "900 messages") { $0.messages.count == 900 }
      #expect(record.messages.map(\.number) == Array(0..<900))
      #expect(record.events.first == .opened)
    }
  }

  @Test(arguments: [false, true])
  func `a message of two megabytes arrives whole`(tls: Bool) async throws {
    let broker = try MosquittoBroker(hasTLS: tls)
    var generator = SystemRandomNumberGenerator()
    let payload = (0..<(2 << 20) / 8).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
    let options = broker.options("client", subscriptions: [Subscription(filter: "t/large")], tls: tls)
    try await Client.with(options) { client in
      client.publish([OutboundMessage(topic: "t/large", payload: payload)])
      let record = try await client.record.wait(for: "the message and its PUBACK") {
        $0.answers.count == 1 && $0.messages.count == 1
      }
      #expect(record.messages.first?.payload == payload)
      #expect(record.reasons == [.success])
    }
  }

  @Test func `a message that is larger than the broker takes is not sent`() async throws {
    let broker = try MosquittoBroker { _ in ["allow_anonymous true", "max_packet_size 10000"] }
    try await Client.with(broker.options("client")) { client in
      let record = try await client.opened()
      #expect(record.openings.first?.maximumPacketSize == 10_000)
      client.publish([
        OutboundMessage(topic: "t/small", payload: [UInt8](repeating: 0, count: 9000)),
        OutboundMessage(topic: "t/large", payload: [UInt8](repeating: 0, count: 11_000)),
      ])
      let after = try await client.record.wait(for: "one PUBACK, two attempts") {
        $0.published.count == 2 && $0.answers.count == 1
      }
      #expect(after.published.last?.result == .failure(.tooLarge))
      #expect(after.closings.isEmpty)
    }
  }

  // libmosquitto forgets the first byte of the packet when it compares, and a stricter broker would end the connection.
  @Test func `the largest packet that the broker takes is sent, and one byte more is not`() async throws {
    let broker = try MosquittoBroker { _ in ["allow_anonymous true", "max_packet_size 10000"] }
    try await Client.with(broker.options("client")) { client in
      try await client.opened()
      // Around the payload: 1 byte of packet type, 2 of length, 8 of topic, 2 of packet ID, 1 or 20 of properties.
      client.publish([
        OutboundMessage(topic: "t/edge", payload: [UInt8](repeating: 0, count: 9986)),
        OutboundMessage(topic: "t/edge", payload: [UInt8](repeating: 0, count: 9987)),
        OutboundMessage(
          topic: "t/edge", payload: [UInt8](repeating: 0, count: 9967), contentType: "application/json"),
        OutboundMessage(
          topic: "t/edge", payload: [UInt8](repeating: 0, count: 9968), contentType: "application/json"),
      ])
      let record = try await client.record.wait(for: "two PUBACKs, four attempts") {
        $0.published.count == 4 && $0.answers.count == 2
      }
      #expect(record.published[1].result == .failure(.tooLarge))
      #expect(record.published[3].result == .failure(.tooLarge))
      #expect(record.closings.isEmpty)
    }
  }

  @Test func `content type, retained flag, empty payloads and unicode topics travel`() async throws {
    let broker = try MosquittoBroker()
    try await Client.with(broker.options("publisher")) { publisher in
      publisher.publish([
        OutboundMessage(topic: "t/größe/🐄", payload: [0, 255, 10], isRetained: true, contentType: "application/json"),
        OutboundMessage(topic: "t/plain", payload: Array("p".utf8), isRetained: true),
      ])
      try await publisher.record.wait(for: "the PUBACKs") { $0.answers.count == 2 }
      try await Client.with(broker.options("late", subscriptions: [Subscription(filter: "t/#")])) { late in
        let kept = try await late.record.wait(for: "the retained messages") { $0.messages.count == 2 }
        #expect(
          Set(kept.messages.map { "\($0.topic) \($0.payload) \($0.isRetained) \($0.contentType ?? "-")" }) == [
            "t/größe/🐄 [0, 255, 10] true application/json", "t/plain [112] true -",
          ])
        publisher.publish([OutboundMessage(topic: "t/empty", payload: [], isRetained: true)])
        let live = try await late.record.wait(for: "the live message") { $0.messages.count == 3 }
        #expect(live.messages.last == InboundMessage(topic: "t/empty", payload: []))
      }
    }
  }

  @Test func `with no-local a client does not hear itself`() async throws {
    let broker = try MosquittoBroker()
    let subscriptions = [Subscription(filter: "t/both", noLocal: true), Subscription(filter: "t/end")]
    try await Client.with(broker.options("client", subscriptions: subscriptions)) { client in
      client.publish("t/both", "mine")
      client.publish("t/end", "end")
      let record = try await client.record.wait(for: "the last message") { !$0.messages.isEmpty }
      #expect(record.messages.map(\.topic) == ["t/end"])
    }
  }

  @Test func `a flood is handed over in batches with a turn between any two`() async throws {
    let broker = try MosquittoBroker()
    let options = broker.options("consumer", subscriptions: [Subscription(filter: "t/#")]) { $0.batchMessages = 10 }
    try await Client.with(options) { consumer in
      try await consumer.opened()
      try await Client.with(broker.options("publisher")) { publisher in
        publisher.publish(numbered(1000))
        let record = try await consumer.record.wait(for: "1000 messages") { $0.messages.count == 1000 }
        #expect(record.batches.allSatisfy { $0.count <= 10 })
        #expect(record.turns > record.batches.count)
      }
    }
  }
}
