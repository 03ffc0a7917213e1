// Wakes the agent when another process writes to the database, by inotify on the folder. Only a hint: the write may not be committed
// yet, and network file systems tell nothing, so whoever is woken asks `PRAGMA data_version`, and asks now and then unasked.

private import Foundation
private import Synchronization

package final class DatabaseWatcher: Sendable {
  private let inotify: Int32
  private let stopPipe: (read: Int32, write: Int32)

  /// Calls `changed`, on a thread of its own, after each burst of writes to the file, its journal or its WAL, and `beat` now and then.
  /// Returns nil where the kernel gives no watch.
  package init?(
    path: String, beat: @escaping @Sendable () -> Void = {}, changed: @escaping @Sendable () -> Void
  ) {
    let url = URL(fileURLWithPath: path).resolvingSymlinksInPath()
    inotify = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
    var ends: [Int32] = [0, 0]
    guard inotify >= 0 else { return nil }
    guard pipe(&ends) == 0 else {
      close(inotify)
      return nil
    }
    stopPipe = (ends[0], ends[1])
    let mask = UInt32(IN_MODIFY) | UInt32(IN_CREATE) | UInt32(IN_DELETE) | UInt32(IN_MOVED_TO)
    guard inotify_add_watch(inotify, url.deletingLastPathComponent().path, mask) >= 0 else {
      // The other end of the pipe is closed by deinit, as everything is stored by now.
      close(inotify)
      close(ends[0])
      return nil
    }
    // The watch is on the folder, where other files may be busy too.
    let names = Set(["", "-wal", "-journal"].map { url.lastPathComponent + $0 })
    let descriptor = inotify
    let stop = ends[0]
    let thread = Thread { Self.watch(descriptor, stop, names, beat, changed) }
    thread.name = "drover-watcher"
    thread.start()
  }

  deinit { close(stopPipe.write) }

  private static func watch(
    _ inotify: Int32, _ stop: Int32, _ names: Set<String>, _ beat: () -> Void, _ changed: () -> Void
  ) {
    defer {
      close(inotify)
      close(stop)
    }
    let capacity = 64 << 10
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: MemoryLayout<inotify_event>.alignment)
    defer { buffer.deallocate() }
    while true {
      var waiting = [
        pollfd(fd: inotify, events: Int16(POLLIN), revents: 0), pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
      ]
      beat()
      guard poll(&waiting, 2, 5000) >= 0 || errno == EINTR else { return }
      if waiting[1].revents != 0 { return }
      var isOurs = false
      while case let count = read(inotify, buffer, capacity), count > 0 {
        var offset = 0
        while offset < count {
          let event = (buffer + offset).assumingMemoryBound(to: inotify_event.self)
          let name = String(
            cString: (buffer + offset + MemoryLayout<inotify_event>.size).assumingMemoryBound(to: CChar.self))
          // A full queue of events tells nothing of names, so it counts.
          if event.pointee.mask & UInt32(IN_Q_OVERFLOW) != 0 || names.contains(name) { isOurs = true }
          offset += MemoryLayout<inotify_event>.size + Int(event.pointee.len)
        }
      }
      if isOurs { changed() }
    }
  }
}
