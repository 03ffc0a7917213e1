import DroverConfiguration
import DroverCore
import Testing

@Suite struct MachineNamingTests {
  private func read(
    _ machine: String, _ environment: [String: String] = [:], query: MachineNaming.Query? = nil,
    files: [String: String] = [:]
  ) throws -> (name: String?, problems: [String], lacksNameAlone: Bool) {
    try withFolder(files) { folder in
      let yaml = leastEdge.replacing("machine: MAH001", with: "machine: \(machine)")
      do throws(ConfigurationErrors) {
        let configuration = try EdgeConfiguration.parse(
          yaml: yaml, file: "edge.yaml", folder: folder, environment: environment, query: query)
        return (configuration.machine.text, [], false)
      } catch {
        return (nil, error.problems.map(\.message), error.lacksNameAlone)
      }
    }
  }

  @Test func `the first place that has a name gives it: the query, the variable, the file, the name`() throws {
    let machine = "{query: 'SELECT 1', env: MACHINE_ID, file: ./id, name: D}"
    #expect(try read(machine, ["MACHINE_ID": "B"], query: { _, _ in "A" }, files: ["id": "C\n"]).name == "A")
    #expect(try read(machine, ["MACHINE_ID": " B "], query: { _, _ in nil }, files: ["id": "C\n"]).name == "B")
    #expect(try read(machine, query: { _, _ in "" }, files: ["id": "C\n"]).name == "C")
    #expect(try read(machine).name == "D")
  }

  @Test func `without a name each place says why it has none, and only the name lacks`() throws {
    let found = try read(
      "{query: 'SELECT 1', env: MACHINE_ID, file: ./id}", ["MACHINE_ID": "a b"],
      query: { _, _ throws(MachineNaming.Refused) in throw MachineNaming.Refused("no such table: t") },
      files: ["id": "\n"])
    let problem = try #require(found.problems.first)
    #expect(found.lacksNameAlone)
    #expect(problem.contains("the query fails: no such table: t; the variable MACHINE_ID has \"a b\", and"))
    #expect(problem.contains("is empty; the agent waits for one"))
    #expect(try read("{file: ./none}").problems.first?.contains("cannot be read: No such file") == true)
  }

  @Test func `a file that has other mistakes is not waited for`() throws {
    let found = try read("{env: MACHINE_ID}\nwindow: 7")
    #expect(found.problems.count == 2)
    #expect(!found.lacksNameAlone)
  }

  @Test func `a place has to be there`() throws {
    #expect(
      try read("{name: MAH001}").problems == ["expected `query`, `env` or `file`, which has the machine's name"])
  }
}
