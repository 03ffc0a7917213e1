import ArgumentParser
import DroverCloud
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverServices
import DroverWire
import Foundation

struct ResyncCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resync",
    abstract: "Sends rows to the cloud again: all of them, those since a time, or those that meet a condition.",
    discussion: """
      Examples:
        drover resync --config edge.yaml
        drover resync --config edge.yaml --stream receipts --since 90d --rate 500
        drover resync --config edge.yaml --stream sales --since 90d --time-column created_at
        drover resync --config edge.yaml --stream stock --where "level IS NULL OR level < 0"
        drover resync --config cloud.yaml --machine MAH001 --stream stock

      No table is emptied: each row becomes an event again, and the newer event wins. Streams are sent in the order of the machine's
      configuration, and new events go first. The request is kept in the machine's database, so an agent that is killed continues where it
      was. The same request again does no harm. Another request for a stream that is still being sent sends all of its rows.
      """)

  @OptionGroup var options: ConfigurationOption
  @Option(help: ArgumentHelp("In the cloud: the machine whose rows are sent.", valueName: "machine"))
  var machine: MachineID?
  @Option(help: ArgumentHelp("Only this stream. May be repeated.", valueName: "stream"))
  var stream: [StreamName] = []
  @Flag(help: "All rows. This is the default without --since and --where.")
  var full = false
  @Option(help: ArgumentHelp("Rows of this last period, such as 90d.", valueName: "duration"))
  var since: String?
  @Option(
    help: ArgumentHelp(
      "The column with a row's time, for --since; else the stream's time_column in the machine's configuration.",
      valueName: "column"))
  var timeColumn: String?
  @Option(name: .customLong("where"), help: ArgumentHelp("A condition on the row's columns.", valueName: "condition"))
  var condition: String?
  @Option(help: ArgumentHelp("Send at most this number of rows a second.", valueName: "rows"))
  var rate: Int?
  @Flag(
    inversion: .prefixedNo,
    help: "Wait until all rows are in the outbox, and show the progress; or order it and return at once.")
  var wait = true

  func validate() throws {
    if full, since != nil || condition != nil { throw ValidationError("--full takes neither --since nor --where") }
    if timeColumn != nil, since == nil { throw ValidationError("--time-column is for --since") }
    if let rate, !(1...1_000_000_000).contains(rate) { throw ValidationError("--rate is a number of rows from 1 on") }
    _ = try order()
  }

  func run() async throws {
    do {
      switch try options.any() {
      case .edge(let configuration): try await onEdge(configuration)
      case .cloud(let configuration): try await inCloud(configuration)
      }
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("\(error)".hasPrefix("resync") ? "\(error)" : "resync: \(error)")
    }
  }

  private func order() throws -> ResyncOrder {
    var order = ResyncOrder(rate: rate)
    if let since {
      guard let span = duration(of: since) else {
        throw ValidationError("--since is a whole number and a unit, such as 12h or 90d")
      }
      order.since = .init(column: timeColumn, moment: wallClock() - Int64(span / .microseconds(1)))
    }
    if let condition {
      do {
        order.condition = try Condition(parsing: condition)
      } catch {
        throw ValidationError("--where: \(error)")
      }
    }
    return order
  }

  // MARK: At the edge

  private func onEdge(_ configuration: EdgeConfiguration) async throws {
    guard machine == nil else {
      throw ValidationError("--machine is for the cloud's side; this is a machine's own configuration")
    }
    let names = stream.isEmpty ? configuration.streams.filter { $0.table != nil }.map(\.name) : stream
    try EdgeDatabase.resync(
      path: configuration.database, declarations: configuration.streams, quota: configuration.outbox.quota,
      streams: names,
      order: order())
    print("ordered: \(names.map(\.text).joined(separator: ", "))")
    guard wait else { return }
    guard AgentLock.holder(database: configuration.database) != nil else {
      return print("The agent is not running; it sends the rows when it starts.")
    }
    try await follow(names) { name in
      try SQLiteEdgeReader(path: configuration.database).report()?.streams.first { $0.name.isExactly(name.text) }?
        .resync
    }
  }

  // MARK: In the cloud

  private func inCloud(_ configuration: CloudConfiguration) async throws {
    guard let machine else { throw ValidationError("--machine is missing: in the cloud it says whose rows are sent") }
    let streams = try configuration.openReplica().streams()
      .filter { $0.machine == machine && (stream.isEmpty || stream.contains($0.stream)) }
    let unknown = stream.filter { name in !streams.contains { $0.stream == name } }
    guard unknown.isEmpty, !streams.isEmpty else {
      throw fail(
        "resync: the store knows no stream \(unknown.map(\.text).joined(separator: ", ")) of \(machine) with a table")
    }
    let channel = MachineChannel(configuration.connection, name: "resync")
    async let connection: Void = channel.run()
    let asked = await Swift.Result {
      let order = try order()
      for stream in streams { _ = try await progress(.resync(order), stream, channel) }
      print("ordered: \(streams.map(\.stream.text).joined(separator: ", "))")
      guard wait else { return }
      try await follow(streams.map(\.stream)) { name in
        try await progress(.progress, streams.first { $0.stream == name }!, channel)
      }
    }
    channel.stop()
    await connection
    try asked.get()
  }

  private func progress(
    _ question: StreamQuestion, _ stream: ReplicatedStream, _ channel: MachineChannel
  ) async throws -> ResyncProgress? {
    var found: ResyncProgress?
    try await channel.ask(question, of: stream) { answer in
      if case .progress(let progress) = answer { found = progress }
    }
    return found
  }

  // MARK: Progress

  /// Prints a line a second until all rows have been looked at.
  private func follow(_ names: [StreamName], _ progress: (StreamName) async throws -> ResyncProgress?) async throws {
    for name in names {
      while let now = try await progress(name) {
        print(line(name, now))
        if now.isDone { break }
        try await Task.sleep(for: .seconds(1))
      }
    }
    print("All rows are in the outbox or sent; `drover status` shows when they are confirmed.")
  }

  private func line(_ name: StreamName, _ progress: ResyncProgress) -> String {
    var line = "\(name)  \(progress.looked) of \(progress.total) rows read, \(progress.entered) in the outbox"
    if let rate = progress.rate { line += ", \(Int(rate)) a second" }
    if !progress.isDone, let left = progress.secondsLeft { line += ", \(Int(left.rounded(.up))) s left" }
    return line
  }
}

extension Swift.Result where Failure == any Error {
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
