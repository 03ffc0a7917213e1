import ArgumentParser
import DroverCore
import DroverWire

struct ConflictsResolveCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resolve",
    abstract: "Resolves conflicts: keeps the row, or writes the value that lost.",
    discussion: """
      Examples:
        drover conflicts resolve --config cloud.yaml 7 --take cloud
        drover conflicts resolve --config cloud.yaml 7 --take machine --seen 3f9c0a1b2c3d4e5f
        drover conflicts resolve --config cloud.yaml --stream products --take cloud --yes

      --take names the side whose value the row gets. If that side won, the row stays as it is. If it lost, its value is written into
      the row, and the machine gets it. --take both keeps the row and inserts the other value under a new key; it works only if both
      sides made a new row under one key.

      Nothing is done if the row has changed since the conflict was decided: `drover conflicts show` shows it as it is now and names
      it, and --seen takes that name. --even-changed compares with nothing.

      Without numbers, --all, --machine or --stream say which conflicts are meant. The command asks before it resolves several, and
      without a terminal it needs --yes. The exit status is 1 if a conflict is left.
      """)

  /// Lines about single conflicts; the others are counted.
  private static let lines = 20

  @OptionGroup var options: ConfigurationOption
  @Option(help: "Whose value the row gets: cloud, machine or both.")
  var take: ConflictTake
  @Option(help: ArgumentHelp("Only conflicts of this machine.", valueName: "machine"))
  var machine: MachineID?
  @Option(help: ArgumentHelp("Only conflicts of this stream.", valueName: "stream"))
  var stream: StreamName?
  @Flag(help: "All conflicts, or all that --machine and --stream choose.")
  var all = false
  @Option(help: ArgumentHelp("The row as `drover conflicts show` named it.", valueName: "name"))
  var seen: String?
  @Flag(help: "Also where the row has changed since the conflict was decided.")
  var evenChanged = false
  @Flag(help: "Do not ask.")
  var yes = false
  @Argument(help: "The conflicts' numbers, as `drover conflicts list` shows them.")
  var ids: [Int64] = []

  func validate() throws {
    let isFiltered = all || machine != nil || stream != nil
    guard ids.isEmpty == isFiltered else {
      throw ValidationError(
        ids.isEmpty
          ? "name conflicts by their numbers, or choose them with --all, --machine or --stream"
          : "name conflicts by their numbers, or choose them with --all, --machine or --stream, not both")
    }
    guard seen == nil || ids.count == 1 else { throw ValidationError("--seen is about one conflict") }
    guard seen == nil || !evenChanged else { throw ValidationError("--seen and --even-changed exclude each other") }
  }

  func run() async throws {
    let access = try options.conflicts(forChange: true)
    var outcome = Outcome()
    try await askingForConflicts {
      if ids.count == 1 {
        try await resolve(ids[0], access, &outcome)
      } else if !ids.isEmpty {
        guard try isWanted(ids.count) else { return outcome.isCancelled = true }
        for id in ids { try await resolve(id, access, &outcome) }
      } else {
        try await resolveChosen(access, &outcome)
      }
    }
    outcome.print()
    if !outcome.left.isEmpty { throw ExitCode.failure }
  }

  /// What comes while the person thinks is not meant.
  private func resolveChosen(_ access: any ConflictAccess, _ outcome: inout Outcome) async throws {
    let filter = ConflictFilter(machine: machine, stream: stream)
    var page = try await access.page(filter, after: 0, limit: 100)
    let newest = page.newest
    guard page.total > 0 else { return print("no conflicts\(filter.description)") }
    guard try isWanted(page.total, filter) else { return outcome.isCancelled = true }
    while let last = page.conflicts.last {
      for conflict in page.conflicts where conflict.id <= newest {
        try await resolve(conflict.id, access, &outcome)
      }
      guard page.hasMore, last.id < newest else { return }
      page = try await access.page(filter, after: last.id, limit: 100)
    }
  }

  private func isWanted(_ count: Int, _ filter: ConflictFilter = ConflictFilter()) throws -> Bool {
    guard !yes, count > 1 else { return true }
    let what = "\(quantity(count, "conflict"))\(filter.description)"
    return try confirm(
      "Resolve \(what) with --take \(take.rawValue)?", "resolve: \(what) would be resolved with --take \(take.rawValue)"
    )
  }

  private func resolve(_ id: Int64, _ access: any ConflictAccess, _ outcome: inout Outcome) async throws {
    let seen: ConflictSeen = seen.map { .named($0) } ?? (evenChanged ? .anything : .asDecided)
    switch try await access.resolve(id, take: take, seen: seen) {
    case .resolved: outcome.resolved.append(id)
    case .unknown: outcome.left.append((id, "there is no such conflict"))
    case .changed:
      outcome.left.append(
        (id, "the row has changed; `drover conflicts show \(id)` shows it as it is now and names it for --seen"))
    case .refused(let reason): outcome.left.append((id, "\(reason); nothing was done"))
    }
  }

  private struct Outcome {
    var resolved: [Int64] = []
    var left: [(id: Int64, why: String)] = []
    var isCancelled = false

    func print() {
      if isCancelled { return Swift.print("nothing was resolved") }
      if resolved.count == 1, left.isEmpty {
        Swift.print("conflict \(resolved[0]) is resolved")
      } else if !resolved.isEmpty {
        Swift.print("\(quantity(resolved.count, "conflict")) resolved")
      }
      for (id, why) in left.prefix(ConflictsResolveCommand.lines) { _ = fail("resolve \(id): \(printable(why))") }
      if left.count > ConflictsResolveCommand.lines {
        _ = fail("resolve: and \(quantity(left.count - ConflictsResolveCommand.lines, "more conflict")) left")
      }
    }
  }
}

extension ConflictTake: ExpressibleByArgument {}
