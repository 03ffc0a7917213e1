import ArgumentParser
import DroverBench
import DroverConfiguration
import Foundation

struct SimulateFleetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate-fleet",
    abstract: "Measures what an event costs with many machines: simulated ones, a real broker and a real consumer.",
    discussion: """
      Example:
        drover simulate-fleet --machines 1000 --rate 1

      Each machine has a connection, an outbox in memory and the agent's own logic, all in this process. A mosquitto and the consumer run
      beside it in a temporary folder on loopback. At the end the command compares the cloud's rows with what was made, and fails if a row is
      lost or doubled. docs/performance.md explains the figures.
      """)

  @Option(help: "How many machines.")
  var machines = 100

  @Option(help: "Events a second of each machine, such as 0.1.")
  var rate: Double?

  @Option(help: "How many seconds events are made at that rate.")
  var seconds = 30

  @Option(help: "Events that wait at each machine at the start, instead of a rate.")
  var backlog: Int?

  @Flag(help: "Print the figures as JSON.")
  var json = false

  func validate() throws {
    guard (1...Fleet.mostMachines).contains(machines) else {
      throw ValidationError(
        "--machines takes 1 to \(Fleet.mostMachines): an address has no more ports to connect from")
    }
    guard (rate == nil) != (backlog == nil) else {
      throw ValidationError("give either --rate or --backlog")
    }
    guard rate.map({ $0 > 0 && $0 <= 100_000 }) ?? true, (1...86_400).contains(seconds) else {
      throw ValidationError("--rate takes more than 0 and up to 100,000 events a second, --seconds 1 to 86,400")
    }
    guard (1...10_000_000).contains(load.events) else {
      throw ValidationError("--rate, --seconds and --backlog together make 1 to 10,000,000 events a machine")
    }
  }

  private var load: Fleet.Load { backlog.map { .backlog($0) } ?? .rate(rate ?? 0, seconds: seconds) }

  func run() async throws {
    let report: FleetReport
    do {
      let fleet = Fleet(
        machines: machines, load: load,
        drover: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
        logger: makeLogger("drover simulate-fleet", level: .warning)
      ) { FileHandle.standardError.write(Data("\($0) …\n".utf8)) }
      report = try await onThread { try fleet.run() }
      print(json ? try report.json : report.text)
    } catch {
      throw fail("simulate-fleet: \(error)")
    }
    guard report.rowsLost == 0, report.rowsDoubled == 0, report.confirmed == report.made else {
      throw fail("simulate-fleet: the cloud's rows differ from what the machines made")
    }
  }
}
