@testable import DroverHTTP
import Testing

@Suite struct RequestRateTests {
  @Test func `a second's requests may come at once, and then as fast as they are allowed`() {
    var rate = RequestRate(perSecond: 4)
    for _ in 0..<4 { #expect(rate.take("a", now: .seconds(10)) == nil) }
    #expect(rate.take("a", now: .seconds(10)) == .milliseconds(250))
    #expect(rate.take("a", now: .milliseconds(10_200)) == .milliseconds(50))
    #expect(rate.take("a", now: .milliseconds(10_250)) == nil)
    #expect(rate.take("a", now: .milliseconds(10_250)) == .milliseconds(250))
  }

  @Test func `one client takes nothing from another, and rest gives no more than a second's`() {
    var rate = RequestRate(perSecond: 2)
    for _ in 0..<2 { #expect(rate.take("a", now: .zero) == nil) }
    #expect(rate.take("a", now: .zero) != nil)
    for _ in 0..<2 { #expect(rate.take("b", now: .zero) == nil) }
    for _ in 0..<2 { #expect(rate.take("a", now: .seconds(3600)) == nil) }
    #expect(rate.take("a", now: .seconds(3600)) != nil)
  }

  @Test func `however many clients come, few are remembered`() {
    var rate = RequestRate(perSecond: 1)
    for number in 0..<50_000 { #expect(rate.take("\(number)", now: .milliseconds(number)) == nil) }
    #expect(rate.clients <= 10_000)
    // Who came just now is remembered.
    #expect(rate.take("49999", now: .milliseconds(50_000)) != nil)
  }
}
