// The consumer's own comparisons, at the interval that the configuration sets.

import DroverCloud
import DroverConfiguration
import DroverCore
import Logging
import ServiceLifecycle

struct RegularCheck: Service {
  let configuration: CloudConfiguration
  let check: CloudConfiguration.Check
  /// Whether this consumer makes them; of several one does.
  let isOurs: @Sendable () -> Bool
  let logger: Logger

  func run() async throws {
    let channel = MachineChannel(configuration.connection, name: "check")
    async let connection: Void = channel.run()
    await withGracefulShutdownHandler {
      while !Task.isShuttingDownGracefully {
        do {
          try await cancelWhenGracefulShutdown { try await Task.sleep(for: check.every) }
          if isOurs() { await compare(channel) }
        } catch {
          break
        }
      }
    } onGracefulShutdown: {
      channel.stop()
    }
    channel.stop()
    await connection
  }

  private func compare(_ channel: MachineChannel) async {
    do {
      let replica = try configuration.openReplica()
      let streams = try replica.streams().filter(\.isOnline)
      let results = await CheckRound(replica: replica, machines: channel, isRepairing: check.repairs).run(streams)
      for result in results where !result.isSilent { report(result) }
      let silent = CheckRound.silent(results)
      if !silent.isEmpty {
        logger.warning(
          "compare with the machines: \(silent.count) did not answer: \(silent.map(\.text).joined(separator: ", ")); the consumer asks again in \(check.every)"
        )
      }
    } catch {
      logger.warning("compare with the machines: \(error); the consumer tries again in \(check.every)")
    }
  }

  private func report(_ result: CheckRound.Result) {
    let subject = "compare \(result.stream.stream) of \(result.stream.machine)"
    if let failure = result.failure { return logger.warning("\(subject): \(failure)") }
    if result.finding.repaired > 0 {
      logger.notice("\(subject): \(result.finding.repaired) rows differed and were repaired")
    }
    if result.finding.drift > 0 {
      logger.warning(
        "\(subject): \(result.finding.drift) rows differ; `drover check --repair` re-sends them")
    }
  }
}
