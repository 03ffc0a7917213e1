// `make microbench`: each hot loop alone, without processes, sockets and other threads. Where `drover bench` says how fast the whole is, this
// says which part of it a change has made faster; docs/performance.md.

import ArgumentParser
import Foundation

@main
struct Benchmarks: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drover-benchmarks",
    abstract: "Measures the hot loops one by one.",
    discussion: """
      Example:
        drover-benchmarks --filter frame --seconds 5

      Compare figures of one run, or of runs by turns on a quiet machine.
      """)

  @Option(help: "Only loops whose name has this in it.") var filter = ""
  @Option(help: "Seconds for each loop.") var seconds = 2.0
  @Flag(help: "Print the figures as JSON, one line each.") var json = false

  func validate() throws {
    guard seconds > 0 else { throw ValidationError("--seconds takes more than 0") }
  }

  func run() throws {
    for loop in HotLoop.all where filter.isEmpty || loop.name.contains(filter) {
      let result = try measure(loop)
      if json {
        print(
          #"{"loop":"\#(loop.name)","of":"\#(loop.item)","median_ns":\#(Int(result.median)),"least_ns":\#(Int(result.least)),"rounds":\#(result.rounds)}"#
        )
      } else {
        print(
          loop.name.padding(toLength: 16, withPad: " ", startingAt: 0)
            + String(
              format: "%8.0f ns for each %@ (at least %.0f, %d rounds)", result.median, loop.item, result.least,
              result.rounds))
      }
    }
  }

  private struct Result {
    /// Nanoseconds for one item.
    var median: Double
    var least: Double
    var rounds: Int
  }

  private func measure(_ loop: HotLoop) throws -> Result {
    let round = try loop.prepare()
    _ = try round()
    let end = ContinuousClock.now.advanced(by: .seconds(seconds))
    var costs: [Double] = []
    while costs.count < 3 || ContinuousClock.now < end {
      let (items, time) = try round()
      costs.append(time / .nanoseconds(1) / Double(items))
    }
    costs.sort()
    return Result(median: costs[costs.count / 2], least: costs[0], rounds: costs.count)
  }
}
