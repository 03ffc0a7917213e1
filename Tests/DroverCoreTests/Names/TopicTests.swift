// What is written as a topic is read as the same topic, and nothing else is read at all.

import DroverCore
import Testing

@Suite struct TopicTests {
  private static func machine(_ text: String = "MAH001") -> MachineID { try! MachineID(text) }

  private static let streams = ["stock", "größe", "倉庫", "🐄", "a b", "v1", "status", "schema"].map {
    try! StreamName($0)
  }

  private static let table: [(Topic, String)] = [
    (.events(machine(), .snapshot, try! StreamName("stock")), "drover/v1/MAH001/snapshot/stock"),
    (.events(machine(), .payload, try! StreamName("stock")), "drover/v1/MAH001/payload/stock"),
    (.events(machine(), .batch, try! StreamName("stock")), "drover/v1/MAH001/batch/stock"),
    (.schema(machine(), try! StreamName("stock")), "drover/v1/MAH001/schema/stock"),
    (.status(machine()), "drover/v1/MAH001/status"),
    (.confirm(machine()), "drover/v1/MAH001/confirm"),
    (.command(machine(), name: "schema"), "drover/v1/MAH001/command/schema"),
    (.reply(machine(), id: "7"), "drover/v1/MAH001/reply/7"),
    (.down(machine(), .batch, try! StreamName("stock")), "drover/v1/MAH001/down/batch/stock"),
    (.downConfirm(machine()), "drover/v1/MAH001/down-confirm"),
    (.ask(machine(), id: "3f9c"), "drover/v1/MAH001/ask/3f9c"),
  ]

  @Test(arguments: table) func `the grammar's table holds in both directions`(topic: Topic, text: String) throws {
    #expect(topic.text == text)
    #expect(try Topic(parsing: text) == topic)
    #expect(topic.machine == Self.machine())
  }

  @Test(arguments: streams) func `a stream of any name is found again`(stream: StreamName) throws {
    for kind in Kind.allCases {
      #expect(
        try Topic(parsing: Topic.events(Self.machine(), kind, stream).text) == .events(Self.machine(), kind, stream))
    }
    #expect(try Topic(parsing: Topic.schema(Self.machine(), stream).text) == .schema(Self.machine(), stream))
  }

  // A topic was cut at the Character "/", and "/" with a combining mark behind it is another Character: a stream whose name begins
  // with one was published by the edge and became a dead letter in the cloud.
  @Test(arguments: ["\u{301}x", "\u{200d}x", "\u{fe0f}", "\u{1f3fb}"])
  func `a stream whose name begins with a combining mark is found again`(name: String) throws {
    let topic = Topic.events(Self.machine(), .payload, try StreamName(name))
    #expect(try Topic(parsing: topic.text) == topic)
  }

  @Test(arguments: [
    "", "drover", "drover/v1", "drover/v1/", "drover/v2/MAH001/status", "Drover/v1/MAH001/status",
    "/drover/v1/MAH001/status",
    "drover/v1/MAH001", "drover/v1/MAH001/", "drover/v1//status", "drover/v1/MAH001/status/",
    "drover/v1/MAH001/status/x",
    "drover/v1/MAH001/Status", "drover/v1/MAH001/snapshot", "drover/v1/MAH001/snapshot/",
    "drover/v1/MAH001/snapshot/a/b",
    "drover/v1/MAH001/Snapshot/a", "drover/v1/MAH001/other/a", "drover/v1/MAH001/schema", "drover/v1/MAH001/schema/",
    "drover/v1/MAH001/schema/drover_x", "drover/v1/MAH001/payload/+", "drover/v1/+/status", "drover/v1/#",
    "drover/v1/MAH 1/status",
    "drover/v1/MAH001/confirm/x", "drover/v1/MAH001/command", "drover/v1/MAH001/down/snapshot",
    "drover/v1/MAH001/down/other/a",
    "drover/v1/MAH001/payload/a\0",
    "drover/v1/MAH001/payload/a/\u{301}b", "drover/v1/\u{301}MAH001/status", "$share/group/drover/v1/MAH001/status",
  ])
  func `no topic of version 1`(text: String) {
    #expect(throws: InvalidName.self) { try Topic(parsing: text) }
  }

  @Test func `the filters match what is published below them`() throws {
    let machine = Self.machine()
    #expect(Topic.confirmFilter(for: machine) == Topic.confirm(machine).text)
    #expect(Topic.commandFilter(for: machine) == "drover/v1/MAH001/command/+")
    #expect(Topic.everything == Topic.prefix + "#")
  }
}
