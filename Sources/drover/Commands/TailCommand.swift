import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverWire
import Foundation

struct TailCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tail",
    abstract: "Prints rows as they are applied in the cloud.",
    discussion: """
      Examples:
        drover tail --config cloud.yaml
        drover tail --config cloud.yaml --machine MAH001 --stream stock --json

      The command reads the store's change feed, which needs `changes: true` in the configuration. The consumer need not be
      running. A row that changes several times between two looks is printed once, with its newest values. The command ends with
      Ctrl-C, or when its output is closed.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: "Only what this machine sent.")
  var machine: MachineID?
  @Option(help: "Only this stream, or this table of lines.")
  var stream: StreamName?
  @Option(help: "Begin behind this cursor, which a line of --json has.")
  var after: String?
  @Flag(help: "Begin with all rows that are in the store.")
  var fromStart = false
  @Flag(help: "Print one JSON object on each line, as in /v1/streams/{stream}/changes.")
  var json = false

  func validate() throws {
    if after != nil, fromStart { throw ValidationError("give either --after or --from-start") }
    if let after, ChangeCursor(after) == nil { throw ValidationError("--after: \(after) is no cursor") }
  }

  func run() async throws {
    // Who has enough of the output closes it, as `head` does.
    signal(SIGPIPE, SIG_IGN)
    let reader = try options.cloud().changeReader
    do {
      try await follow(reader.open())
    } catch let error as CancellationError {
      throw error
    } catch {
      throw fail("tail: \(error)")
    }
  }

  /// Until the output is closed.
  private func follow(_ session: any ChangeSession) async throws {
    let newest = try session.report().newest
    var question = ChangeQuestion(
      after: fromStart ? nil : after.flatMap { ChangeCursor($0) } ?? newest, stream: stream, machine: machine)
    while Output.isWanted {
      guard try session.hasMoved() else {
        try await Task.sleep(for: .milliseconds(50))
        continue
      }
      var hasMore = true
      while hasMore {
        // Printed after the store is released, because the reader of the output may be slow.
        var lines: [[UInt8]] = []
        var bytes = 0
        let page = try session.read(question) { change in
          lines.append(line(of: change))
          bytes += lines.last!.count
          return bytes < Self.pageBytes
        }
        question.after = page.next
        hasMore = lines.allSatisfy(Output.print) && page.hasMore && Output.isWanted
      }
    }
  }

  private static let pageBytes = 64 << 10

  private func line(of change: Change) -> [UInt8] {
    var bytes: [UInt8] = []
    guard !json else {
      RowDocument.write(change, into: &bytes)
      return bytes
    }
    let words = "\(change.sink.stream)  \(change.operation)  \(change.localID)"
    switch change.content {
    case .delete(let key):
      return Array("\(Timestamp.text(microseconds: key.version))  \(key.machine)  \(printable(words))".utf8)
    case .put(let row):
      RowDocument.writeBody(of: row, change.sink, into: &bytes)
      let body = String(decoding: bytes, as: UTF8.self)
      let short = body.count > Self.bodyCharacters ? "\(body.prefix(Self.bodyCharacters))…" : body
      return Array(
        "\(Timestamp.text(microseconds: row.version))  \(row.machine)  \(printable("\(words)  \(short)"))".utf8)
    }
  }

  /// Of a body, so that most lines stay lines.
  private static let bodyCharacters = 100
}

/// Prints line by line, without a buffer, to a reader that may close the output.
private enum Output {
  /// Whether the output is still open.
  static var isWanted: Bool {
    var output = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
    return poll(&output, 1, 0) <= 0
  }

  /// - Returns: whether it could be written.
  static func print(_ line: [UInt8]) -> Bool {
    var rest = (line + [0x0a])[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      guard count > 0 || errno == EINTR else { return false }
      rest = rest.dropFirst(max(0, count))
    }
    return true
  }
}
