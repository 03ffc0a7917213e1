// `make fuzz`: slices of the fuzzer one after another, each in a process of its own, so that one that ends its process is found and told with its seed.

import ArgumentParser
import DroverSimulation
import Foundation

@main
struct FuzzProgram: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drover-fuzz",
    abstract: "Feeds mutated documents to every decoder, to the consumer and to the agent.",
    discussion: "A slice that fails is told with its seed; `--slice SEED` runs it again in this process.")

  @Option(help: "For how long.") var seconds = 60
  @Option(help: "The first slice's seed.") var seed: UInt64 = 1
  @Option(help: "How much one slice is.") var scale = 5
  @Option(help: "How many at a time.") var jobs = 1
  @Option(help: "Run this slice alone, in this process.") var slice: UInt64?

  func run() throws {
    if let slice {
      let counts = try Fuzz.run(seed: slice, scale: scale)
      return print(counts.documents, counts.accepted, counts.toConsumer, counts.toAgent)
    }
    let end = ContinuousClock.now.advanced(by: .seconds(seconds))
    var total = FuzzCounts()
    var failed: [UInt64] = []
    var next = seed
    var slices = 0
    while ContinuousClock.now < end {
      let running = try (0..<max(1, jobs)).map { _ in
        defer { next += 1 }
        return (next, try start(next))
      }
      for (seed, (process, output)) in running {
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        slices += 1
        guard process.terminationReason == .exit, process.terminationStatus == 0 else {
          failed.append(seed)
          print(
            "slice \(seed) fails: \(process.terminationReason == .exit ? "exit" : "signal") \(process.terminationStatus)"
          )
          continue
        }
        let numbers = text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        guard numbers.count == 4 else { continue }
        total.documents += numbers[0]
        total.accepted += numbers[1]
        total.toConsumer += numbers[2]
        total.toAgent += numbers[3]
      }
      if slices % 20 < max(1, jobs) {
        print("\(slices) slices from \(seed): \(total)")
        fflush(nil)
      }
    }
    print("\(slices) slices from \(seed): \(total); \(failed.count) failed\(failed.isEmpty ? "" : ": \(failed)")")
    if !failed.isEmpty { throw ExitCode.failure }
  }

  private func start(_ seed: UInt64) throws -> (Process, Pipe) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments = ["--slice", "\(seed)", "--scale", "\(scale)"]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    return (process, output)
  }
}
