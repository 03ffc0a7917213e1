import DroverConfiguration
import DroverCore
import Testing

@Suite struct ValueTests {
  @Test(arguments: [
    ("10s", 10), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("60000ms", 60), ("3650d", 315_360_000), ("010s", 10),
  ])
  func `a duration is a whole number and a unit`(text: String, seconds: Int) throws {
    #expect(try cloud(leastCloud + "session_expiry: \(text)").connection.sessionExpiry == .seconds(seconds))
  }

  // The long ones leave 64 bits; two of them would be within the bounds if they came around.
  @Test(arguments: [
    "9s", "3651d", "10500ms", "1.5h", "10 s", "-10s", "10S", "s", "1w", "1h30m", "９９s", "9223372036854775807d",
    "4296767644483851d",
    "99999999999999999999s",
  ])
  func `what is no duration within the bounds is an error`(text: String) {
    #expect(
      problems(try cloud(leastCloud + "session_expiry: \(text)")) == [
        """
        cloud.yaml:3:1: session_expiry: expected a duration in whole seconds from 10s to 3650d, \
        such as 30s, 5m, 2h or 7d; found "\(text)"
        """
      ])
  }

  @Test func `a duration without a unit names the units`() {
    #expect(
      problems(try cloud(leastCloud + "keep_alive: 30")) == [
        "cloud.yaml:3:1: keep_alive: expected a duration with its unit (ms, s, m, h or d), such as 30s; found \"30\""
      ])
  }

  @Test(arguments: [("4s", false), ("5s", true), ("18h", true), ("64801s", false)])
  func `a keep-alive fits MQTT's 16 bits`(text: String, isRight: Bool) {
    #expect(problems(try cloud(leastCloud + "keep_alive: \(text)")).isEmpty == isRight)
  }

  @Test(arguments: [
    ("64KiB", 65_536), ("16MiB", 16_777_216), ("1GiB", 1_073_741_824), ("500kB", 500_000), ("5MB", 5_000_000),
    ("1GB", 1_000_000_000), ("70000", 70_000),
  ])
  func `a size is a whole number and a unit, or bytes`(text: String, bytes: Int) throws {
    #expect(try edge(leastEdge + "window: {bytes: \(text)}").window.bytes == bytes)
  }

  @Test(arguments: [
    "1K", "64kb", "64 KiB", "1.5MiB", "-1", "+70000", "0x100000", "2GiB", "9223372036854775807GiB", "17179869185GiB",
  ])
  func `what is no size within the bounds is an error`(text: String) {
    #expect(
      problems(try edge(leastEdge + "window: {bytes: \(text)}")) == [
        """
        edge.yaml:5:10: window.bytes: expected a size from 1KiB to 1GiB, such as 500kB, 64KiB or 16MiB; \
        found "\(text)"
        """
      ])
  }

  @Test(arguments: ["20_000", "2e3", "1.0", "0x10", "many", "10000001"])
  func `what is no whole number within the bounds is an error`(text: String) {
    #expect(
      problems(try edge(leastEdge + "window: {events: \(text)}")) == [
        "edge.yaml:5:10: window.events: expected a whole number from 1 to 10000000; found \"\(text)\""
      ])
  }

  @Test(arguments: ["a/b", "a+b", "a#b", "\"a\\u0001\"", "\"\""])
  func `a client ID has no characters of topics`(text: String) {
    let found = problems(try cloud(leastCloud + "client_id: \(text)"))
    #expect(found.count == 1)
    #expect(found.first?.contains("client_id: expected a client ID of 1 to 128 bytes") == true)
  }

  @Test func `values in quotes are the same values`() throws {
    #expect(try cloud(leastCloud + "keep_alive: \"45s\"").connection.keepAlive == .seconds(45))
    #expect(try edge(leastEdge + "frame: {events: '9'}").frame.events == 9)
  }
}
