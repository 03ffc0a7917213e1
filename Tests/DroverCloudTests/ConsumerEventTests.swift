// What the consumer logs and counts, event by event.

@testable import DroverCloud
import DroverCore
import DroverEvents
import Logging
import Synchronization
import Testing

@Suite struct ConsumerEventTests {
  private final class Lines: Sendable {
    let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }
  }

  private struct Collector: LogHandler {
    let lines: Lines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.info
    init(_ lines: Lines) { self.lines = lines }
    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
      get { nil }
      set { _ = newValue }
    }
    func log(event: LogEvent) { lines.texts.withLock { $0.append("\(event.level) \(event.message)") } }
  }

  private let lines = Lines()
  private var log: ConsumerLog {
    let lines = lines
    return ConsumerLog(logger: Logger(label: "test") { _ in Collector(lines) })
  }

  @Test func `a flood of dead letters is logged ever more rarely, each reason by itself`() {
    var log = log
    for _ in 0..<150 { log.emit(DeadLettersKept(reason: .unparsable, count: 2)) }
    log.emit(DeadLettersKept(reason: .topic, count: 1))
    let line = "warning 2 dead letters, reason unparsable; `drover dead list` shows them"
    #expect(
      lines.all == [
        line, "\(line) (10 times since the start)", "\(line) (100 times since the start)",
        "warning 1 dead letter, reason topic; `drover dead list` shows them",
      ])
  }

  @Test func `a sink table that is blocked again after it was free is logged again`() throws {
    var log = log
    let blocked = SinkBlocked(table: "stock", reach: .table, cause: .lock, text: "it is locked", advice: "wait")
    let sink = BlockedSink(stream: try StreamName("stock"), machine: nil, blocked: blocked, since: 1, last: 1, tries: 1)
    for _ in 0..<3 { log.emit(SinkNotWritable(sink: sink)) }
    log.emit(SinkWritable(sink: sink))
    log.emit(SinkNotWritable(sink: sink))
    #expect(lines.all.map { $0.prefix(7) } == ["warning", "notice ", "warning"])
    #expect(lines.all.allSatisfy { !$0.contains("times since") })
  }

  @Test func `each try to commit is counted, and only a failure is logged`() {
    var log = log
    var counted: [CommitResult] = []
    log.onMetric = { counted.append($0) }
    log.emit(MessagesCommitted())
    for _ in 0..<2 { log.emit(CommitFailed(messages: 3, error: StoreUnusable(description: "full"))) }
    #expect(counted == [.succeeded, .failed, .failed])
    let line = "error commit 3 messages: full; the broker keeps them and delivers them again"
    #expect(lines.all == [line, line])
  }
}
