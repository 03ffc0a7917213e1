// The life of connections: they open, end, come again and say farewell, and a person can read in the log why.

import DroverCore
import DroverMQTT
import DroverProcesses
import DroverTesting
import Glibc
import Testing

@Suite(.programs) struct ConnectionTests {
  @Test func `birth and will are heard by others`() async throws {
    let broker = try MosquittoBroker()
    try await Client.with(broker.options("watcher", subscriptions: [Subscription(filter: "status")])) { watcher in
      try await watcher.opened()
      let options = broker.options("machine", subscriptions: [Subscription(filter: "poison")]) {
        $0.will = OutboundMessage(topic: "status", payload: Array("gone".utf8), contentType: "text/plain")
      }
      var manner = Manner()
      manner.birth = OutboundMessage(topic: "status", payload: Array("born".utf8))
      // The connection is dropped without DISCONNECT, as by a power cut.
      manner.onReceived = { _, number in if number == 0 { throw Refusal() } }
      try await Client.with(options, manner: manner) { machine in
        try await watcher.record.wait(for: "the birth") { $0.messages.map(\.text) == ["born"] }
        watcher.publish("poison", "x")
        let record = try await watcher.record.wait(for: "the will and the second birth") { $0.messages.count == 3 }
        #expect(record.messages.map(\.text) == ["born", "gone", "born"])
        #expect(record.messages[1].contentType == "text/plain")
      }
    }
  }

  @Test func `a broker that was killed is found again`() async throws {
    let broker = try MosquittoBroker(isPersistent: true)
    var manner = Manner()
    manner.afterword = OutboundMessage(topic: "t/late", payload: [])
    let options = broker.options("client", subscriptions: [Subscription(filter: "t/#")])
    try await Client.with(options, manner: manner) { client in
      let first = try await client.opened()
      #expect(first.openings.first == SessionInfo(sessionPresent: false, protocolLevel: 5))
      broker.kill()
      let closed = try await client.record.wait(for: "the end of the connection") { $0.closings.count == 1 }
      #expect(closed.closings.first?.contains("127.0.0.1:\(broker.port)") == true)
      #expect(closed.published.last?.result == .failure(.notConnected))
      try broker.start()
      try await client.opened(times: 2)
      client.publish("t/again", "hello")
      let record = try await client.record.wait(for: "a message of one's own") { !$0.messages.isEmpty }
      #expect(record.messages.map(\.text) == ["hello"])
      #expect(record.events.prefix(3) == [.opened, .closed, .opened])
    }
  }

  @Test func `a broker that falls silent is given up, and found again when it speaks`() async throws {
    let broker = try MosquittoBroker()
    let options = broker.options("client") { $0.keepAlive = .seconds(5) }
    try await Client.with(options) { client in
      try await client.opened()
      broker.freeze()
      let record = try await client.record.wait(for: "the end of the connection") { $0.closings.count == 1 }
      #expect(record.closings.first?.contains("did not answer a PINGREQ") == true)
      broker.thaw()
      try await client.opened(times: 2)
    }
  }

  @Test(arguments: [false, true])
  func `a persistent session gets what was published while it was away`(brokerDiesMeanwhile: Bool) async throws {
    let broker = try MosquittoBroker(isPersistent: true)
    let options = broker.options("consumer", subscriptions: [Subscription(filter: "t/#")])
    try await Client.with(options) { _ = try await $0.opened() }
    try await Client.with(broker.options("publisher")) { publisher in
      publisher.publish(numbered(50))
      try await publisher.record.wait(for: "50 PUBACKs") { $0.answers.count == 50 }
    }
    if brokerDiesMeanwhile {
      broker.stop()
      try broker.start()
    }
    try await Client.with(options) { consumer in
      let record = try await consumer.record.wait(for: "50 messages") { $0.messages.count == 50 }
      #expect(record.messages.map(\.number) == Array(0..<50))
      #expect(record.openings.first?.sessionPresent == true)
      #expect(record.events.first == .opened)
    }
  }

