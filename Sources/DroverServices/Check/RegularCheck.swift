// The consumer's own comparisons, at the interval that the configuration sets.

import DroverCloud
package import DroverCore
package import Logging
import ServiceLifecycle

package struct RegularCheck: Service {
  private let every: Duration
  private let repairs: Bool
  private let openReplica: @Sendable () throws -> any Replica
  private let channel: @Sendable () -> MachineChannel
  private let isOurs: @Sendable () -> Bool
  private let logger: Logger

  /// - Parameters:
  ///   - openReplica: the store beside the consumer, on a connection of its own.
  ///   - channel: a new connection to the machines.
  ///   - isOurs: whether this consumer makes them; of several one does.
  package init(
    every: Duration, repairs: Bool, openReplica: @escaping @Sendable () throws -> any Replica,
    channel: @escaping @Sendable () -> MachineChannel, isOurs: @escaping @Sendable () -> Bool, logger: Logger
  ) {
    self.every = every
    self.repairs = repairs
    self.openReplica = openReplica
    self.channel = channel
    self.isOurs = isOurs
    self.logger = logger
  }

  package func run() async throws {
    let channel = channel()
    async let connection: Void = channel.run()
    await withGracefulShutdownHandler {
      while !Task.isShuttingDownGracefully {
        do {
          try await cancelWhenGracefulShutdown { try await Task.sleep(for: every) }
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
      let replica = try openReplica()
      for stream in try await Redescription(replica: replica, machines: channel).run() where stream.isOnline {
        logger.warning("compare \(stream.origin.stream) of \(stream.origin.machine): \(stream.reason)")
      }
      let streams = try replica.streams().filter(\.isOnline)
      let results = await CheckRound(replica: replica, machines: channel, isRepairing: repairs).run(streams)
      for result in results where !result.isSilent { report(result) }
      let silent = CheckRound.silent(results)
      if !silent.isEmpty {
        logger.warning(
          "compare with the machines: \(silent.count) did not answer: \(silent.map(\.text).joined(separator: ", ")); the consumer asks again in \(every)"
        )
      }
    } catch {
      logger.warning("compare with the machines: \(error); the consumer tries again in \(every)")
    }
  }

  private func report(_ result: CheckRound.Result) {
    let subject = "compare \(result.stream.stream) of \(result.stream.machine)"
    if let failure = result.failure { return logger.warning("\(subject): \(failure)") }
    if result.finding.repaired > 0 {
      logger.notice("\(subject): \(quantity(result.finding.repaired, "row")) repaired")
    }
    if result.finding.drift > 0 {
      logger.warning(
        "\(subject): \(quantity(result.finding.drift, "row")) different; `drover check --repair` re-sends them")
    }
  }
}
