// `drover dead`: what could not be applied, or never be sent, and what to do with it. Each subcommand has a file of its own.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite

struct DeadCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dead",
    abstract: "Lists, shows, replays and purges dead letters, on either side.",
    discussion: """
      Examples:
        drover dead list --config cloud.yaml --machine MAH001
        drover dead show --config cloud.yaml 7
        drover dead replay --config cloud.yaml --reason conflict
        drover dead purge --config edge.yaml --id 7

      In the cloud, a dead letter is a message or event that could not be applied. At the edge, it is an event that the broker or the
      cloud will never take, or a row from the cloud that the app's tables refuse; the cloud lists such rows too.
      docs/how-to/handle-dead-letters.md explains the reasons.
      """,
    subcommands: [
      DeadListCommand.self, DeadShowCommand.self, DeadReplayCommand.self, DeadPurgeCommand.self,
    ])
}

/// Which letters a subcommand means.
struct DeadLetterOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Only letters of this machine.", valueName: "machine"))
  var machine: MachineID?
  @Option(help: ArgumentHelp("Only letters of this stream.", valueName: "stream"))
  var stream: StreamName?
  @Option(help: "Only letters with this reason.")
  var reason: DeadLetterReason?
  @Option(help: ArgumentHelp("Only the letter with this number.", valueName: "id"))
  var id: Int64?
  @Option(
    help: ArgumentHelp(
      "In the cloud: only the row with this local ID, where a machine refuses it.", valueName: "local-id"))
  var row: String?

  /// The rows at machines that are meant; nil where letters alone are.
  var refusals: RefusalFilter? {
    guard id == nil else { return nil }
    return RefusalFilter(machine: machine, stream: stream, localID: row, reason: reason?.rawValue)
  }

  /// Letters are meant, and not rows at machines alone.
  var meansLetters: Bool { row == nil }

  func validate() throws {
    guard id == nil || row == nil else {
      throw ValidationError("--id names a letter, and --row a row that a machine refuses; give one of them")
    }
  }

  var filter: DeadLetterFilter { DeadLetterFilter(id: id, machine: machine, stream: stream, reason: reason) }

  /// For a sentence: ` of machine MAH001 and reason event`, or nothing.
  var description: String {
    let parts = [
      id.map { "number \($0)" }, machine.map { "machine \($0)" }, stream.map { "stream \($0)" },
      reason.map { "reason \($0.rawValue)" }, row.map { "row \($0)" },
    ].compactMap(\.self)
    return parts.isEmpty ? "" : " of " + parts.joined(separator: " and ")
  }
}

extension MachineID: ExpressibleByArgument {
  package init?(argument: String) { try? self.init(argument) }
}
extension StreamName: ExpressibleByArgument {
  package init?(argument: String) { try? self.init(argument) }
}
extension DeadLetterReason: ExpressibleByArgument {}

/// The dead letters of whichever side the configuration is for.
enum DeadLetters {
  case edge(EdgeDeadLetters)
  case cloud(any CloudDeadLetterStore, CloudConfiguration)

  /// - Parameter forChange: the command is going to change something.
  init(_ options: ConfigurationOption, forChange: Bool) throws {
    let configuration = try options.any()
    do {
      switch configuration {
      case .edge(let edge):
        self = .edge(try EdgeDeadLetters(path: edge.database, machine: edge.machine, readOnly: !forChange))
      case .cloud(let cloud):
        self = .cloud(try cloud.openDeadLetters(), cloud)
      }
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("\(error)")
    }
  }

  /// The cloud's configuration, to look at rows that machines refuse; nil at the edge, where such a row is a letter.
  /// - Throws: where a row is asked for at the edge.
  func cloud(_ which: DeadLetterOptions) throws -> CloudConfiguration? {
    switch self {
    case .cloud(_, let configuration): return configuration
    case .edge:
      guard which.row == nil else {
        throw fail("--row is for the cloud; here `drover dead list` shows the letter's number, and --id takes it")
      }
      return nil
    }
  }

  var store: any DeadLetterStore {
    switch self {
    case .edge(let letters): letters
    case .cloud(let letters, _): letters
    }
  }
}
