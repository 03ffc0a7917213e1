import ArgumentParser
import DroverCore
import Foundation

struct DeadPurgeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "purge",
    abstract: "Gives dead letters up for good.",
    discussion: """
      Example:
        drover dead purge --config cloud.yaml --machine TEST --yes

      Asks before it does so. Without a terminal it does nothing unless --yes is given. `drover status` shows how many were purged.
      """)

  @OptionGroup var options: ConfigurationOption
  @OptionGroup var which: DeadLetterOptions
  @Flag(help: "Do not ask.")
  var yes = false

  func run() async throws {
    let store = try DeadLetters(options, forChange: true).store
    var filter = which.filter
    do {
      // What comes in while the person thinks is not meant.
      filter.through = try store.newest()
      let count = try store.count(filter)
      guard count > 0 else {
        print("no dead letters\(which.description)")
        return
      }
      guard try yes || confirm(count) else {
        print("nothing was purged")
        return
      }
      print("\(letters(try store.purge(filter))) purged")
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("purge: \(error)")
    }
  }

  private func confirm(_ count: Int) throws -> Bool {
    guard isatty(STDIN_FILENO) != 0 else {
      throw fail(
        "purge: \(letters(count))\(which.description) would be given up for good; there is no terminal to ask at, so add --yes to do it",
        ExitCode.validationFailure)
    }
    print("Give up \(letters(count))\(which.description) for good? [y/N] ", terminator: "")
    fflush(nil)
    return ["y", "yes"].contains(readLine()?.trimmingCharacters(in: .whitespaces).lowercased())
  }
}

/// `1 dead letter`, `3 dead letters`.
func letters(_ count: Int) -> String { "\(count) dead letter\(count == 1 ? "" : "s")" }
