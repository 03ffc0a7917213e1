// What `drover sync` and `drover compare` find out, on whichever side.

import ArgumentParser
import DroverCore
import DroverWire

/// One stream of an exchange.
struct ExchangedStream {
  var standing: StreamStanding
  /// Rows or events that have gone up, and rows that have come down, since the command began.
  var up = 0
  var down = 0
}

struct Exchange {
  var streams: [ExchangedStream]
  /// What a person has to know beside it: machines that were left out.
  var notes: [String] = []

  var agreement: Agreement { streams.map(\.standing).agreement }
}

/// A command that cannot look at both sides at all.
struct CannotCompare: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

extension Agreement {
  /// As `drover check` has them.
  var exitCode: ExitCode {
    switch self {
    case .equal: .success
    case .underway, .differs: .failure
    case .unknown: ExitCode(2)
    }
  }
}

/// Runs a command that looks at both sides.
func lookingAtBothSides<Result>(_ command: String, _ body: () async throws -> Result) async throws -> Result {
  do {
    return try await body()
  } catch let code as ExitCode {
    throw code
  } catch let error as ValidationError {
    throw error
  } catch {
    let text = "\(error)"
    throw fail(text.hasPrefix("\(command): ") ? text : "\(command): \(text)", Agreement.unknown.exitCode)
  }
}

/// How long a look that cannot compare, or that finds something on its way, is repeated.
struct SyncPatience {
  /// A machine that has just come back needs a moment to describe its tables.
  private static let ofFailures = Duration.seconds(10)
  /// Without `--wait`, what is on its way is given so long.
  private static let ofMoving = Duration.seconds(15)
  private static let pauses: (first: Duration, longest: Duration) = (.milliseconds(100), .seconds(1))

  let waits: Bool
  private let began = ContinuousClock.now
  private var failingSince: ContinuousClock.Instant?
  private var pause = Self.pauses.first

  init(waits: Bool) { self.waits = waits }

  /// How long to wait before the next look; nil when this one was the last.
  mutating func next(after found: [StreamStanding]) -> Duration? {
    let isFailing = found.contains { $0.failure != nil }
    let isMoving = found.contains(where: \.isMoving)
    failingSince = isFailing ? failingSince ?? .now : nil
    let goesOn =
      failingSince.map { $0.advanced(by: Self.ofFailures) > .now }
      ?? (isMoving && (waits || began.advanced(by: Self.ofMoving) > .now))
    guard goesOn else { return nil }
    defer { pause = min(pause * 2, Self.pauses.longest) }
    return pause
  }
}
