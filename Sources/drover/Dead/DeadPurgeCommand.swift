import ArgumentParser
import DroverCore

struct DeadPurgeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "purge",
    abstract: "Deletes dead letters for good.",
    discussion: """
      Example:
        drover dead purge --config cloud.yaml --machine TEST --yes

      The command asks first. Without a terminal it does nothing unless --yes is given. `drover status` shows how many letters
      were purged. A row that a machine refuses is purged at the machine.
      """)

  @OptionGroup var options: ConfigurationOption
  @OptionGroup var which: DeadLetterOptions
  @Flag(help: "Do not ask.")
  var yes = false

  func run() async throws {
    let side = try DeadLetters(options, forChange: true)
    _ = try side.cloud(which)
    guard which.meansLetters else {
      throw fail(
        "purge: a row that a machine refuses is purged there, or cleared by an edit that the machine's table takes")
    }
    let store = side.store
    var filter = which.filter
    do {
      // What comes in while the person thinks is not meant.
      filter.through = try store.newest()
      let count = try store.count(filter)
      guard count > 0 else {
        print("no dead letters\(which.description)")
        return
      }
      let what = "\(quantity(count, "dead letter"))\(which.description)"
      guard
        try yes || confirm("Delete \(what) for good?", "purge: \(what) would be deleted for good")
      else {
        print("nothing was purged")
        return
      }
      print("\(quantity(try store.purge(filter), "dead letter")) purged")
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("purge: \(error)")
    }
  }
}
