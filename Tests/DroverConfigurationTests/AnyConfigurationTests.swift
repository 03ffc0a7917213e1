import DroverConfiguration
import Testing

@Suite struct AnyConfigurationTests {
  private func any(_ yaml: String) throws(ConfigurationErrors) -> AnyConfiguration {
    try AnyConfiguration.parse(yaml: yaml, file: "some.yaml", folder: "/etc/drover", environment: [:])
  }

  @Test func `the keys say which side a file is for`() throws {
    #expect(try any(leastEdge) == .edge(edge(leastEdge)))
    #expect(try any(leastCloud) == .cloud(cloud(leastCloud)))
  }

  @Test(arguments: ["machine: M", "database: a.db", "streams: [{name: t, kind: payload}]"])
  func `one of its keys is enough to be read as an edge's`(line: String) {
    let missing = problems(try any(line)).filter { $0.contains(": missing; ") }
    #expect(missing.count == 3)
    #expect(missing.contains { $0.hasPrefix("some.yaml: broker: ") })
  }

  @Test func `a file of neither side says what is looked for`() {
    #expect(
      problems(try any("broker: mqtt://b")) == [
        """
        some.yaml: this is neither an edge's configuration, which has `machine`, `database` and `streams`, nor a \
        cloud's, which has `store`
        """
      ])
  }

  @Test func `a file is loaded from the disk`() throws {
    try withFolder(["c.yaml": leastCloud]) { folder in
      let configuration = try AnyConfiguration.load(path: folder + "/c.yaml", environment: [:])
      #expect(try configuration == .cloud(cloud(leastCloud, in: folder)))
    }
  }
}
