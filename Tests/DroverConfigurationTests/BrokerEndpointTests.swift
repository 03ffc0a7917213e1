import DroverConfiguration
import Testing

@Suite struct BrokerEndpointTests {
  @Test(arguments: [
    ("mqtt://127.0.0.1:1883", "127.0.0.1", 1883, false),
    ("mqtt://127.0.0.1", "127.0.0.1", 1883, false),
    ("mqtts://broker.example.com", "broker.example.com", 8883, true),
    ("mqtts://broker:1", "broker", 1, true),
    ("mqtt://my_broker:65535", "my_broker", 65_535, false),
    ("mqtt://[::1]", "::1", 1883, false),
    ("mqtts://[fd00::7]:1884", "fd00::7", 1884, true),
    ("mqtt://[fe80::1%eth0]", "fe80::1%eth0", 1883, false),
  ])
  func `a broker's URL is a scheme, a host and a port`(url: String, host: String, port: Int, usesTLS: Bool) throws {
    let broker = try cloud("broker: '\(url)'\nstore: sqlite:c.db").connection.broker
    #expect(broker == BrokerEndpoint(host: host, port: port, usesTLS: usesTLS))
  }

  @Test func `an endpoint describes itself as a URL with its port`() {
    #expect(BrokerEndpoint(host: "::1", port: 1883, usesTLS: false).description == "mqtt://[::1]:1883")
    #expect(BrokerEndpoint(host: "b", port: 8883, usesTLS: true).description == "mqtts://b:8883")
  }

  @Test(arguments: [
    ("tcp://b", "expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]; found \"tcp://b\""),
    ("b:1883", "expected mqtt://HOST[:PORT] or mqtts://HOST[:PORT]; found \"b:1883\""),
    ("mqtt://", "expected a host name or address; found \"\""),
    ("mqtt://a b", "expected a host name or address; found \"a b\""),
    ("mqtt://b:", "expected a port from 1 to 65535 after the host; found \":\""),
    ("mqtt://b:0", "expected a port from 1 to 65535 after the host; found \":0\""),
    ("mqtt://b:65536", "expected a port from 1 to 65535 after the host; found \":65536\""),
    ("mqtt://b:+1", "expected a port from 1 to 65535 after the host; found \":+1\""),
    ("mqtt://::1", "an IPv6 address stands in brackets, as in [::1]:1883; found \"::1\""),
    ("mqtt://[b]", "expected an IPv6 address in brackets; found \"b\""),
    ("mqtt://[::1]x", "expected a port from 1 to 65535 after the host; found \"x\""),
    ("mqtt://[::1", "an IPv6 address stands in brackets, as in [::1]:1883; found \"[::1\""),
    ("mqtt://b/", "nothing follows the broker's host and port: no path, query or fragment"),
    ("mqtt://b/topic", "nothing follows the broker's host and port: no path, query or fragment"),
    ("mqtt://b?tls=1", "nothing follows the broker's host and port: no path, query or fragment"),
    ("mqtt://b#1", "nothing follows the broker's host and port: no path, query or fragment"),
  ])
  func `what is no broker's URL is an error`(url: String, message: String) {
    #expect(
      problems(try cloud("broker: '\(url)'\nstore: sqlite:c.db")) == ["cloud.yaml:1:1: broker: \(message)"])
  }

  @Test(arguments: ["mqtt://maria:hunter2@b", "mqtts://maria:hunter2@b:1/", "maria:hunter2@b", "mqtt:maria?p=hunter2"])
  func `a password in the URL is refused and not shown`(url: String) {
    let found = problems(try cloud("broker: \(url)\nstore: sqlite:c.db"))
    #expect(found.count == 1)
    #expect(found.contains { $0.contains("hunter2") } == false)
  }

  @Test func `credentials in the URL are sent to where they belong`() {
    #expect(
      problems(try cloud("broker: mqtt://maria:hunter2@b\nstore: sqlite:c.db")) == [
        """
        cloud.yaml:1:1: broker: do not write a user or password into the broker's URL; use `credentials` with \
        `username` and `password_file`, or the environment variables DROVER_USERNAME and DROVER_PASSWORD
        """
      ])
  }
}
