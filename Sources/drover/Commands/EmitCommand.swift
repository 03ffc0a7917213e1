import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire
import Foundation

struct EmitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "emit",
    abstract: "Puts events into the outbox of a stream that has no table: JSON lines or CSV.",
    discussion: """
      Examples:
        drover emit --config edge.yaml --stream temperature readings.csv
        sensor | drover emit --config edge.yaml --stream temperature --id-field reading_id -

      CSV has a header; its cells become the fields of a JSON object, numbers as numbers, empty cells as null. JSON comes one value a
      line. A line that cannot be read is reported with its number and passed over; the exit status is then 1.
      """)

  enum Format: String, ExpressibleByArgument, CaseIterable { case csv, json }

  @OptionGroup var options: ConfigurationOption
  @Option(help: "The stream; one that the configuration lists without a table.")
  var stream: String
  @Option(help: ArgumentHelp("The field that holds the local ID; without it Drover makes one.", valueName: "name"))
  var idField: String?
  @Option(help: "csv or json; by default from the file's ending, else from the first character.")
  var format: Format?
  @Argument(help: "The file; - or none for standard input.")
  var file: String = "-"

  /// Lines of one transaction: one fsync for so many.
  private static let batch = 1000

  func run() async throws {
    let configuration = try options.edge()
    guard let declared = configuration.streams.first(where: { $0.name.text.isExactly(stream) }) else {
      throw fail(
        "emit: \(options.config) lists no stream \(stream); it lists \(configuration.streams.map(\.name.text).joined(separator: ", "))"
      )
    }
    guard declared.table == nil else {
      throw fail(
        "emit: \(stream) is captured from table \(declared.table!.name); write to that table, and Drover carries it")
    }
    let descriptor = file == "-" ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw fail("emit: open \(file): \(String(cString: strerror(errno)))") }

    let intake: Intake
    do {
      // So that a stream that was just added to the configuration is known.
      try EdgeDatabase.prepare(
        path: configuration.database, declarations: configuration.declarations,
        quota: configuration.outbox.quota)
      intake = try Intake(path: configuration.database, stream: declared.name, quota: configuration.outbox.quota)
    } catch {
      throw fail("\(error)")
    }
    var emission = Emission(intake: intake, idField: idField, batch: Self.batch)
    do {
      try read(descriptor, &emission)
      try emission.flush()
    } catch {
      emission.progress.finish()
      throw fail("emit: \(error); \(emission.taken) lines before were taken")
    }
    emission.progress.finish()
    print("\(emission.taken) events taken into \(stream), \(emission.refused) lines refused")
    if emission.refused > 0 { throw ExitCode.failure }
  }

  private func read(_ descriptor: Int32, _ emission: inout Emission) throws {
    var reader = LineReader(descriptor: descriptor)
    var parser: (any RecordParser)?
    while true {
      switch try reader.next(patience: emission.isEmpty ? -1 : 100) {
      case .pause: try emission.flush()
      case .end:
        try parser?.finish { try emission.take($0) }
        return
      case .bytes(let bytes):
        if parser == nil { parser = makeParser(first: bytes) }
        try parser!.take(bytes) { try emission.take($0) }
      }
    }
  }

  private func makeParser(first: ArraySlice<UInt8>) -> any RecordParser {
    let byEnding: Format? =
      switch (file as NSString).pathExtension.lowercased() {
      case "csv": .csv
      case "json", "jsonl", "ndjson": .json
      default: nil
      }
    let start = first.first {
      $0 != 0x20 && $0 != 0x0a && $0 != 0x0d && $0 != 0x09 && $0 != 0xef && $0 != 0xbb && $0 != 0xbf
    }
    let byLook: Format = start == UInt8(ascii: "{") || start == UInt8(ascii: "[") ? .json : .csv
    return (format ?? byEnding ?? byLook) == .csv ? CSVParser() : JSONLineParser()
  }
}

/// What has been read and not yet written, and the count of both.
private struct Emission {
  private let intake: Intake
  private let idField: String?
  private let batch: Int
  private var lines: [Int] = []
  private var events: [(localID: String?, body: ArraySlice<UInt8>)] = []
  private var bytes = 0
  private(set) var taken = 0
  private(set) var refused = 0
  var progress = ProgressLine()

  init(intake: Intake, idField: String?, batch: Int) {
    self.intake = intake
    self.idField = idField
    self.batch = batch
  }

  var isEmpty: Bool { events.isEmpty }

  mutating func take(_ record: Record) throws {
    do throws(WireError) {
      let body = try record.body.get()
      events.append(
        (try idField.map { field throws(WireError) in try EmittedBody.localID(field: field, body: body) }, body))
      lines.append(record.line)
      bytes += body.count
    } catch {
      refuse(record.line, "\(error)")
    }
    if events.count >= batch || bytes >= 8 << 20 { try flush() }
  }

  mutating func flush() throws {
    guard !events.isEmpty else { return }
    for (line, refusal) in zip(lines, try intake.insert(events)) {
      if let refusal { refuse(line, refusal) } else { taken += 1 }
    }
    events.removeAll(keepingCapacity: true)
    lines.removeAll(keepingCapacity: true)
    bytes = 0
    progress.show(taken: taken, refused: refused)
  }

  private mutating func refuse(_ line: Int, _ reason: String) {
    refused += 1
    progress.clear()
    FileHandle.standardError.write(Data("line \(line): \(reason)\n".utf8))
  }
}

/// A line that is rewritten on a terminal, and said now and then elsewhere.
private struct ProgressLine {
  private let isTerminal = isatty(STDERR_FILENO) != 0
  private let start = ContinuousClock.now
  private var last = ContinuousClock.now
  private var isShown = false

  mutating func show(taken: Int, refused: Int) {
    let now = ContinuousClock.now
    guard last.duration(to: now) >= (isTerminal ? .milliseconds(250) : .seconds(5)) else { return }
    last = now
    let elapsed = start.duration(to: now) / .seconds(1)
    let text = "\(taken) taken, \(refused) refused, \(Int(Double(taken) / max(elapsed, 0.001))) a second"
    FileHandle.standardError.write(Data((isTerminal ? "\r\u{1b}[K\(text)" : "\(text)\n").utf8))
    isShown = isTerminal
  }

  mutating func clear() {
    if isShown { FileHandle.standardError.write(Data("\r\u{1b}[K".utf8)) }
    isShown = false
  }

  mutating func finish() { clear() }
}
