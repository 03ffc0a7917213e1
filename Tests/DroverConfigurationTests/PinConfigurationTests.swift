// The section `streams` of the cloud's file.

@testable import DroverConfiguration
import DroverCore
import Testing

@Suite struct PinConfigurationTests {
  private func parse(_ streams: String) throws -> [StreamPin] {
    try CloudConfiguration.parse(
      yaml: "broker: mqtt://localhost\nstore: sqlite:./cloud.db\n\(streams)", file: "cloud.yaml", folder: "/",
      environment: [:]
    ).streams
  }

  private func problem(_ stream: String) -> String {
    do throws(ConfigurationErrors) {
      _ = try CloudConfiguration.parse(
        yaml: "broker: mqtt://localhost\nstore: sqlite:./cloud.db\nstreams:\n  - \(stream)\n", file: "cloud.yaml",
        folder: "/", environment: [:])
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test func `a pin is read, and a file with streams and a store is the cloud's`() throws {
    let yaml = """
      streams:
        - name: orders
          kind: batch
          key: [mo_id]
          complete_when: "status = 1"
          with: [lines]
          columns: {mo_id: INTEGER}
          machines: [A, B]
          limits: {columns: 50}
        - {name: products, kind: snapshot, identity: [barcode], else: [brand], machines: all}
        - {name: raw, kind: payload, body: true}
      """
    let pins = try parse(yaml)
    #expect(
      pins == [
        StreamPin(
          name: try StreamName("orders"), kind: .batch, key: ["mo_id"],
          completeWhen: try Condition(parsing: "status = 1"),
          lines: [try StreamName("lines")], columns: [Column(name: "mo_id", declaredType: "INTEGER")],
          machines: [try MachineID("A"), try MachineID("B")], mostColumns: 50),
        StreamPin(
          name: try StreamName("products"), kind: .snapshot,
          naturalKey: try NaturalKey(columns: ["barcode"], fallback: ["brand"])),
        StreamPin(name: try StreamName("raw"), kind: .payload, isBody: true),
      ])
    guard
      case .cloud = try AnyConfiguration.parse(
        yaml: "broker: mqtt://localhost\nstore: sqlite:./cloud.db\n\(yaml)", file: "cloud.yaml", folder: "/",
        environment: [:])
    else {
      Issue.record("a file with a store is the cloud's")
      return
    }
  }

  @Test func `what a pin cannot say is told`() {
    #expect(problem("{name: a, kind: payload, body: true, key: [id]}").contains("has no table"))
    #expect(problem("{name: a, kind: payload, identity: [x]}").contains("snapshot"))
    #expect(problem("{name: a, kind: snapshot, with: [b]}").contains("kind batch"))
    #expect(problem("{name: a, kind: snapshot, machines: some}").contains("a list of machines, or all"))
    #expect(problem("{name: a, kind: snapshot}\n  - {name: A, kind: snapshot}").contains("has the table"))
    #expect(problem("{name: a, kind: batch, with: [b]}\n  - {name: B, kind: snapshot}").contains("has the table"))
    #expect(problem("{kind: batch}").contains("name"))
  }

  @Test func `what is written is read back`() throws {
    let pins = [
      StreamPin(
        name: try StreamName("größe \"x\": y"), kind: .batch, key: ["a b", "no", "1"],
        completeWhen: try Condition(parsing: "\"a b\" = 'it''s'"), lines: [try StreamName("lines")],
        columns: [Column(name: "null", declaredType: "NVARCHAR(160)"), Column(name: "b\\", declaredType: "BLOB")],
        machines: [try MachineID("M-1"), try MachineID("007")], mostColumns: 7),
      StreamPin(name: try StreamName("raw"), kind: .payload, isBody: true),
      StreamPin(
        name: try StreamName("p"), kind: .snapshot, key: ["id"],
        naturalKey: try NaturalKey(columns: ["on"], fallback: ["x", "~"])),
    ]
    #expect(try parse(StreamPin.yaml(pins)) == pins)
  }
}
