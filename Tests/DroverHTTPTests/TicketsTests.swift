import DroverCore
import Testing

@testable import DroverHTTP

@Suite struct TicketsTests {
  private let tickets = Tickets()
  private let now = ContinuousClock.now
  private let tokens = [
    AccessToken(name: "grafana", digest: [1], access: .read),
    AccessToken(name: "Maria é.", digest: [2], access: .write),
  ]

  @Test func `a ticket is its token's for a minute, and only reads`() throws {
    for token in tokens {
      let ticket = tickets.ticket(for: token, now: now)
      let found = try #require(tickets.token(ticket, of: tokens, now: now.advanced(by: .seconds(58))))
      #expect(found.name == token.name && found.access == .read)
      #expect(tickets.token(ticket, of: tokens, now: now.advanced(by: .seconds(61))) == nil)
    }
  }

  @Test func `a ticket that was changed, of another process, or of a token that is gone is none`() {
    let ticket = tickets.ticket(for: tokens[0], now: now)
    for index in ticket.indices {
      var changed = ticket
      changed.replaceSubrange(index...index, with: ticket[index] == "0" ? "1" : "0")
      #expect(tickets.token(changed, of: tokens, now: now) == nil, "\(changed)")
    }
    for text in ["", ".", "..", "9.9.9", ticket + ".", "99999999999999999999.00.00"] {
      #expect(tickets.token(text, of: tokens, now: now) == nil)
    }
    #expect(Tickets().token(ticket, of: tokens, now: now) == nil)
    #expect(tickets.token(ticket, of: [tokens[1]], now: now) == nil)
  }
}
