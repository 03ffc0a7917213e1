// Who may come in, and to whom: a server on a port of loopback that takes TLS and passwords alone, with a CA of the test's own.

import DroverPostgreSQL
import DroverProcesses
import DroverTesting
import Testing

@Suite(.ownThread) struct LoginTests {
  private static let password = "right-geheim"

  private let folder: TemporaryFolder
  private let ours, other: Certificates
  private let server: PostgreSQLServer

  init() throws {
    folder = try TemporaryFolder()
    ours = try Certificates(in: folder)
    other = try Certificates(in: folder, prefix: "other-")
    server = try PostgreSQLServer(certificates: ours)
    try Connection(PostgreSQLAddress(uri: server.uri()))
      .run("CREATE ROLE keeper LOGIN PASSWORD '\(Self.password)'")
  }

  /// What is said when somebody is not let in, or does not want to.
  private func refusal(_ uri: String, password: String?) -> String {
    do {
      _ = try Connection(PostgreSQLAddress(uri: uri, password: password))
      return "(let in)"
    } catch {
      return "\(error)"
    }
  }

  private func full(_ host: String = "localhost", ca: String? = nil) -> String {
    server.tlsURI(user: "keeper", host: host, "sslmode=verify-full", "sslrootcert=\(ca ?? ours.caFile)")
  }

  @Test func `a password and a certificate that fit open an encrypted connection`() throws {
    let connection = try Connection(PostgreSQLAddress(uri: full(), password: Self.password))
    #expect(try connection.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").boolean(0, 0))
    let owner = try Connection(PostgreSQLAddress(uri: server.uri()))
    let kept = try owner.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'keeper'").text(0, 0)
    #expect(kept.hasPrefix("SCRAM-SHA-256$"))
  }

  @Test(arguments: ["wrong-geheim", nil])
  func `who has another password, or none, is told what to check, and no password`(password: String?) {
    let text = refusal(full(), password: password)
    #expect(text.contains(/^connect to localhost:\d+\/postgres:/) && text.contains("password"), "\(text)")
    #expect(text.hasSuffix("; check the user in `store:`, its password and pg_hba.conf"), "\(text)")
    #expect(!text.contains("geheim"))
  }

  @Test func `a server with a certificate of another CA, or of another name, is refused`() throws {
    let uris = [full(ca: other.caFile), full("db.example"), full(ca: "/nowhere/ca.pem")]
    let causes = ["certificate verify failed", "does not match host name \"db.example\"", "/nowhere/ca.pem"]
    for (uri, cause) in zip(uris, causes) {
      let text = refusal(uri, password: Self.password)
      #expect(text.contains(cause) && text.contains("`sslmode` and `sslrootcert` in `store:`"), "\(text)")
      #expect(!text.contains("geheim"))
    }
  }

  @Test func `who speaks in clear is not let in, and told why`() {
    let text = refusal(server.tlsURI(user: "keeper", "sslmode=disable"), password: Self.password)
    #expect(text.contains("no encryption") && text.contains("pg_hba.conf") && !text.contains("geheim"), "\(text)")
  }
}
