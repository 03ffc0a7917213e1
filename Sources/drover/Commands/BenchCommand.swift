import ArgumentParser
import DroverBench
import DroverConfiguration
import DroverCore
import DroverPostgreSQL
import Foundation

struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures this machine: how fast a backlog drains, how soon a commit is in the cloud, and what it costs.",
    discussion: """
      Example:
        drover bench --events 1000000
        drover bench --hostile --live 20
        drover bench --down --events 100000

      The command runs the agent, a mosquitto of its own and the consumer as processes in a temporary folder on loopback, and beside them a
      bare loop of upserts of the same rows. Compare only figures of one run; docs/performance.md explains them.
      """)

  @Option(help: "How many events wait when the agent starts.")
  var events = 200_000

  @Option(help: ArgumentHelp("Seconds of each live phase.", valueName: "seconds"))
  var live = 10

  @Option(help: ArgumentHelp("Seconds of the idle phase.", valueName: "seconds"))
  var idle = 30

  @Option(help: "The compression of the agent's frames.")
  var compression = Compression.none

  @Option(
    help: ArgumentHelp(
      "The cloud's store: sqlite, postgresql (a server of the benchmark's own), or the URI of an empty PostgreSQL database, whose password DROVER_STORE_PASSWORD has.",
      valueName: "sqlite|postgresql|uri"))
  var store = "sqlite"

  @Option(
    help: ArgumentHelp(
      "With a PostgreSQL store, how many consumers share the work as a group.",
      discussion: "Without it there is one, and no group.",
      valueName: "number"))
  var consumers: Int?

  @Option(
    help: ArgumentHelp(
      "How many tables the backlog lies in: what is one table's is applied by one consumer at a time.",
      valueName: "number"))
  var tables = 1

  @Flag(help: "The consumer keeps a change feed (`changes: true`).")
  var changes = false

  @Flag(
    help: ArgumentHelp(
      "Measure instead how soon a good machine's commits are in the cloud while another one sends bad messages.",
      discussion: "One phase of --live seconds alone, and one for each kind of bad message."))
  var hostile = false

  @Option(help: ArgumentHelp("With --hostile, bad messages a second.", valueName: "messages"))
  var flood = 5000

  @Flag(
    help: ArgumentHelp(
      "Measure instead the way down: how soon an edit in the cloud is at a machine, how fast reference data reach a new one, and what capture costs.",
      discussion: "With as many rows as --events says, and edits for --live seconds."))
  var down = false

  @Flag(help: "Print the figures as JSON.")
  var json = false

  func validate() throws {
    guard events >= 1000, live > 0, idle > 0 else {
      throw ValidationError("--events takes at least 1000, --live and --idle at least 1 second")
    }
    guard let place else { throw ValidationError("--store takes sqlite, postgresql or postgresql://…") }
    guard (1...1_000_000).contains(flood) else {
      throw ValidationError("--flood takes 1 to 1,000,000 messages a second")
    }
    guard (1...100).contains(consumers ?? 1), (1...100).contains(tables) else {
      throw ValidationError("--consumers and --tables take 1 to 100")
    }
    guard !(hostile && down) else { throw ValidationError("--hostile and --down are two benchmarks; take one") }
    if down, case .postgresql = place {
      throw ValidationError("--down needs several empty databases: take --store sqlite or postgresql")
    }
    guard !down || consumers == nil && tables == 1 else {
      throw ValidationError("--consumers and --tables are not for --down, which has one consumer and one table")
    }
    if consumers != nil, case .sqlite = place {
      throw ValidationError("--consumers is for --store postgresql: an SQLite file has one consumer")
    }
  }

  private var place: Bench.Store? {
    switch store {
    case "sqlite": .sqlite
    case "postgresql": .ownPostgreSQL
    case let uri where uri.hasPrefix("postgresql://") || uri.hasPrefix("postgres://"):
      .postgresql(
        PostgreSQLAddress(
          uri: uri, password: ProcessInfo.processInfo.environment[DatabaseServer.passwordVariable]), uri: uri)
    default: nil
    }
  }

  func run() async throws {
    var options = Bench.Options()
    options.events = events
    options.liveSeconds = live
    options.idleSeconds = idle
    options.keepsFeed = changes
    options.consumers = consumers
    options.tables = tables
    options.compression = compression
    options.store = place!
    do {
      let drover = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      func progress(_ line: String) { FileHandle.standardError.write(Data("\(line) …\n".utf8)) }
      if hostile {
        let report = try await HostileBench(
          options: options, perSecond: flood, drover: drover, logger: makeLogger("drover bench", level: .warning),
          progress: progress
        ).run()
        return print(json ? try report.json : report.text)
      }
      if down {
        let report = try await DownBench(options: options, drover: drover, progress: progress).run()
        return print(json ? try report.json : report.text)
      }
      let report = try await Bench(options: options, drover: drover, progress: progress).run()
      print(json ? try report.json : report.text)
    } catch {
      throw fail("bench: \(error)")
    }
  }
}

extension Compression: ExpressibleByArgument {}
