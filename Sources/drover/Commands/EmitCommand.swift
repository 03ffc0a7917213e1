import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire
import Foundation

struct EmitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "emit",
    abstract: "Puts events into the outbox of a stream that has no table: JSON lines, CSV or lines of text.",
    discussion: """
      Examples:
        drover emit --config edge.yaml --stream temperature readings.csv
        sensor | drover emit --config edge.yaml --stream temperature --id-field reading_id -
        lora-gateway | drover emit --config edge.yaml --stream lora --format text

      csv   The first line has the names of the columns. Each other line becomes a JSON object; numbers become numbers,
            and empty cells become null. Commas separate the cells. Put a name that is a number in quotes.
      json  One JSON value on each line.
      text  Each line is an event. Its body is the line as a JSON string. Empty lines are skipped.

      A line ends with LF, CR LF or CR. Without --format, the ending of the file's name decides (.csv, .json, .jsonl,
      .ndjson). If there is none, the input must begin with { or [, as JSON does. Otherwise nothing is taken. A .csv
      file that begins with { or [ is refused, too. A line that cannot be read is reported with its number and skipped,
      and the exit status is 1.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: "The stream. The configuration must list it without a table.")
  var stream: String
  @Option(
    help: ArgumentHelp("The field that holds the local ID. Without it, each event gets a new ID.", valueName: "name"))
  var idField: String?
  @Option(help: "The format of the input. By default the ending of the file's name decides.")
  var format: InputFormat?
  @Argument(help: "The file. Without it, or with -, standard input.")
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
        "emit: \(stream) is captured from table \(declared.table!); write to that table, and Drover sends it")
    }
    guard format != .text || idField == nil else {
      throw fail("emit: a line of text has no field \(idField!); leave --id-field out, or send JSON with --format json")
    }
    let descriptor = file == "-" ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw fail("emit: open \(file): \(String(cString: strerror(errno)))") }

    let intake: Intake
    do {
      // So that a stream that was just added to the configuration is known.
      try EdgeDatabase.prepare(
        path: configuration.database, declarations: configuration.streams,
        quota: configuration.outbox.quota)
      intake = try Intake(path: configuration.database, stream: declared.name, quota: configuration.outbox.quota)
    } catch {
      throw fail("\(error)")
    }
    let known = idField == nil ? EmittedFiles.known(stream: stream, database: configuration.database) : []
    var emission = Emission(intake: intake, idField: idField, batch: Self.batch, beginning: EmittedBeginning(known))
    do {
      try read(descriptor, &emission)
      try emission.flush()
    } catch {
      emission.progress.finish()
      // What was taken before the failure is taken a second time when the input is repeated.
      remember(emission, configuration)
      throw fail(
        "emit: \(error); \(emission.taken == 0 ? "nothing" : quantity(emission.taken, "event")) was taken before")
    }
    emission.progress.finish()
    print("\(quantity(emission.taken, "event")) taken into \(stream), \(quantity(emission.refused, "line")) refused")
    remember(emission, configuration)
    if emission.refused > 0 { throw ExitCode.failure }
  }

  /// Without a field for it each line gets a local ID of its own.
  private func remember(_ emission: Emission, _ configuration: EdgeConfiguration) {
    guard idField == nil, emission.taken > 0 else { return }
    let input = EmittedFiles.Input(
      stream: stream, digest: emission.beginning.digest, bytes: emission.beginning.bytes, events: emission.taken,
      at: wallClock())
    EmittedFiles.note(input, database: configuration.database)
    guard let before = emission.beginning.found else { return }
    FileHandle.standardError.write(Data("drover: emit: \(repetition(of: before, in: input))\n".utf8))
  }

  private func repetition(of before: EmittedFiles.Input, in input: EmittedFiles.Input) -> String {
    let at = Timestamp.text(microseconds: before.at)
    let first = quantity(before.events, "event")
    let isSame = before.bytes == input.bytes
    let what =
      isSame
      ? "the same input was taken into \(stream) at \(at), \(first); so each is there twice now"
      : "the beginning of this input was taken into \(stream) at \(at), \(first); so \(before.events == 1 ? "this one is" : "these are") there twice now, and \(max(0, input.events - before.events)) of \(input.events) are new"
    return
      "\(what). With --id-field, which names the field of the local ID, the same event counts once\(isSame ? "" : "; or emit only the new lines of a file that grows")"
  }

  private func read(_ descriptor: Int32, _ emission: inout Emission) throws {
    var reader = LineReader(descriptor: descriptor)
    var input = FormattedInput(format, file: file)
    while true {
      switch try reader.next(patience: emission.isEmpty ? -1 : 100) {
      case .pause: try emission.flush()
      case .end:
        try input.finish { try emission.take($0) }
        if let line = input.loneHeader {
          emission.refuse(
            line,
            "it has the names of a CSV's columns, and no row follows; if it is an event, --format text takes each line as one"
          )
        }
        return
      case .bytes(let bytes):
        emission.note(read: bytes)
        try input.take(bytes) { try emission.take($0) }
      }
    }
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
  /// Of all bytes that were read.
  private(set) var beginning: EmittedBeginning
  private(set) var taken = 0
  private(set) var refused = 0
  var progress = ProgressLine()

  init(intake: Intake, idField: String?, batch: Int, beginning: EmittedBeginning) {
    self.beginning = beginning
    self.intake = intake
    self.idField = idField
    self.batch = batch
  }

  var isEmpty: Bool { events.isEmpty }

  mutating func note(read bytes: ArraySlice<UInt8>) { beginning.take(bytes) }

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

  mutating func refuse(_ line: Int, _ reason: String) {
    refused += 1
    note("line \(line): \(reason)")
  }

  /// Tells the person at the terminal.
  private mutating func note(_ text: String) {
    progress.clear()
    FileHandle.standardError.write(Data("\(text)\n".utf8))
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
