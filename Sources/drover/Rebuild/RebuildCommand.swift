import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverSQLite

struct RebuildCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebuild",
    abstract: "Replaces a lost or damaged cloud store with an empty one, which the machines fill again.",
    discussion: """
      Examples:
        drover rebuild --config cloud.yaml
        drover rebuild --config cloud.yaml --yes --wait

      Stop the consumer first. The command renames the old file, with the time in its name, and never deletes it. It copies the dead
      letters, as far as the file can be read. Then start the consumer: the machines notice that the cloud has nothing of them, and send
      everything again. If you have a backup of the store, restore it instead: it keeps the dead letters and the rows of machines
      that are gone. The machines send everything again then, too, and nothing is stored twice.
      With --wait the command goes on until the tables of every machine that the old store knew are equal to the machine's tables.
      """)

  @OptionGroup var options: ConfigurationOption
  @Flag(help: "Do not ask.")
  var yes = false
  @Flag(help: "Wait until the machines have filled the new store.")
  var wait = false

  func run() async throws {
    let configuration = try options.cloud()
    let path = try configuration.sqlitePath(
      for: "rebuild",
      orElse:
        "a PostgreSQL database is restored with pg_restore, or dropped and created again: the machines fill it again (docs/how-to/back-up-and-restore.md)"
    )
    guard let rebuild = try replace(path) else {
      print("nothing was changed")
      return
    }
    print("the old store is \(rebuild.aside)")
    if let unread = rebuild.unread { print("not all of it could be read: \(unread)") }
    print(
      "\(quantity(rebuild.letters, "dead letter")) carried over, \(quantity(rebuild.machines.count, "machine")) known")
    say("start the consumer (`drover cloud`): each machine sends everything again when it is connected")
    guard wait else { return }
    guard !rebuild.machines.isEmpty else {
      throw fail("rebuild: the old store knows no machines to wait for; `drover status` shows those that connect")
    }
    do {
      try await RebuildProgress(configuration: configuration, path: path, rebuild: rebuild).follow()
    } catch {
      throw fail("rebuild: \(error)")
    }
  }

  /// nil if the answer was no.
  private func replace(_ path: String) throws -> StoreRebuild? {
    do {
      let lock = try AgentLock(database: path)
      let consequence = "\(path) would be renamed, and all machines would send everything again"
      guard try yes || confirm("Rename \(path) and have all machines send everything again?", consequence) else {
        return nil
      }
      return try withExtendedLifetime(lock) { try StoreRebuild.run(path: path, now: wallClock()) }
    } catch let code as ExitCode {
      throw code
    } catch {
      throw fail("\(error)")
    }
  }
}
