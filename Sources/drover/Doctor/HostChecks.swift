// What the machine itself brings: a clock and a disk.

import CTimex
import DroverCore
import Foundation

enum HostChecks {
  static func clock() -> Finding {
    let now = Timestamp.text(microseconds: wallClock())
    // Before this version was written, so wrong for certain.
    guard wallClock() > 1_795_000_000_000_000 else {
      return .bad(
        "clock", "it is \(now) here",
        "set the clock, or let NTP set it: TLS certificates and the times in reports need it")
    }
    var state = timex()
    guard adjtimex(&state) >= 0, state.status & STA_UNSYNC == 0 else {
      return .doubtful(
        "clock", "it is \(now) here, and the kernel says that it is not synchronised",
        "run an NTP client: order and delivery do not depend on the clock, but the times in reports do")
    }
    return .good("clock", "\(now), synchronised")
  }

  /// SQLite keeps the WAL and the journal beside the name by which a program opened the file.
  static func hardLinks(of path: String) -> [Finding] {
    let file = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    let attributes = try? FileManager.default.attributesOfItem(atPath: file)
    guard let names = attributes?[.referenceCount] as? Int, names > 1 else { return [] }
    return [
      .doubtful(
        "database", "\(path) has \(names) names (hard links)",
        "remove the others, or make them symbolic links: programs that open a database by two names corrupt it")
    ]
  }

  static func disk(of path: String) -> Finding {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    var state = statvfs()
    guard statvfs(folder, &state) == 0 else {
      return .bad(
        "disk", "\(folder): \(String(cString: strerror(errno)))", "make the folder, or correct the configuration")
    }
    let free = UInt64(state.f_bavail) * UInt64(state.f_frsize)
    let text = "\(folder): \(free >> 20) MiB and \(state.f_favail) inodes free"
    if access(folder, W_OK) != 0 {
      return .bad(
        "disk", "\(folder) cannot be written to",
        "let this user write there: SQLite keeps its journal beside the database")
    }
    if free < 100 << 20 || (state.f_files > 0 && state.f_favail < 1000) {
      return .bad("disk", text, "free space: the outbox grows while the cloud is away")
    }
    if free < 1 << 30 { return .doubtful("disk", text, "keep at least 1 GiB free for a long outage") }
    return .good("disk", text)
  }
}
