// How many files the process may have open: a fleet has a socket for each machine, and so has the broker that it starts.

import Glibc

enum OpenFiles {
  /// Besides the machines' sockets: files, pipes, the broker's and the consumer's.
  private static let others = 100

  /// Raises the soft limit, which processes that are started from now on inherit.
  /// - Throws: `BenchFailure` where the hard limit is too low, with how many machines it allows.
  static func allow(machines: Int) throws {
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    getrlimit(resource, &limit)
    let needed = rlim_t(machines + others)
    guard limit.rlim_max >= needed else {
      throw BenchFailure(
        "open \(machines) connections: the hard limit of open files is \(limit.rlim_max), which allows \(max(0, Int(limit.rlim_max) - others)) machines; raise it (ulimit -Hn, LimitNOFILE=)"
      )
    }
    limit.rlim_cur = max(limit.rlim_cur, needed)
    guard setrlimit(resource, &limit) == 0 else {
      throw BenchFailure("raise the limit of open files to \(needed): \(String(cString: strerror(errno)))")
    }
  }
}
