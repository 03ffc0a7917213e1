// The files of an encrypted connection. They are looked at here only to say early, and with the key's name, that one of
// them cannot be read; what is in them is judged by the TLS library when it connects.

/// What an `mqtts://` connection needs beyond the system's own certificates. All paths are resolved.
package struct TLSFiles: Equatable, Sendable {
  /// A certificate and its private key, with which Drover proves who it is.
  package struct Identity: Equatable, Sendable {
    package let certificate: String
    package let key: String

    package init(certificate: String, key: String) {
      self.certificate = certificate
      self.key = key
    }
  }

  /// The authorities that may have signed the broker's certificate; nil for those of the system.
  package let ca: String?
  package let identity: Identity?

  package init(ca: String? = nil, identity: Identity? = nil) {
    self.ca = ca
    self.identity = identity
  }
}

extension TLSFiles {
  /// Reads `tls`.
  init(reading tls: Section) {
    let ca = tls.optional("ca", .readableFile(in: tls.folder))
    let certificate = tls.optional("certificate", .readableFile(in: tls.folder))
    let key = tls.optional("key", .readableFile(in: tls.folder))
    Self.demandBoth(tls)
    var identity: Identity?
    if let certificate, let key { identity = Identity(certificate: certificate, key: key) }
    self.init(ca: ca, identity: identity)
  }

  /// Neither of certificate and key is of use without the other.
  static func demandBoth(_ tls: Section) {
    for (one, other) in [("certificate", "key"), ("key", "certificate")] where tls.isGiven(one) && !tls.isGiven(other) {
      tls.report("`certificate` and `key` are given together; `\(other)` is missing", at: one)
    }
  }
}
