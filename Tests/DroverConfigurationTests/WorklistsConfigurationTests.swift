import DroverConfiguration
import DroverCore
import Testing

@Suite struct WorklistsConfigurationTests {
  private func problems(_ worklists: String) throws -> [String] {
    let yaml = "broker: mqtt://localhost\nstore: ./cloud.db\nworklists: \(worklists)\n"
    do {
      _ = try CloudConfiguration.parse(yaml: yaml, file: "cloud.yaml", folder: "/etc/drover", environment: [:])
      return []
    } catch let errors {
      return "\(errors)".split(separator: "\n").map(String.init)
    }
  }

  private func read(_ worklists: String) throws -> [WorklistPlan] {
    let yaml = "broker: mqtt://localhost\nstore: ./cloud.db\nworklists: \(worklists)\n"
    return try CloudConfiguration.parse(yaml: yaml, file: "cloud.yaml", folder: "/etc/drover", environment: [:])
      .worklists.map(\.plan)
  }

  @Test func `a worklist has a name, a stream, and says which machine gets an order`() throws {
    let (mo, batch) = (try StreamName("mo"), try StreamName("mo_batch"))
    #expect(try read("[{name: mo_batch}]") == [WorklistPlan(name: batch, stream: batch)])
    #expect(
      try read("[{name: mo, stream: mo_batch, machine: {field: equipment}}]") == [
        WorklistPlan(name: mo, stream: batch, placement: .field("equipment"))
      ])
    let rules = try read(
      "[{name: mo, machine: {rules: [{when: \"silo = 'A'\", machine: MAH001}, {machine: MAH002}]}}]")
    #expect(
      rules == [
        WorklistPlan(
          name: mo, stream: mo,
          placement: .rules([
            .init(when: try Condition(parsing: "silo = 'A'"), machine: try MachineID("MAH001")),
            .init(when: nil, machine: try MachineID("MAH002")),
          ]))
      ])
  }

  @Test(arguments: [
    ("[{stream: mo}]", "missing; add for example `name: mo_batch`"),
    ("[{name: mo, machine: {}}]", "`field`, the field of an order"),
    ("[{name: mo, machine: {field: a, rules: [{machine: MAH001}]}}]", "exclude each other"),
    ("[{name: mo, machine: {rules: [{when: \"a =\", machine: MAH001}]}}]", "when"),
    ("[{name: mo, machine: {rules: [{when: \"a = 1\"}]}}]", "missing; add for example `machine: MAH001`"),
    ("[{name: mo, machine: {rules: [{machine: \"no machine\"}]}}]", "a machine's name"),
    ("[{name: mo}, {name: MO, stream: x}]", "has the name \"MO\" already"),
    ("[{name: a, stream: mo}, {name: b, stream: mo}]", "a stream has one queue"),
    ("[]", "a list with at least one entry"), ("[{name: mo, machin: x}]", "did you mean `machine`?"),
  ])
  func `a mistake is reported with what to write`(_ worklists: String, _ part: String) throws {
    let found = try problems(worklists)
    #expect(found.contains { $0.contains(part) }, "\(found)")
  }
}
