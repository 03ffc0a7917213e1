import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverServices
import Foundation

struct DeadReplayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Sends dead letters again, like any other message.",
    discussion: """
      Example:
        drover dead replay --config cloud.yaml --stream temperature --reason store

      In the cloud, the letter's bytes are published again on their topic. The consumer removes the letter in the transaction in
      which it applies them. If it refuses them again, the letter stays. A row that a machine refuses is tried again by the machine,
      which has to be online. At the edge, the event goes back into the outbox, and a row from the cloud is tried again. A letter
      that was too large to be kept whole cannot be replayed. The exit status is 1 if a letter is left.
      """)

  @OptionGroup var options: ConfigurationOption
  @OptionGroup var which: DeadLetterOptions
  @Option(help: ArgumentHelp("How long to wait for the consumer, in seconds.", valueName: "seconds"))
  var wait: Int = 10

  func validate() throws {
    guard (0...86_400).contains(wait) else { throw ValidationError("--wait is a number of seconds, 0 to 86400") }
  }

  func run() async throws {
    var outcome = ReplayOutcome(success: "")
    var meant = 0
    var atMachines = RefusedRowRetry.Outcome()
    var refused: [KeptRefusal] = []
    do {
      let side = try DeadLetters(options, forChange: true)
      if let cloud = try side.cloud(which), let filter = which.refusals {
        refused = try cloud.reader.refusals(filter, after: 0, limit: .max).rows
        atMachines = try await cloud.retry(
          refused, isAll: which.isEverythingAtMachines, patience: .seconds(wait))
      }
      switch side {
      case _ where !which.meansLetters: break
      case .edge(let letters):
        let ids = try meantIDs(letters)
        meant = ids.count
        outcome = try requeue(ids, letters)
      case .cloud(let letters, let configuration):
        let ids = try meantIDs(letters)
        meant = ids.count
        outcome = try await DeadLetterReplay.run(
          ids, of: letters, store: configuration.openDeadLetters(),
          over: ShortSession(replaying: configuration.connection),
          patience: .seconds(wait))
      }
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("replay: \(error)")
    }
    guard meant + refused.count > 0 else {
      print("no dead letters\(which.description)")
      return
    }
    if meant > 0 { outcome.print() }
    if !refused.isEmpty { atMachines.print() }
    if !outcome.left.isEmpty || !atMachines.left.isEmpty { throw ExitCode.failure }
  }

  /// In the order in which they came.
  private func meantIDs(_ store: any DeadLetterStore) throws -> [Int64] {
    try store.letters(which.filter, limit: .max).map(\.id).sorted()
  }

  private func requeue(_ ids: [Int64], _ letters: EdgeDeadLetters) throws -> ReplayOutcome {
    var outcome = ReplayOutcome(success: "back in the outbox; `drover status` shows when they are confirmed")
    var superseded = 0
    for id in ids {
      switch try letters.requeue(id) {
      case .queued: outcome.done += 1
      case .superseded: superseded += 1
      case .missing: continue
      }
    }
    if superseded > 0 {
      outcome.remarks.append("\(superseded) superseded: a newer event of the same key is in the outbox")
    }
    return outcome
  }
}

extension DeadLetterOptions {
  /// Whatever a machine refuses is meant.
  fileprivate var isEverythingAtMachines: Bool { stream == nil && row == nil && reason == nil }
}

extension CloudConfiguration {
  /// Has machines try rows again that they refuse.
  func retry(_ refused: [KeptRefusal], isAll: Bool, patience: Duration) async throws -> RefusedRowRetry.Outcome {
    let reader = reader
    return try await RefusedRowRetry.run(
      refused, isAll: isAll,
      look: { try reader.refusals(RefusalFilter(machine: $0), after: 0, limit: .max).rows },
      over: ShortSession(replaying: connection), patience: patience)
  }
}

extension RefusedRowRetry.Outcome {
  /// Lines about single rows; the others are counted.
  private static let lines = 20

  fileprivate func print() {
    Swift.print("\(done) of \(quantity(done + left.count, "refused row")) taken by the machines")
    for (kept, why) in left.prefix(Self.lines) {
      Swift.print("\(kept.row.stream) row \(printable(kept.row.localID)) of \(kept.machine): \(printable(why))")
    }
    if left.count > Self.lines { Swift.print("and \(quantity(left.count - Self.lines, "more row")) left") }
  }
}

extension ReplayOutcome {
  /// Lines about single letters; the others are counted.
  private static let lines = 20

  func print() {
    Swift.print("\(quantity(done, "dead letter")) \(success)")
    for remark in remarks { Swift.print(remark) }
    for (id, why) in left.prefix(Self.lines) { Swift.print("letter \(id): \(printable(why))") }
    if left.count > Self.lines { Swift.print("and \(quantity(left.count - Self.lines, "more letter")) left") }
  }
}