  @Test func `stop sends what was published, waits for the answers and says farewell`() async throws {
    let broker = try MosquittoBroker()
    try await Client.with(broker.options("watcher", subscriptions: [Subscription(filter: "t/#")])) { watcher in
      try await watcher.opened()
      let options = broker.options("machine") {
        $0.will = OutboundMessage(topic: "t/status", payload: Array("gone".utf8))
      }
      var manner = Manner()
      manner.farewell = OutboundMessage(topic: "t/status", payload: Array("goodbye".utf8))
      let record = try await Client.with(options, manner: manner) { machine in
        try await machine.opened()
        machine.publish(numbered(1000))
        try await machine.record.wait(for: "the handing over") { $0.published.count == 1000 }
        return machine.record
      }
      // `with` has stopped the session and waited for its end.
      #expect(record.now.published.count == 1001)
      #expect(record.now.answers.count == 1001)
      #expect(record.now.closings == ["stopped"])
      let heard = try await watcher.record.wait(for: "all of it") { $0.messages.count == 1001 }
      #expect(heard.messages.last?.text == "goodbye")
      // A will would come before whatever is published now.
      watcher.publish("t/end", "end")
      let end = try await watcher.record.wait(for: "the end") { $0.messages.count == 1002 }
      #expect(end.messages.last?.text == "end")
    }
  }

  @Test func `stop does not wait for a handler that is never drained`() async throws {
    let broker = try MosquittoBroker()
    var manner = Manner()
    manner.isNeverDrained = true
    manner.farewell = OutboundMessage(topic: "t/status", payload: Array("goodbye".utf8))
    let options = broker.options("machine") { $0.drainTimeout = .milliseconds(100) }
    let record = try await Client.with(options, manner: manner) { machine in
      try await machine.opened()
      return machine.record
    }
    #expect(record.now.answers.count == 1)
  }

  @Test func `stop ends a session that never got an answer to its SYN`() async throws {
    let (port, sockets) = Loopback.silentPort()
    defer { for socket in sockets { close(socket) } }
    let options = MQTTOptions(host: "127.0.0.1", port: port, clientID: "machine", drainTimeout: .milliseconds(100))
    var manner = Manner()
    manner.isNeverDrained = true
    let record = try await Client.with(options, manner: manner) { machine in
      try await machine.record.wait(for: "turns without a connection") { $0.turns > 0 }
      let before = machine.record.now.turns
      machine.session.wake()
      try await machine.record.wait(for: "a turn for the wake-up") { $0.turns > before }
      return machine.record
    }
    #expect(record.now.events.isEmpty)
  }

  @Test func `a refused port is logged once with what happens next`() async throws {
    let port = Loopback.freePort()
    try await Client.with(MQTTOptions(host: "127.0.0.1", port: port, clientID: "machine")) { machine in
      let lines = try await machine.log.lines.wait(for: "a line") { !$0.isEmpty }
      #expect(lines[0].hasPrefix("warning: connect to 127.0.0.1:\(port) refused; trying again in 0."))
    }
  }

  @Test func `wrong credentials get a helpful line that does not hold the password`() async throws {
    let broker = try MosquittoBroker { folder in
      let file = folder.file("passwords")
      try ChildProcess.run("mosquitto_passwd", ["-b", "-c", file, "mah", "right"])
      return ["allow_anonymous false", "password_file \(file)"]
    }
    let options = broker.options("machine", subscriptions: [Subscription(filter: "t/#")]) {
      $0.username = "mah"
      $0.password = Secret("wrong-hunter2")
    }
    try await Client.with(options) { machine in
      let lines = try await machine.log.lines.wait(for: "a line") { !$0.isEmpty }
      #expect(lines[0].contains("refused the connection: not authorised as user mah; check user name, password"))
      #expect(!lines.joined().contains("hunter2"))
      #expect(machine.record.now.events.isEmpty)
    }
    let right = broker.options("machine") {
      $0.username = "mah"
      $0.password = Secret("right")
    }
    try await Client.with(right) { _ = try await $0.opened() }
  }

  @Test func `a broker with a certificate of another CA is refused, and the line names the CA's file`() async throws {
    let broker = try MosquittoBroker(hasTLS: true)
    let other = try Certificates(in: broker.folder, prefix: "other-")
    let options = broker.options("machine", tls: true) { $0.tls = TLSOptions(caFile: other.caFile) }
    try await Client.with(options) { machine in
      let lines = try await machine.log.lines.wait(for: "a line") { !$0.isEmpty }
      #expect(lines[0].contains("TLS with 127.0.0.1:\(broker.tlsPort!) failed: certificate verify failed"))
      #expect(lines[0].contains(other.caFile))
    }
  }

