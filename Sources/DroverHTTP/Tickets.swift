// Tickets for readers that cannot send a header, such as a browser's EventSource: a text for the URL that shows for a minute that its owner has a token.
// The server keeps none of them. A ticket bears its end and the token's name, and a code over both with a key that lives as long as the process.

import DroverCore
import DroverHashing
import DroverWire
import HTTPTypes
import HummingbirdCore

package struct Tickets: Sendable {
  package static let path = "/v1/ticket"
  /// The parameter of a URL.
  static let parameter = "ticket"
  private static let seconds: Int64 = 60

  private let key: [UInt8]
  private let start = ContinuousClock.now

  package init() { key = (0..<32).map { _ in UInt8.random(in: .min ... .max) } }

  /// A ticket for the token of the request.
  package var route: Route {
    Route(.get, Self.path) { _, asking in
      guard let token = asking.token else { throw Problem(.forbidden, "A ticket is for the owner of a token.") }
      return .json(
        .object([("ticket", .string(ticket(for: token, now: .now))), ("seconds", .integer(Self.seconds))]))
    }
  }

  func ticket(for token: AccessToken, now: ContinuousClock.Instant) -> String {
    let text = "\(second(now) + Self.seconds).\(hex(Array(token.name.utf8)))"
    return "\(text).\(code(text))"
  }

  /// The token whose ticket this is; it may read, whatever else the token may. Nil for every other text, and for a ticket of more than a minute ago.
  func token(_ ticket: String, of tokens: [AccessToken], now: ContinuousClock.Instant) -> AccessToken? {
    let parts = ticket.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, let end = Int64(parts[0]),
      isSame(code("\(parts[0]).\(parts[1])"), String(parts[2])), second(now) < end
    else { return nil }
    return tokens.first { hex(Array($0.name.utf8)) == parts[1] }
      .map { AccessToken(name: $0.name, digest: $0.digest, access: .read) }
  }

  private func second(_ now: ContinuousClock.Instant) -> Int64 { start.duration(to: now).components.seconds }

  private func code(_ text: String) -> String { hex(SHA256.code(for: Array(text.utf8), key: key)) }

  /// In the same time wherever they differ.
  private func isSame(_ a: String, _ b: String) -> Bool {
    a.utf8.count == b.utf8.count && zip(a.utf8, b.utf8).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  private func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef")
    return String(bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }
}
