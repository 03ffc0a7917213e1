// Names are checked where they enter, because later they stand in topics and in SQL.

import DroverCore
import Testing

@Suite struct IdentitiesTests {
  @Test(arguments: ["M", "7", "MAH001", "a.b_c-d", String(repeating: "x", count: 64)])
  func `a machine may be called`(text: String) throws {
    #expect(try MachineID(text).text == text)
    #expect(try MachineID(text).description == text)
  }

  @Test(arguments: [
    "", ".a", "-a", "_a", "a/b", "a b", "a+", "#", "é", "a\u{301}", "a\n", "a\0", String(repeating: "x", count: 65),
  ])
  func `a machine may not be called`(text: String) {
    #expect(throws: InvalidName.self) { try MachineID(text) }
  }

  @Test(arguments: [
    "stock", "Bestand je Lager", "größe", "倉庫", "🐄", "a$", "drover", "sqlite", "sqlitex_", "\u{301}x", "\u{200d}x",
    String(repeating: "x", count: 128), String(repeating: "é", count: 64),
  ])
  func `a stream may be called`(text: String) throws {
    #expect(try Array(StreamName(text).text.utf8) == Array(text.utf8))
  }

  @Test(arguments: [
    "", "a/b", "+", "a+", "#", "a#b", "a\0", "a\tb", "a\nb", "a\r\nb", "a\u{7f}", "a\u{80}", "a\u{9f}", "$SYS",
    "drover_x", "DROVER_x",
    "sqlite_master", "SQLite_x", "a/\u{301}", "a+\u{301}b", "#\u{fe0f}\u{20e3}", String(repeating: "x", count: 129),
    String(repeating: "é", count: 64) + "x",
  ])
  func `a stream may not be called`(text: String) {
    #expect(throws: InvalidName.self) { try StreamName(text) }
  }

  // A combining mark behind '$' or '_' makes another Character of it, and Character by Character a reserved prefix went unseen:
  // SQLite, which compares bytes, would have refused the sink table and with it every transaction of the consumer.
  @Test(arguments: ["$\u{301}x", "drover_\u{301}", "sqlite_\u{301}", "sqlite_\u{200d}x", "SQLITE_\u{308}"])
  func `a combining mark does not hide a reserved prefix`(text: String) {
    #expect(throws: InvalidName.self) { try StreamName(text) }
  }

  // Swift's strings are equal when they look alike, so that two streams of one machine, `é` in one code point and in two, shared
  // their covered intervals in every dictionary: a frame of one would have let the edge forget events of the other.
  @Test func `two names that look alike and differ in their bytes are two streams`() throws {
    let composed = try StreamName("caf\u{e9}")
    let decomposed = try StreamName("cafe\u{301}")
    #expect(composed != decomposed)
    #expect(Set([composed, decomposed]).count == 2)
    #expect((composed < decomposed) != (decomposed < composed))
  }

  @Test func `names are sorted`() throws {
    let names = try ["b", "a", "ab", "é", "z"].map { try StreamName($0) }
    #expect(names.sorted().map(\.text) == ["a", "ab", "b", "z", "é"])
    let machines = try ["B", "A2", "A10"].map { try MachineID($0) }
    #expect(machines.sorted().map(\.text) == ["A10", "A2", "B"])
  }

  @Test(arguments: ["0", "3f9c2a", "ffffffffffffffff", String(repeating: "a", count: 32)])
  func `an epoch may be`(text: String) throws {
    #expect(try Epoch(text).text == text)
  }

  @Test(arguments: ["", "A", "g", "3F", "0x1", "-1", " 1", String(repeating: "a", count: 33)])
  func `an epoch may not be`(text: String) {
    #expect(throws: InvalidName.self) { try Epoch(text) }
  }

  @Test(arguments: [0, 1, 0x0f, UInt64.max, 1 << 63])
  func `a random epoch has sixteen digits and is valid`(random: UInt64) throws {
    let epoch = Epoch(random: random)
    #expect(epoch.text.utf8.count == 16 && UInt64(epoch.text, radix: 16) == random)
    #expect(try Epoch(epoch.text) == epoch)
  }

  @Test(arguments: [
    (UInt8(0x00), AcknowledgementReason.success), (0x10, .noMatchingSubscribers), (0x87, .notAuthorised),
    (0x95, .packetTooLarge),
    (0x97, .quotaExceeded), (0x80, .other(0x80)), (0x01, .other(0x01)), (0xff, .other(0xff)),
  ])
  func `a PUBACK's code has its meaning in MQTT 5`(code: UInt8, reason: AcknowledgementReason) {
    #expect(AcknowledgementReason(code: code) == reason)
  }
}
