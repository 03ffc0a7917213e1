// The two things a thread of one's own needs: being started, and being woken while it waits for a socket.
// A pipe does the waking, not an eventfd: Swift's Glibc module has no <sys/eventfd.h>, and a pipe wakes just as well.

import Glibc
import Synchronization

/// Lends a value to another thread, once.
struct Handover<Value>: @unchecked Sendable {
  // The giver keeps no reference that it uses before it has it back: that is what `sending` proves for a session's
  // handler, and what `ConnectionAttempt` does for a connection.
  let value: Value
}

/// Runs `body` on a new thread. (pthread directly: Foundation's Thread would be all that this module wants of Foundation.)
func startThread(_ body: @escaping @Sendable () -> Void) {
  let start = Unmanaged.passRetained(ThreadStart(body: body))
  var thread = pthread_t()
  let failure = pthread_create(
    &thread, nil,
    { argument in
      Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue().body()
      return nil
    }, start.toOpaque())
  precondition(failure == 0, "the system refuses a thread: \(String(cString: strerror(failure)))")
  pthread_detach(thread)
}

private final class ThreadStart: Sendable {
  let body: @Sendable () -> Void
  init(body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Ends another thread's sleep. Calls between two sleeps cost one system call together.
final class Wakeup: Sendable {
  private let readEnd: Int32
  private let writeEnd: Int32
  private let isPending = Atomic(false)

  init() {
    var ends: [Int32] = [-1, -1]
    precondition(pipe(&ends) == 0, "no pipe for waking a session: \(String(cString: strerror(errno)))")
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    (readEnd, writeEnd) = (ends[0], ends[1])
  }

  deinit {
    close(readEnd)
    close(writeEnd)
  }

  /// From any thread: the present `wait`, or the next one, returns at once.
  func signal() {
    guard !isPending.exchange(true, ordering: .acquiringAndReleasing) else { return }
    var byte: UInt8 = 0
    _ = write(writeEnd, &byte, 1)
  }

  /// Sleeps until `signal`, until the socket is ready, or until the time is over. What the signallers did before
  /// `signal` is visible afterwards. Returns whether the socket has something: data, room, its end or an error.
  func wait(for socket: Int32?, wantsWrite: Bool = false, atMost timeout: Duration) -> Bool {
    var descriptors = [pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0)]
    if let socket {
      descriptors.append(
        pollfd(fd: socket, events: Int16(wantsWrite ? POLLIN | POLLOUT : POLLIN), revents: 0))
    }
    _ = poll(&descriptors, nfds_t(descriptors.count), timeout.wholeMilliseconds)
    if descriptors[0].revents != 0 {
      var bytes: (UInt64, UInt64) = (0, 0)
      _ = read(readEnd, &bytes, MemoryLayout.size(ofValue: bytes))
      // After the read, not before: a signal that comes in between finds `isPending` set and writes nothing, and the
      // caller takes its turn anyway. The other way round the pipe would be empty while `isPending` says full.
      _ = isPending.exchange(false, ordering: .acquiringAndReleasing)
    }
    return descriptors.count > 1 && descriptors[1].revents != 0
  }
}

extension Duration {
  /// For poll(2): rounded up, so that a wish for 100 µs does not become a busy loop.
  fileprivate var wholeMilliseconds: Int32 {
    guard self > .zero else { return 0 }
    let (seconds, attoseconds) = components
    guard seconds < 3600 else { return 3_600_000 }
    return Int32(seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
  }
}
