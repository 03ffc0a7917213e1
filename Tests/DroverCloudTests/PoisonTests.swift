// A message that ends the process. The broker delivers it again at every start, so one such message stopped all machines until a person took it out of
// the broker. The consumer of these tests has its real store and dies by a real trap, in a process of its own.

import DroverCloud
import DroverCore
import DroverProcesses
import DroverSQLite
import DroverWire
import Foundation
import Logging
import Testing

@Suite(.serialized) struct PoisonTests {
  /// A description with more columns than a table may have here, so the consumer logs it.
  static let poison = InboundMessage(
    topic: "drover/v1/EVIL/schema/ev",
    payload: try! StreamSchema(
      kind: .snapshot, columns: ["id", "level"].map { Column(name: $0, declaredType: "") }, key: [0]
    ).document,
    isDuplicate: true)

  static func innocent(_ id: Int) -> InboundMessage {
    InboundMessage(
      topic: "drover/v1/GOOD/payload/ev", payload: Array(#"{"id":"\#(id)","version":\#(id),"body":\#(id)}"#.utf8),
      isDuplicate: true)
  }

  /// Falls at the one line that the consumer logs while it processes the poison.
  private struct FallingLog: LogHandler {
    let isFalling: Bool
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.warning

    init(isFalling: Bool) { self.isFalling = isFalling }
    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
      get { nil }
      set { _ = newValue }
    }
    func log(event: LogEvent) {
      precondition(!isFalling || !"\(event.message)".contains("ev of EVIL"), "the message that ends the process")
    }
  }

  /// A consumer with what the broker delivers when it connects.
  static func consume(_ path: String, isFalling: Bool) throws -> Consumer {
    let consumer = Consumer(
      store: try SQLiteCloudStore(
        path: path, limits: CloudStoreLimits(columnsPerTable: 1), now: { 1_795_170_600_000_000 }),
      limits: .init(),
      logger: Logger(label: "test") { _ in FallingLog(isFalling: isFalling) },
      wallClock: { 1_795_170_600_000_000 })
    try consumer.received([innocent(1), poison, innocent(2)])
    return consumer
  }

  private func die(_ path: String) async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) { [path] in
      _ = try PoisonTests.consume(path, isFalling: true)
      exit(0)
    }
    let said = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(said.contains("the message that ends the process"), "\(said.prefix(600))")
  }

  @Test func `a message at which the consumer dies again and again is set aside, and everybody's events go on`()
    async throws
  {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let path = folder.file("cloud.db")
    for death in 1...3 {
      await die(path)
      let note = try SQLiteCloudStore(path: path).note("in_hand")
      #expect(note?.contains("hand ") == (death > 1), "it died for another reason: \(note ?? "nil")")
    }
    let consumer = try Self.consume(path, isFalling: true)
    let letters = try CloudDeadLetters(path: path, readOnly: true).letters(DeadLetterFilter(), limit: 10)
    #expect(letters.map(\.reason) == ["poison"] && letters.first?.topic == Self.poison.topic)
    var ids: Set<String> = []
    try SQLiteCloudReader(path: path).readRows(of: nil) { _, row in
      if case .body(let id, _, _) = row.content { ids.insert(id) }
    }
    #expect(ids == ["1", "2"])
    #expect(consumer.isDrained())
    #expect(try SQLiteCloudStore(path: path).note("in_hand") == nil)
  }

  @Test func `innocent messages are taken by the next consumer although one before it died with them`() async throws {
    let folder = try TemporaryFolder()
    defer { withExtendedLifetime(folder) {} }
    let path = folder.file("cloud.db")
    await die(path)
    await die(path)
    // The program was mended meanwhile.
    let consumer = try Self.consume(path, isFalling: false)
    #expect(
      try CloudDeadLetters(path: path, readOnly: true).letters(DeadLetterFilter(), limit: 10).map(\.reason) == [
        "schema"
      ])
    #expect(consumer.isDrained())
  }
}
