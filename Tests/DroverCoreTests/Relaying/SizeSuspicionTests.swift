// Frames that MQTT 3.1.1 finds too large without a word.

import DroverCore
import Testing

@Suite struct SizeSuspicionTests {
  private typealias Suspect = SizeSuspicion.Suspect

  private func token(_ number: Int32) -> PublishToken { PublishToken(rawValue: number) }

  private func closed(_ suspicion: inout SizeSuspicion) -> Suspect? { suspicion.closed() }

  private func lost(
    _ suspicion: inout SizeSuspicion, _ suspect: Suspect, confirmed: Int, isAnswered: Bool
  ) -> Bool { suspicion.lost(suspect, confirmed: confirmed, isAnswered: isAnswered) }

  // With MQTT 3.1.1 a broker with max_packet_size throws the client out, which came back with the same frame without a word, for ever.
  @Test func `a frame that ends the connection twice, and that is larger than what passed, is the likely cause`() {
    var suspicion = SizeSuspicion()
    suspicion.opened(level: 4)
    suspicion.published(token(1), Suspect(stream: 1, events: 2, bytes: 100))
    suspicion.acknowledged(token(1))
    let large = Suspect(stream: 1, events: 9, bytes: 5000)
    suspicion.published(token(2), Suspect(stream: 1, events: 1, bytes: 80))
    suspicion.published(token(3), large)
    #expect(closed(&suspicion) == nil)
    suspicion.opened(level: 4)
    suspicion.published(token(1), large)
    #expect(closed(&suspicion) == large)
  }

  @Test func `a connection that is lost otherwise is nobody's fault`() {
    var suspicion = SizeSuspicion()
    for _ in 0..<5 {
      suspicion.opened(level: 4)
      suspicion.published(token(1), Suspect(stream: 1, events: 2, bytes: 100))
      suspicion.acknowledged(token(1))
      suspicion.published(token(2), Suspect(stream: 1, events: 2, bytes: 90))
      #expect(closed(&suspicion) == nil)
    }
  }

  @Test func `a broker that speaks MQTT 5 says it itself`() {
    var suspicion = SizeSuspicion()
    for _ in 0..<5 {
      suspicion.opened(level: 5)
      let large = Suspect(stream: 1, events: 9, bytes: 5000)
      suspicion.published(token(1), large)
      #expect(closed(&suspicion) == nil)
      #expect(!lost(&suspicion, large, confirmed: 10, isAnswered: true))
    }
  }

  @Test func `a frame that is acknowledged and lost again and again is too large when smaller ones are confirmed`() {
    var suspicion = SizeSuspicion()
    suspicion.opened(level: 4)
    let large = Suspect(stream: 1, events: 1, bytes: 5000)
    #expect(!lost(&suspicion, large, confirmed: 100, isAnswered: true))
    #expect(lost(&suspicion, large, confirmed: 100, isAnswered: true))
    #expect(!lost(&suspicion, Suspect(stream: 1, events: 1, bytes: 50), confirmed: 100, isAnswered: true))
    #expect(!lost(&suspicion, large, confirmed: 100, isAnswered: true), "the count begins anew")
    #expect(!lost(&suspicion, large, confirmed: 0, isAnswered: false), "perhaps the consumer is away")
    #expect(lost(&suspicion, large, confirmed: 0, isAnswered: true))
  }
}
