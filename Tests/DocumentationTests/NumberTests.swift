// broker/mosquitto.conf explained a window of 20,000 events long after the default had become 50,000, and its sums were
// wrong with it. Numbers that stand in a text and in the code are compared here. (The defaults and bounds of
// docs/configuration.md are compared in DroverConfigurationTests.)

import DroverConfiguration
import DroverCore
import Foundation
import Testing

@Suite struct NumberTests {
  private let edge = try! EdgeConfiguration.parse(
    yaml: "machine: M\ndatabase: ./a.db\nbroker: mqtt://b\nstreams: [{table: t, kind: snapshot}]", file: "edge.yaml",
    folder: "/", environment: [:])
  private let cloud = try! CloudConfiguration.parse(
    yaml: "broker: mqtt://b\nstore: sqlite:./c.db", file: "cloud.yaml", folder: "/", environment: [:])

  /// The text of a page in one line, without the signs of comments.
  private func words(_ path: String) throws -> String {
    try Repository.text(path).split(separator: "\n").map { $0.drop { $0 == "#" || $0 == " " } }.joined(separator: " ")
  }

  private func number(_ text: Substring) -> Int { Int(text.replacing(",", with: "")) ?? -1 }

  private func setting(_ name: String, in path: String = "broker/mosquitto.conf") throws -> Int {
    let line = try Repository.text(path).split(separator: "\n").first { $0.hasPrefix("\(name) ") }
    return try #require(line.flatMap { Int($0.dropFirst(name.count + 1)) }, "\(path): no \(name)")
  }

  @Test func `the broker's comments say the defaults of an agent`() throws {
    let text = try words("broker/mosquitto.conf")
    let window = try #require(
      text.firstMatch(
        of: /by default ([\d,]+) unconfirmed events or (\d+) MiB, in frames of up to (\d+) events or (\d+) KiB/))
    #expect(number(window.output.1) == edge.window.events)
    #expect(number(window.output.2) << 20 == edge.window.bytes)
    #expect(number(window.output.3) == edge.frame.events)
    #expect(number(window.output.4) << 10 == edge.frame.bytes)

    let full = try #require(text.firstMatch(of: /about (\d+) frames when a backlog drains, and up to ([\d,]+)/))
    #expect(number(full.output.1) == edge.window.events / edge.frame.events)
    #expect(number(full.output.2) == edge.window.events)

    let queued = try #require(text.firstMatch(of: /so: ([\d,]+) x machines\. This is enough for (\d+) machines/))
    #expect(number(queued.output.1) == edge.window.events)
    #expect(number(queued.output.2) * edge.window.events == (try setting("max_queued_messages")))

    let bytes = try #require(text.firstMatch(of: /(\d+) MiB x machines; (\d+) GiB is (\d+) full windows/))
    #expect(number(bytes.output.1) << 20 == edge.window.bytes)
    #expect(number(bytes.output.2) << 30 == (try setting("max_queued_bytes")))
    #expect(number(bytes.output.3) * edge.window.bytes == (try setting("max_queued_bytes")))

