import DroverCore
import Testing

@Suite struct EndpointPaceTests {
  private let start = ContinuousClock().now

  private func failed(_ count: Int, retryAfter: Duration? = nil, seed: UInt64 = 7) -> EndpointPace {
    var pace = EndpointPace()
    for _ in 0..<count { pace.failed(now: start, retryAfter: retryAfter, seed: seed) }
    return pace
  }

  private func delay(_ pace: EndpointPace) -> Duration { start.duration(to: pace.nextAt!) }

  @Test func `without a failure the endpoint is asked at any time`() {
    #expect(EndpointPace().mayAsk(now: start))
  }

  @Test func `after a failure it is left alone for a time that grows`() {
    for (failures, longest) in [(1, 2), (2, 4), (3, 8), (4, 16)] {
      let pace = failed(failures)
      #expect(!pace.mayAsk(now: start))
      #expect(pace.mayAsk(now: pace.nextAt!))
      #expect(delay(pace) >= .seconds(longest) / 2 && delay(pace) <= .seconds(longest))
    }
  }

  @Test func `delays differ from consumer to consumer`() {
    #expect(Set((0..<20).map { delay(failed(1, seed: $0)) }).count > 10)
  }

  @Test func `the fifth failure in a row opens the circuit, and says so once`() {
    var pace = EndpointPace()
    let opened = (0..<8).map { _ in pace.failed(now: start, retryAfter: nil, seed: 1) }
    #expect(opened == [false, false, false, false, true, false, false, false])
    #expect(pace.isOpen)
    #expect(delay(failed(5)) >= .seconds(60))
    #expect(delay(failed(50)) <= .seconds(600))
  }

  @Test func `a success closes the circuit and forgets the failures`() {
    var pace = failed(6)
    #expect(pace.succeeded() == 6)
    #expect(!pace.isOpen)
    #expect(pace.mayAsk(now: start))
    pace.failed(now: start, retryAfter: nil, seed: 7)
    #expect(delay(pace) <= .seconds(2))
  }

  @Test func `Retry-After is honoured where it is longer, up to an hour`() {
    #expect(delay(failed(1, retryAfter: .seconds(90))) == .seconds(90))
    #expect(delay(failed(1, retryAfter: .milliseconds(1))) >= .seconds(1))
    #expect(delay(failed(1, retryAfter: .seconds(1_000_000))) == EndpointPace.mostRetryAfter)
  }
}

@Suite struct EndpointTemplateTests {
  private func filled(_ text: String) -> String {
    String(
      decoding: EndpointTemplate(text).filled([("limit", Array("10".utf8)), ("machine", Array("{limit}".utf8))]),
      as: UTF8.self)
  }

  @Test(
    arguments: [
      (#"{"limit": {limit}, "for": "{machine}"}"#, #"{"limit": 10, "for": "{limit}"}"#),
      ("{{limit}}", "{10}"), ("{limit", "{limit"), ("{other}", "{other}"), ("", ""), ("ü{limit}ü", "ü10ü"),
    ])
  func `names in braces are replaced, once`(_ text: String, _ expected: String) {
    #expect(filled(text) == expected)
  }

  @Test func `it says which names it has`() {
    let template = EndpointTemplate(#"{"limit": {limit}}"#)
    #expect(template.has("limit"))
    #expect(!template.has("machine"))
    #expect(!EndpointTemplate("{").has("machine"))
  }
}
