// After a gap in a machine's capture (a table that was renamed, dropped and made again, a trigger that was dropped) its rows have come again,
// but rows that are gone were not reported. A comparison of that one stream finds them: once for each gap, repairing, and tried again until it has been
// made. A connection is opened only where there is a gap.

import DroverCloud
package import DroverCore
package import Logging
import ServiceLifecycle

package struct GapCheck: Service {
  /// How often the store is asked for gaps.
  private static let interval = Duration.seconds(2)
  /// The pause after a try that did not close a gap doubles up to this one.
  private static let longestPause = Duration.seconds(300)

  private let openReplica: @Sendable () throws -> any Replica
  private let channel: @Sendable () -> MachineChannel
  private let isOurs: @Sendable () -> Bool
  private let logger: Logger

  /// - Parameters:
  ///   - openReplica: the store beside the consumer, on a connection of its own.
  ///   - channel: a new connection to the machines.
  ///   - isOurs: whether this consumer makes them; of several one does.
  package init(
    openReplica: @escaping @Sendable () throws -> any Replica, channel: @escaping @Sendable () -> MachineChannel,
    isOurs: @escaping @Sendable () -> Bool, logger: Logger
  ) {
    self.openReplica = openReplica
    self.channel = channel
    self.isOurs = isOurs
    self.logger = logger
  }

  /// When a gap is tried again that could not be closed.
  private struct Retry {
    var at: ContinuousClock.Instant
    var pause: Duration
  }

  package func run() async throws {
    var retries: [String: Retry] = [:]
    var replica: (any Replica)?
    while !Task.isShuttingDownGracefully {
      do {
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.interval) }
      } catch {
        return
      }
      guard isOurs() else {
        replica = nil
        continue
      }
      do {
        let open = try replica ?? openReplica()
        replica = open
        try await closeGaps(open, &retries)
      } catch {
        replica = nil
        logger.debug("look for gaps in the capture of machines: \(error); the consumer tries again in \(Self.interval)")
      }
    }
  }

  private func closeGaps(_ replica: any Replica, _ retries: inout [String: Retry]) async throws {
    let now = ContinuousClock.now
    let due = try replica.gaps().filter { stream, gap in
      stream.isOnline && retries[Self.name(gap, of: stream)].map { $0.at <= now } ?? true
    }
    guard !due.isEmpty else { return }
    let channel = channel()
    try await withGracefulShutdownHandler {
      async let connection: Void = channel.run()
      defer { channel.stop() }
      let results = await CheckRound(replica: replica, machines: channel, isRepairing: true).run(due.map(\.stream))
      for ((stream, gap), result) in zip(due, results) where !Task.isShuttingDownGracefully {
        let name = Self.name(gap, of: stream)
        if try close(gap, of: stream, replica, result) {
          retries[name] = nil
        } else {
          let pause = min((retries[name]?.pause ?? Self.interval) * 2, Self.longestPause)
          retries[name] = Retry(at: .now.advanced(by: pause), pause: pause)
        }
      }
      channel.stop()
      await connection
    } onGracefulShutdown: {
      channel.stop()
    }
  }

  private static func name(_ gap: String, of stream: ReplicatedStream) -> String {
    "\(stream.machine)/\(stream.stream)/\(gap)"
  }

  private func close(
    _ gap: String, of stream: ReplicatedStream, _ replica: any Replica, _ result: CheckRound.Result
  ) throws -> Bool {
    try replica.note(gap: gap, isClosed: result.isSettled, of: stream)
    let subject = "compare \(stream.stream) of \(stream.machine) after a gap in its capture"
    if result.isSettled {
      logger.notice("\(subject): \(quantity(result.finding.repaired, "row")) repaired")
    } else {
      logger.warning(
        "\(subject): \(result.failure ?? "\(quantity(result.finding.inFlight + result.finding.drift, "row")) still changing"); the consumer tries again"
      )
    }
    return result.isSettled
  }
}