    let group = try #require(text.firstMatch(of: /(\d+) frames of (\d+) KiB are about (\d+) MiB at the consumer/))
    #expect(number(group.output.1) == (try setting("max_inflight_messages")))
    #expect(number(group.output.2) << 10 == edge.frame.bytes)
    #expect(number(group.output.3) == (number(group.output.1) * number(group.output.2) + 512) >> 10)
  }

  @Test func `the broker's largest packet is the cloud's largest message and some room`() throws {
    let text = try words("broker/mosquitto.conf")
    let room = try #require(
      text.firstMatch(of: /the (\d+) MiB that the cloud applies by default.*?and (\d+) KiB for topic/))
    #expect(number(room.output.1) << 20 == cloud.limits.messageBytes)
    #expect(try setting("max_packet_size") == cloud.limits.messageBytes + number(room.output.2) << 10)
  }

  @Test func `a consumer's transaction holds what the broker sends it without a PUBACK`() throws {
    #expect(try setting("max_inflight_messages") == cloud.batch.messages)
    #expect(try setting("max_inflight_messages", in: "broker/loopback.conf") == cloud.batch.messages)
  }

  @Test func `the protocol's numbers are those of the code`() throws {
    let page = try Page(path: "docs/protocol.md")
    let table = try #require(page.tables.first { $0.rows[0] == ["number", "range"] })
    let told = Dictionary(
      uniqueKeysWithValues: table.rows.dropFirst().flatMap { row in
        row[0].split(separator: ", ").map { (String($0), row[1]) }
      })
    func range(_ text: String) throws -> ClosedRange<Int64> {
      func value(_ text: Substring) throws -> Int64 {
        let parts = try #require(text.wholeMatch(of: /(-?)(\d+)(?:\^(\d+))?( - 1)?/), "\(text)").output
        let power = try parts.3.map { try #require(Int64($0)) } ?? 1
        try #require(power < 63, "\(text) is no 64-bit number")
        var number: Int64 = 1
        for _ in 0..<power { number *= try #require(Int64(parts.2)) }
        return (parts.1 == "-" ? -number : number) - (parts.4 == nil ? 0 : 1)
      }
      let ends = try #require(text.firstMatch(of: /^(-?\d+(?:\^\d+)?) to (-?\d+(?:\^\d+)?(?: - 1)?)/), "\(text)").output
      return try value(ends.1)...value(ends.2)
    }
    let bounds: [(String, ClosedRange<Int64>)] = [
      ("`seq`", Bounds.sequence), ("`through`", Bounds.sequence), ("`run`", Bounds.run), ("`version`", Bounds.version),
      ("`oldest_us`", Bounds.version), ("`at_us`", Bounds.time), ("`ask`", Bounds.question),
      ("`free_bytes`", Bounds.bytes), ("`waiting`", Bounds.count), ("`max_message_bytes`", Bounds.messageBytes),
      ("`number` of an answer", Bounds.part), ("`elapsed_us`", Bounds.duration), ("`since_us`", Bounds.moment),
    ]
    for (name, expected) in bounds {
      #expect(try range(#require(told[name], "no line for \(name)")) == expected, "\(name)")
    }
    let text = try words("docs/protocol.md")
    let most = try #require(
      text.firstMatch(of: /at most (\d+) columns in each table, and a question at most ([\d,]+) `ids`/))
    #expect(number(most.output.1) == Bounds.columns)
    #expect(number(most.output.2) == Bounds.localIDs)
  }

  @Test func `what the pages say in passing of defaults is so`() throws {
    let guarantees = try words("docs/guarantees.md")
    let kept = try #require(guarantees.firstMatch(of: /`outbox\.retention`, a day and (\d+) MiB/))
    #expect(edge.outbox.retention.age == .seconds(86_400))
    #expect(number(kept.output.1) << 20 == edge.outbox.retention.bytes)

    let full = try #require(
      try words("docs/configuration.md").firstMatch(
        of: /By default the outbox may take (\d+) GiB.*?It leaves (\d+) MiB and (\d+) inodes free/))
    #expect(Int64(number(full.output.1) << 30) == edge.outbox.quota.maxBytes)
    #expect(Int64(number(full.output.2) << 20) == edge.outbox.quota.minFreeBytes)
    #expect(Int64(number(full.output.3)) == edge.outbox.quota.minFreeInodes)

    let alerts = try words("docs/operating/alerts.md")
    let timing = try #require(alerts.firstMatch(of: /beyond their limit for `for` \((\d+) seconds\)/))
    #expect(AlertRules().hold == .seconds(number(timing.output.1)))
    #expect(alerts.contains("gone for `calm` (a minute)") && AlertRules().calm == .seconds(60))
  }
}
