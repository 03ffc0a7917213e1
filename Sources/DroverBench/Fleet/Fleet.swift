// A fleet: many machines in one process, each with a connection of its own and the agent's real relay, against a real mosquitto and the real
// consumer as processes. It tells what an event costs as the fleet grows; docs/performance.md explains the figures.

import DroverCore
import DroverMQTT
import DroverProcesses
import DroverSQLite
import Glibc
package import Logging

package struct Fleet: Sendable {
  package enum Load: Sendable {
    /// Each machine makes events at a rate, in events a second, for so many seconds.
    case rate(Double, seconds: Int)
    /// So many events wait at each machine.
    case backlog(Int)

    /// How many events each machine makes.
    package var events: Int {
      switch self {
      case .rate(let rate, let seconds): Int((rate * Double(seconds)).rounded(.down))
      case .backlog(let events): events
      }
    }
  }

  /// One address has no more ports to connect from.
  package static let mostMachines = 28_000
  /// Nothing was confirmed for so long: the run has failed.
  private static let patience = Duration.seconds(60)

  private let machines: Int
  private let load: Load
  private let drover: String
  private let logger: Logger
  private let progress: @Sendable (String) -> Void

  /// - Parameters:
  ///   - drover: the path of the executable whose consumer is measured.
  ///   - progress: told what is done now.
  package init(
    machines: Int, load: Load, drover: String, logger: Logger, progress: @escaping @Sendable (String) -> Void
  ) {
    self.machines = machines
    self.load = load
    self.drover = drover
    self.logger = logger
    self.progress = progress
  }

  /// Runs on the calling thread, which serves all machines.
  package func run() throws -> FleetReport {
    try OpenFiles.allow(machines: machines)
    let folder = try TemporaryFolder()
    let store = SQLiteBenchStore(folder: folder)
    let rig = try CloudRig(drover: drover, folder: folder, store: store.line)
    try rig.startConsumer()
    let ledger = FleetLedger()
    let own = ProcessUsage.of(getpid())!
    let fleet = try (0..<machines).map { try FleetMachine(number: $0, ledger: ledger, logger: logger) }
    let crowd = SessionGroup(
      fleet.map { ($0.options(port: rig.broker.port), $0) }, sparesDescriptors: true, logger: logger)

    progress("connecting \(machines) machines, each with a first event")
    for machine in fleet { machine.make(1) }
    let arrival = try measure(rig) { try serve(crowd, ledger, rig, until: machines) }
    ledger.latencies.removeAll()
    ledger.made = 0

    let events = machines * load.events
    progress("\(events) events of \(machines) machines")
    let (bytes, packets) = try traffic(rig)
    let work = try measure(rig) {
      start(fleet)
      try serve(crowd, ledger, rig, until: events)
    }
    let memory = ProcessUsage.of(getpid())!.peakBytes - own.peakBytes
    let (bytesAfter, packetsAfter) = try traffic(rig)
    progress("comparing the cloud's rows with what was made")
    let comparison = try FleetTable.compare(
      path: store.file, machines: fleet.map(\.id), made: Int64(load.events) + 1)
    let sorted = ledger.latencies.sorted()
    func usage(_ process: KeyPath<Measure, ProcessUsage>) -> FleetReport.Usage {
      FleetReport.Usage(
        microsecondsPerEvent: work[keyPath: process].cpuSeconds * 1e6 / Double(events),
        microsecondsPerArrival: arrival[keyPath: process].cpuSeconds * 1e6 / Double(machines),
        memory: work[keyPath: process].peakBytes)
    }
    return FleetReport(
      machines: machines, rate: rate, arrivalSeconds: arrival.seconds, made: ledger.made, confirmed: ledger.confirmed,
      seconds: work.seconds, eventsPerSecond: Double(events) / work.seconds, p50: quantile(0.5, of: sorted),
      p99: quantile(0.99, of: sorted), consumer: usage(\.consumer), broker: usage(\.broker),
      fleetMicrosecondsPerEvent: work.fleet.cpuSeconds * 1e6 / Double(events),
      fleetBytesPerMachine: memory / machines, bytesPerEvent: Double(bytesAfter - bytes) / Double(events),
      messagesPerEvent: Double(packetsAfter - packets) / Double(events), rowsLost: comparison.lost,
      rowsDoubled: comparison.doubled)
  }

  private var rate: Double? {
    if case .rate(let rate, _) = load { rate } else { nil }
  }

  /// Gives the machines their work: their events lie evenly apart, so that each moment has as many.
  private func start(_ fleet: [FleetMachine]) {
    switch load {
    case .backlog(let events): for machine in fleet { machine.make(events) }
    case .rate(let rate, _):
      let (start, period) = (ContinuousClock.now, Duration.seconds(1 / rate))
      for (number, machine) in fleet.enumerated() {
        machine.make(load.events, from: start.advanced(by: period * number / machines), every: period)
      }
    }
  }

  /// Serves all machines until so many events are confirmed.
  private func serve(_ crowd: SessionGroup, _ ledger: FleetLedger, _ rig: CloudRig, until count: Int) throws {
    var (seen, since) = (-1, ContinuousClock.now)
    try crowd.run {
      guard ledger.confirmed < count else { return true }
      // What is still to be made takes its time.
      if ledger.confirmed != seen || ledger.confirmed == ledger.made { (seen, since) = (ledger.confirmed, .now) }
      guard since.duration(to: .now) > .seconds(1) else { return false }
      try rig.expectRunning()
      guard since.duration(to: .now) < Self.patience else {
        throw BenchFailure(
          "nothing was confirmed for \(Self.patience.components.seconds) s: \(ledger.confirmed) of \(ledger.made) events, with \(crowd.open) connections: \(rig.folder.read("cloud.log").suffix(1000))"
        )
      }
      return false
    }
  }

  // MARK: Measuring

  /// What a piece of work took; CPU is what was used in it, memory the most until its end.
  private struct Measure {
    var seconds: Double
    var consumer, broker, fleet: ProcessUsage
  }

  private func measure(_ rig: CloudRig, _ work: () throws -> Void) throws -> Measure {
    func usages() throws -> [ProcessUsage] {
      try [rig.consumers.first?.processID, rig.broker.processID, getpid()].map { processID in
        guard let usage = processID.flatMap(ProcessUsage.of) else { throw BenchFailure("a process is gone") }
        return usage
      }
    }
    let before = try usages()
    let start = ContinuousClock.now
    try work()
    let seconds = start.duration(to: .now) / .seconds(1)
    let used = zip(try usages(), before).map { after, before -> ProcessUsage in
      var used = after
      used.cpuSeconds -= before.cpuSeconds
      return used
    }
    return Measure(seconds: seconds, consumer: used[0], broker: used[1], fleet: used[2])
  }

  /// Bytes and packets to and from the broker so far.
  private func traffic(_ rig: CloudRig) throws -> (bytes: Int, packets: Int) {
    (
      try rig.brokerCount("bytes/received", "bytes/sent"), try rig.brokerCount("messages/received", "messages/sent")
    )
  }
}
