// The session's decisions, without a broker: which version to speak, which failures to log, what not to print.

import Testing

@testable import DroverMQTT

@Suite struct BatchPaceTests {
  /// One that has shown to do 1000 messages quickly.
  private func fast() -> BatchPace {
    var pace = BatchPace(largest: 1000, keepAlive: .seconds(30))
    while pace.messages < 1000 { pace.handed(pace.messages, took: .milliseconds(10)) }
    return pace
  }

  @Test func `a handler that takes too long over a batch gets as many as it can do in a second, and one at least`() {
    var pace = fast()
    pace.handed(1000, took: .milliseconds(900))
    #expect(pace.messages == 1000)
    pace.handed(400, took: .seconds(8))
    #expect(pace.messages == 50)
    pace.handed(1, took: .seconds(8))
    #expect(pace.messages == 1)
  }

  @Test func `it begins with few, and a handler that is fast gets twice as many each time, up to the largest batch`() {
    var pace = BatchPace(largest: 1000, keepAlive: .seconds(30))
    var sizes: [Int] = []
    for _ in 0..<6 {
      sizes.append(pace.messages)
      pace.handed(pace.messages, took: .milliseconds(10))
    }
    #expect(sizes == [64, 128, 256, 512, 1000, 1000])
  }

  @Test func `a batch that was small for want of messages says nothing of larger ones`() {
    var pace = fast()
    pace.handed(1000, took: .seconds(4))
    pace.handed(3, took: .milliseconds(10))
    #expect(pace.messages == 250)
  }

  @Test func `where the broker is impatient less time is too long`() {
    var pace = BatchPace(largest: 1000, keepAlive: .seconds(2))
    pace.handed(64, took: .seconds(1))
    #expect(pace.messages == 32)
  }
}

@Suite struct ProtocolChoiceTests {
  @Test func `a broker that refuses version 5 is asked with 3.1.1 at once, and with 5 first the next time`() {
    var choice = ProtocolChoice()
    #expect(choice.next == .mqtt5)
    let pause1 = choice.ended(.versionRefused)
    #expect(pause1 == .none)
    #expect(choice.next == .mqtt311)
    let pause2 = choice.ended(.otherwise)
    #expect(pause2 == .backoff)
    #expect(choice.next == .mqtt5)
  }

  @Test func `two attempts in a row that are hung up on lead to one attempt with 3.1.1`() {
    var choice = ProtocolChoice()
    let pause3 = choice.ended(.closedBeforeConnack)
    #expect(pause3 == .backoff)
    #expect(choice.next == .mqtt5)
    let pause4 = choice.ended(.closedBeforeConnack)
    #expect(pause4 == .backoff)
    #expect(choice.next == .mqtt311)
    let pause5 = choice.ended(.closedBeforeConnack)
    #expect(pause5 == .backoff)
    #expect(choice.next == .mqtt5)
    let pause6 = choice.ended(.closedBeforeConnack)
    #expect(pause6 == .backoff)
    #expect(choice.next == .mqtt5)
  }

  // amqtt 0.12 reads a CONNECT of MQTT 5 as one of 3.1.1, waits for the rest of it, and says nothing.
  @Test func `a broker that does not answer MQTT 5 at all is asked in 3.1.1 at once, unless it has spoken 5 before`() {
    var choice = ProtocolChoice()
    #expect(choice.mayFallBack)
    let pause = choice.ended(.unanswered)
    #expect(pause == .none && choice.next == .mqtt311 && !choice.mayFallBack)
    choice.opened()
    _ = choice.ended(.otherwise)
    #expect(choice.mayFallBack, "what it spoke was 3.1.1")
    choice.opened()
    #expect(!choice.mayFallBack)
    #expect(!ProtocolChoice(needsMQTT5: true).mayFallBack)
  }

  @Test func `a failure of another kind in between starts the count again`() {
    var choice = ProtocolChoice()
    _ = choice.ended(.closedBeforeConnack)
    _ = choice.ended(.otherwise)
    _ = choice.ended(.closedBeforeConnack)
    #expect(choice.next == .mqtt5)
  }

  @Test func `a broker that refuses even 3.1.1 is not asked again without a pause`() {
    var choice = ProtocolChoice()
    _ = choice.ended(.versionRefused)
    let pause7 = choice.ended(.versionRefused)
    #expect(pause7 == .backoff)
    #expect(choice.next == .mqtt5)
  }
}

@Suite struct RetryLogTests {
  @Test func `the same cause is logged at rising intervals and a new one at once`() {
    var retries = RetryLog()
    let logged = (1...20).filter { _ in retries.failed("refused") }
    #expect(logged == [1, 2, 4, 8, 16])
    let isNewCauseLogged = retries.failed("no route")
    #expect(isNewCauseLogged)
    #expect(retries.attempt == 21)
  }

  @Test func `after a short connection that was of use the delays are short, and the log stays quiet`() {
    var retries = RetryLog()
    for _ in 1...17 {
      _ = retries.failed("hung up")
      retries.carriedSomething()
    }
    #expect(retries.attempt == 3)
    let isLogged = retries.failed("hung up")
    #expect(!isLogged)
  }

  @Test func `after a success the first failure is a first one`() {
    var retries = RetryLog()
    for _ in 1...3 { _ = retries.failed("refused") }
    retries.succeeded()
    #expect(retries.attempt == 0)
    let isLogged = retries.failed("refused")
    #expect(isLogged)
    #expect(retries.attempt == 1)
  }
}

@Suite struct MQTTOptionsTests {
  @Test func `a password does not show in anything that is printed`() {
    let options = MQTTOptions(host: "broker", clientID: "MAH001", username: "mah", password: Secret("hunter2"))
    var dumped = ""
    dump(options, to: &dumped)
    #expect(!"\(options) \(String(reflecting: options)) \(dumped)".contains("hunter2"))
    #expect(options.password?.reveal() == "hunter2")
  }
}
