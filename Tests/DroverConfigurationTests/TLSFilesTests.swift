import DroverConfiguration
import Testing

@Suite struct TLSFilesTests {
  private let secure = "broker: mqtts://b\nstore: sqlite:c.db\n"

  @Test func `an encrypted connection needs no keys for it`() throws {
    #expect(try cloud(secure).connection.tls == TLSFiles())
    #expect(try cloud(leastCloud).connection.tls == nil)
  }

  @Test func `files for an unencrypted connection are an error`() throws {
    try withFolder(["ca.pem": ""]) { folder in
      #expect(
        problems(try cloud(leastCloud + "tls: {ca: ca.pem}", in: folder)) == [
          "cloud.yaml:3:1: tls: `tls` needs a broker with mqtts://, and this one is mqtt://127.0.0.1:1883"
        ])
    }
  }

  @Test func `a certificate and its key come together`() throws {
    try withFolder(["c.pem": ""]) { folder in
      #expect(
        problems(try cloud(secure + "tls: {certificate: c.pem}", in: folder)) == [
          "cloud.yaml:3:7: tls.certificate: `certificate` and `key` are given together; `key` is missing"
        ])
      #expect(
        problems(try cloud(secure + "tls: {key: c.pem}", in: folder)) == [
          "cloud.yaml:3:7: tls.key: `certificate` and `key` are given together; `certificate` is missing"
        ])
    }
  }

  @Test func `a file that cannot be read is named with the cause`() throws {
    try withFolder { folder in
      #expect(
        problems(try cloud(secure + "tls: {ca: ./ca.pem}", in: folder)) == [
          "cloud.yaml:3:7: tls.ca: cannot read \(folder)/ca.pem: No such file or directory"
        ])
      #expect(
        problems(try cloud(secure + "tls: {ca: .}", in: folder)) == [
          "cloud.yaml:3:7: tls.ca: cannot read \(folder)/.: Is a directory"
        ])
    }
  }
}
