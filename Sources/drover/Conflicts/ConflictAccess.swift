// Where a command finds conflicts: in the cloud in the store, at a machine in the cloud, which the machine's agent asks.

import ArgumentParser
import DroverConfiguration
import DroverCore
import DroverWire

/// Which conflicts are meant.
struct ConflictFilter {
  var machine: MachineID?
  var stream: StreamName?

  /// For a sentence: ` of machine MAH001 and stream products`, or nothing.
  var description: String {
    let parts = [machine.map { "machine \($0)" }, stream.map { "stream \($0)" }].compactMap(\.self)
    return parts.isEmpty ? "" : " of " + parts.joined(separator: " and ")
  }
}

struct ConflictPage {
  var total: Int
  /// The highest number of a conflict that waits.
  var newest: Int64
  var conflicts: [Conflict]
  /// Whether others follow behind the last one.
  var hasMore: Bool
}

protocol ConflictAccess {
  func page(_ filter: ConflictFilter, after id: Int64, limit: Int) async throws -> ConflictPage
  func conflict(_ id: Int64) async throws -> Conflict?
  func resolve(_ id: Int64, take: ConflictTake, seen: ConflictSeen) async throws -> ResolveOutcome
}

extension ConflictAccess {
  /// Conflicts from the first on, up to a number of them.
  func first(_ limit: Int, _ filter: ConflictFilter) async throws -> (conflicts: [Conflict], total: Int) {
    var page = try await page(filter, after: 0, limit: limit)
    var conflicts = page.conflicts
    while page.hasMore, conflicts.count < limit, let last = conflicts.last {
      page = try await self.page(filter, after: last.id, limit: limit - conflicts.count)
      conflicts += page.conflicts
    }
    return (conflicts, page.total)
  }
}

/// The cloud's store.
struct StoredConflicts: ConflictAccess {
  let store: any ConflictStore

  func page(_ filter: ConflictFilter, after id: Int64, limit: Int) throws -> ConflictPage {
    // All of them at once could be more than the memory holds.
    let wanted = min(limit, 100)
    let found = try store.conflicts(machine: filter.machine, stream: filter.stream, after: id, limit: wanted)
    return ConflictPage(
      total: try store.conflictCount(machine: filter.machine, stream: filter.stream),
      newest: try store.newestConflict(), conflicts: found, hasMore: found.count == wanted)
  }

  func conflict(_ id: Int64) throws -> Conflict? { try store.conflict(id) }

  func resolve(_ id: Int64, take: ConflictTake, seen: ConflictSeen) throws -> ResolveOutcome {
    try store.resolve(id, take: take, seen: seen)
  }
}

extension ConfigurationOption {
  /// - Parameter forChange: conflicts are going to be resolved.
  func conflicts(forChange: Bool = false) throws -> any ConflictAccess {
    switch try any() {
    case .cloud(let cloud): StoredConflicts(store: try cloud.openConflicts(forChange: forChange))
    case .edge(let edge): CloudConflicts(edge)
    }
  }
}

/// What goes wrong as an error of the command.
func askingForConflicts<Result>(_ body: () async throws -> Result) async throws -> Result {
  do {
    return try await body()
  } catch let code as ExitCode {
    throw code
  } catch {
    throw fail("\(error)")
  }
}