  @Test func `the operating system's CAs do not know a test's CA`() async throws {
    let broker = try MosquittoBroker(hasTLS: true)
    let options = broker.options("machine", tls: true) { $0.tls = TLSOptions() }
    try await Client.with(options) { machine in
      let lines = try await machine.log.lines.wait(for: "a line") { !$0.isEmpty }
      #expect(lines[0].contains("certificate verify failed") && lines[0].contains("operating system's CAs"))
    }
  }

  @Test func `a CA file that is not there is named`() async throws {
    let broker = try MosquittoBroker(hasTLS: true)
    let options = broker.options("machine", tls: true) { $0.tls = TLSOptions(caFile: "/nowhere/ca.pem") }
    try await Client.with(options) { machine in
      let lines = try await machine.log.lines.wait(for: "a line") { !$0.isEmpty }
      #expect(lines[0].contains("cannot read /nowhere/ca.pem: No such file"))
    }
  }

  @Test(arguments: [false, true])
  func `TLS and plain TCP that meet each other lead to a hint`(clientSpeaksTLS: Bool) async throws {
    let broker = try MosquittoBroker(hasTLS: true)
    let options = broker.options("machine", tls: clientSpeaksTLS) {
      $0.port = clientSpeaksTLS ? broker.port : broker.tlsPort!
    }
    try await Client.with(options) { machine in
      let lines = try await machine.log.lines.wait(for: "a line") { !$0.isEmpty }
      #expect(lines[0].contains(clientSpeaksTLS ? "does this port speak TLS" : "does this port expect TLS"))
    }
  }

  @Test func `a subscription that the broker refuses is named, and the session does not open`() async throws {
    let broker = try MosquittoBroker { folder in
      let rules = """
        {"defaultACLAccess": {"publishClientSend": true, "publishClientReceive": true, "subscribe": false,
          "unsubscribe": true}, "groups": [{"groupname": "all", "roles": [{"rolename": "some"}]}],
          "roles": [{"rolename": "some", "acls": [
            {"acltype": "subscribePattern", "topic": "open/#", "priority": 0, "allow": true}]}],
          "anonymousGroup": "all"}
        """
      let file = try folder.write(rules, to: "rules.json")
      return [
        "allow_anonymous true", "plugin \(try MosquittoBroker.plugin("mosquitto_dynamic_security"))",
        "plugin_opt_config_file \(file)",
      ]
    }
    let subscriptions = [Subscription(filter: "open/#"), Subscription(filter: "closed/#")]
    try await Client.with(broker.options("machine", subscriptions: subscriptions)) { machine in
      let lines = try await machine.log.lines.wait(for: "a line") { !$0.isEmpty }
      #expect(lines[0].contains("refused the subscription to closed/#: Not authorized (0x87)"))
      #expect(machine.record.now.events.isEmpty)
    }
  }

  /// CONNACK with the property 42, SUBACK of the first SUBSCRIBE, DISCONNECT. mosquitto has shared subscriptions always.
  private static let unshared: [UInt8] = [0x20, 0x05, 0x00, 0x00, 0x02, 42, 0]
  private static let connack: [UInt8] = [0x20, 0x03, 0x00, 0x00, 0x00]

