/// The process that works on a database, as others see it: by the lock that it holds, and by its jobs' heartbeats.
package struct Worker: Equatable, Sendable {
  package struct StuckJob: Equatable, Sendable {
    package var name: String
    package var silence: Duration

    package init(name: String, silence: Duration) {
      self.name = name
      self.silence = silence
    }
  }

  /// nil when none is running.
  package var process: Int32?
  /// Where it runs, for a store that may be on another host; nil where that is this one.
  package var host: String?
  /// Jobs that no longer move.
  package var stuck: [StuckJob]
  /// It has another file open than the one that stands under the database's name now.
  package var isElsewhere: Bool

  package init(process: Int32?, host: String? = nil, stuck: [StuckJob] = [], isElsewhere: Bool = false) {
    self.process = process
    self.host = host
    self.stuck = stuck
    self.isElsewhere = isElsewhere
  }

  package var isMoving: Bool { process != nil && stuck.isEmpty && !isElsewhere }

  /// In words.
  package var text: String {
    guard let process else { return "not running" }
    let jobs = stuck.map { "its \($0.name) has not moved for \(ageText($0.silence.components.seconds * 1_000_000))" }
    let place = host.map { " on \($0)" } ?? ""
    let file =
      isElsewhere
      ? ["it does not use the file at this path now: the database was replaced or removed; see its log"] : []
    return (["running, process \(process)\(place)"] + file + jobs).joined(separator: "; ")
  }

  /// The worker that a command on a host reports: of the host's own one that is stuck, or any; without own ones, one that moves, or any.
  /// - Returns: a worker without a process if none is running.
  package static func telling(_ workers: [Worker], on host: String) -> Worker {
    let own = workers.filter { $0.host == nil || $0.host == host }
    return own.first { !$0.isMoving } ?? own.first ?? workers.first(where: \.isMoving) ?? workers.first
      ?? Worker(process: nil)
  }
}
