// Where the broker is. The URL names a server and nothing else: credentials and certificates have keys of their own,
// because a URL is what people paste into tickets and logs.

import Foundation

/// A broker's host and port, and whether the connection is encrypted.
package struct BrokerEndpoint: Equatable, Sendable, CustomStringConvertible {
  /// A host name or an address; an IPv6 address stands here without brackets.
  package let host: String
  package let port: Int
  package let usesTLS: Bool

  package init(host: String, port: Int, usesTLS: Bool) {
    self.host = host
    self.port = port
    self.usesTLS = usesTLS
  }

  /// The URL with its port, e.g. `mqtt://127.0.0.1:1883`.
  package var description: String {
    let bracketed = host.contains(":") ? "[\(host)]" : host
    return "\(usesTLS ? "mqtts" : "mqtt")://\(bracketed):\(port)"
  }
}

extension Form where Value == BrokerEndpoint {
  /// `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.
  static var broker: Form {
    Form(
      "mqtt://HOST[:PORT] or mqtts://HOST[:PORT]",
      // What has an @ or a query in it may hold a password, also where the rest is no URL.
      hides: { $0.contains("@") || $0.contains("?") },
      parse: { text throws(Refusal) in
        let usesTLS: Bool
        let rest: Substring
        if text.hasPrefix("mqtt://") {
          (usesTLS, rest) = (false, text.dropFirst(7))
        } else if text.hasPrefix("mqtts://") {
          (usesTLS, rest) = (true, text.dropFirst(8))
        } else {
          return nil
        }
        guard !rest.contains("@") else {
          throw Refusal(
            "do not write a user or password into the broker's URL; use `credentials` with `username` and "
              + "`password_file`, or the environment variables \(Credentials.usernameVariable) and "
              + Credentials.passwordVariable)
        }
        guard !rest.contains(where: { "/?#".contains($0) }) else {
          throw Refusal("nothing follows the broker's host and port: no path, query or fragment")
        }
        let (host, port) = try hostAndPort(rest)
        return BrokerEndpoint(host: host, port: port ?? (usesTLS ? 8883 : 1883), usesTLS: usesTLS)
      })
  }

  /// `HOST[:PORT]`, an IPv6 address in brackets; the result has none.
  static func hostAndPort(_ text: Substring) throws(Refusal) -> (String, Int?) {
    let host: Substring
    let afterHost: Substring
    if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
      host = text[text.index(after: text.startIndex)..<end]
      afterHost = text[text.index(after: end)...]
      guard isIPv6(host) else { throw Refusal("expected an IPv6 address in brackets; found \(quoted(String(host)))") }
    } else {
      host = text.prefix { $0 != ":" }
      afterHost = text[host.endIndex...]
      guard !afterHost.dropFirst().contains(":") else {
        throw Refusal("an IPv6 address stands in brackets, as in [::1]:1883; found \(quoted(String(text)))")
      }
      guard isHostName(host) else { throw Refusal("expected a host name or address; found \(quoted(String(host)))") }
    }
    guard !afterHost.isEmpty else { return (String(host), nil) }
    guard afterHost.hasPrefix(":"), let port = wholeNumber(afterHost.dropFirst()), (1...65_535).contains(port) else {
      throw Refusal("expected a port from 1 to 65535 after the host; found \(quoted(String(afterHost)))")
    }
    return (String(host), port)
  }

  /// An address without brackets; a zone (`fe80::1%eth0`) is left to the resolver.
  private static func isIPv6(_ text: Substring) -> Bool {
    let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
    if parts.count == 2, parts[1].isEmpty || !parts[1].utf8.allSatisfy(isHostNameByte) { return false }
    var address = in6_addr()
    return inet_pton(AF_INET6, String(parts[0]), &address) == 1
  }

  private static func isHostName(_ text: Substring) -> Bool {
    (1...253).contains(text.utf8.count) && text.utf8.allSatisfy(isHostNameByte)
  }

  /// Letters, digits, dots and hyphens, and the underscore, which container networks use.
  private static func isHostNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
      true
    default: false
    }
  }
}