  @Test(arguments: [unshared, connack + [0x90, 0x04, 0, 1, 0, 0x9E], connack + [0xE0, 0x02, 0x9E, 0]])
  func `a broker without shared subscriptions is named, in whatever way it says so`(answer: [UInt8]) async throws {
    let proxy = ConnectProxy(to: 0, .answer(answer))
    let options = MQTTOptions(
      host: "127.0.0.1", port: proxy.port, clientID: "consumer",
      subscriptions: [Subscription(filter: "$share/fleet/t/#")])
    try await Client.with(options) { consumer in
      let lines = try await consumer.log.lines.wait(for: "a line") { !$0.isEmpty }
      #expect(
        lines[0].contains("127.0.0.1:\(proxy.port) has no shared subscriptions; ") && lines[0].contains("`group`"))
      #expect(lines[0].contains("trying again in "))
      #expect(consumer.record.now.events.isEmpty)
    }
  }

  @Test func `who asks for no shared subscription does not mind that there are none`() async throws {
    let proxy = ConnectProxy(to: 0, .answer(Self.unshared + [0x90, 0x04, 0, 1, 0, 1]))
    let options = MQTTOptions(
      host: "127.0.0.1", port: proxy.port, clientID: "consumer", subscriptions: [Subscription(filter: "t/#")])
    try await Client.with(options) { _ = try await $0.opened() }
  }

  @Test func `a second client with the same ID is told of`() async throws {
    let broker = try MosquittoBroker()
    try await Client.with(broker.options("twin")) { first in
      try await first.opened()
      try await Client.with(broker.options("twin")) { _ in
        let record = try await first.record.wait(for: "the end of the connection") { !$0.closings.isEmpty }
        #expect(record.closings[0].contains("another client with the ID twin"))
      }
    }
    // mosquitto 2.0.11 just hangs up; others give the reason 0x8E.
    let proxy = ConnectProxy(to: broker.port, .pass)
    try await Client.with(broker.options("twin") { $0.port = proxy.port }) { first in
      try await first.opened()
      proxy.tellClients([0xE0, 0x01, 0x8E])
      let record = try await first.record.wait(for: "the end of the connection") { !$0.closings.isEmpty }
      #expect(record.closings[0].contains("gave the session to another client with the ID twin"))
    }
  }
}

@Suite(.programs) struct FallbackTests {
  @Test func `a broker that knows only 3.1.1 is spoken to in 3.1.1, and asked for 5 first every time`() async throws {
    let broker = try MosquittoBroker()
    let proxy = ConnectProxy(to: broker.port, .refuse)
    let options = broker.options("client", subscriptions: [Subscription(filter: "t/#", noLocal: true)]) {
      $0.port = proxy.port
      $0.will = OutboundMessage(topic: "t/will", payload: [], contentType: "text/plain")
    }
    try await Client.with(options) { client in
      let record = try await client.opened()
      #expect(record.openings.first?.protocolLevel == 4)
      client.publish([OutboundMessage(topic: "t/a", payload: [1], contentType: "text/plain")])
      let answered = try await client.record.wait(for: "the message and its PUBACK") {
        $0.answers.count == 1 && $0.messages.count == 1
      }
      #expect(answered.messages == [InboundMessage(topic: "t/a", payload: [1])])
      #expect(answered.reasons == [.success])
      proxy.cut()
      let again = try await client.opened(times: 2)
      #expect(again.openings.last == SessionInfo(sessionPresent: true, protocolLevel: 4))
      #expect(proxy.levels.now == [5, 4, 5, 4])
    }
  }

  @Test(arguments: [ConnectProxy.TowardsMQTT5.refuse, .hangUp])
  func `what needs shared subscriptions is never said in 3.1.1`(manner: ConnectProxy.TowardsMQTT5) async throws {
    let broker = try MosquittoBroker()
    let proxy = ConnectProxy(to: broker.port, manner)
    let options = broker.options("client", subscriptions: [Subscription(filter: "$share/fleet/t/#")]) {
      $0.port = proxy.port
    }
    try await Client.with(options) { client in
      try await proxy.levels.wait(for: "four attempts") { $0.count >= 4 }
      #expect(proxy.levels.now.allSatisfy { $0 == 5 })
      let line = try #require(client.log.lines.now.first)
      #expect(line.contains(manner == .refuse ? "does not speak MQTT 5; " : "an MQTT older than 5?"))
      #expect(line.contains("`group`") && line.contains("trying again in "))
      #expect(client.record.now.events.isEmpty)
    }
  }

  @Test func `a broker that hangs up on version 5 is tried with 3.1.1 after the second time`() async throws {
    let broker = try MosquittoBroker()
    let proxy = ConnectProxy(to: broker.port, .hangUp)
    try await Client.with(broker.options("client") { $0.port = proxy.port }) { client in
      let record = try await client.opened()
      #expect(record.openings.first?.protocolLevel == 4)
      #expect(proxy.levels.now == [5, 5, 4])
    }
  }
}
