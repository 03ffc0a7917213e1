// A program that a test or the benchmark starts, kills without warning and waits for. posix_spawn, because a broker must be killable and
// reaped at a chosen moment, from a deinit too; Subprocess ties a child's life to a task's.

import Glibc
import Synchronization

package final class ChildProcess: Sendable {
  package let processID: Int32
  private let hasEnded = Mutex(false)

  /// Starts the program with stdin and stdout as given, else /dev/null; stderr goes into the file that is named, else
  /// where the test's goes.
  package init(
    _ program: String, _ arguments: [String], standardInput: Int32? = nil, standardOutput: Int32? = nil,
    errorsTo errorFile: String? = nil
  )
    throws
  {
    let path = try Self.find(program)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (descriptor, source) in [(STDIN_FILENO, standardInput), (STDOUT_FILENO, standardOutput)] {
      if let source {
        posix_spawn_file_actions_adddup2(&actions, source, descriptor)
      } else {
        posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
      }
    }
    if let errorFile {
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errorFile, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    }
    // A thread of the pool blocks most signals, and a child inherits that: a broker started so never hears SIGTERM. And
    // a broker that gets "ignore SIGPIPE" from us is not the broker that people run.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    var all = sigset_t()
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var words = ([path] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var child = pid_t()
    let failure = posix_spawn(&child, path, &actions, &attributes, &words, environ)
    guard failure == 0 else { throw CommandFailed(program: program, why: String(cString: strerror(failure))) }
    processID = child
  }

  deinit { end(SIGKILL) }

  package var isRunning: Bool {
    hasEnded.withLock { hasEnded in
      var status: Int32 = 0
      if !hasEnded, waitpid(processID, &status, WNOHANG) != 0 { hasEnded = true }
      return !hasEnded
    }
  }

  /// Sends the signal and waits until the process is gone; nothing if it already is.
  package func end(_ signal: Int32) {
    hasEnded.withLock { hasEnded in
      guard !hasEnded else { return }
      kill(processID, signal)
      kill(processID, SIGCONT)
      var status: Int32 = 0
      while waitpid(processID, &status, 0) < 0, errno == EINTR {}
      hasEnded = true
    }
  }

  /// Sends a signal that does not end the process.
  package func send(_ signal: Int32) {
    hasEnded.withLock { if !$0 { kill(processID, signal) } }
  }

  /// Runs a short command to its end; throws if it fails.
  package static func run(_ program: String, _ arguments: [String]) throws {
    let child = try ChildProcess(program, arguments)
    var status: Int32 = 0
    try child.hasEnded.withLock { hasEnded in
      while waitpid(child.processID, &status, 0) < 0, errno == EINTR {}
      hasEnded = true
      guard status == 0 else {
        throw CommandFailed(program: program, why: "wait status \(status) of \(arguments.joined(separator: " "))")
      }
    }
  }

  /// The program in PATH, or where daemons live; a path is one.
  private static func find(_ program: String) throws -> String {
    guard !program.contains("/") else { return program }
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    let folders = path.split(separator: ":").map(String.init)
    for folder in folders + ["/usr/sbin", "/usr/local/sbin"] {
      let candidate = "\(folder)/\(program)"
      if access(candidate, X_OK) == 0 { return candidate }
    }
    throw CommandFailed(program: program, why: "not found in \(path) or /usr/sbin; is it installed?")
  }
}

package struct CommandFailed: Error, CustomStringConvertible {
  let program: String
  let why: String
  package var description: String { "\(program): \(why)" }
}
