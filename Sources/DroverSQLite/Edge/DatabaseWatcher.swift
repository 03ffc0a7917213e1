// Wakes the agent when another process writes to the database, by inotify on its folder, and when a link on the way to it leads elsewhere. Only a
// hint: the write may not be committed yet, and network file systems tell nothing, so the code that is woken asks `PRAGMA data_version` and looks at
// the file, and does so now and then unasked.

private import Foundation
private import Synchronization

package final class DatabaseWatcher: Sendable {
  private let stopPipe: (read: Int32, write: Int32)

  /// Calls `changed`, on a thread of its own, after each burst of writes to the file, its journal or its WAL, and of changes of what stands
  /// under the path; and `beat` now and then. Returns nil where the kernel gives no watch.
  package init?(
    path: String, beat: @escaping @Sendable () -> Void = {}, changed: @escaping @Sendable () -> Void
  ) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { return nil }
    stopPipe = (ends[0], ends[1])
    guard let watch = FolderWatch(path) else {
      // The other end of the pipe is closed by deinit, as everything is stored by now.
      close(ends[0])
      return nil
    }
    let stop = ends[0]
    let thread = Thread { Self.run(watch, stop, beat, changed) }
    thread.name = "drover-watcher"
    thread.start()
  }

  deinit { close(stopPipe.write) }

  private static func run(_ first: FolderWatch, _ stop: Int32, _ beat: () -> Void, _ changed: () -> Void) {
    var watch = first
    defer {
      watch.end()
      close(stop)
    }
    while true {
      var waiting = [
        pollfd(fd: watch.inotify, events: Int16(POLLIN), revents: 0),
        pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
      ]
      beat()
      let count = poll(&waiting, 2, 5000)
      guard count >= 0 || errno == EINTR else { return }
      if waiting[1].revents != 0 { return }
      let isOurs = watch.readsOurs()
      // A folder may have been moved, or a link may lead elsewhere, of which no event tells in every case.
      if isOurs.link || count == 0 { watch.follow() }
      if isOurs.any { changed() }
    }
  }
}

/// The watches on the folders that lead to a path. They are on folders, where other files may be busy too.
private struct FolderWatch {
  let inotify: Int32
  private let path: String
  /// By watch: the names that matter.
  private var names: [Int32: Set<String>] = [:]
  /// Names that are no file of the database's but a link on the way to it.
  private var links: Set<String> = []
  private static let mask =
    UInt32(IN_MODIFY) | UInt32(IN_CREATE) | UInt32(IN_DELETE) | UInt32(IN_MOVED_TO) | UInt32(IN_MOVED_FROM)

  init?(_ path: String) {
    self.path = path
    inotify = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
    guard inotify >= 0 else { return nil }
    follow()
    guard names.isEmpty else { return }
    end()
    return nil
  }

  func end() { close(inotify) }

  /// Watches the folders that lead to the path now, and no others.
  mutating func follow() {
    let before = Set(names.keys)
    let file = DatabaseFile.parent(of: DatabaseFile.resolved(path))
    names = [:]
    links = []
    for (folder, wanted) in DatabaseFile.folders(leadingTo: path) {
      let watch = inotify_add_watch(inotify, folder, Self.mask)
      guard watch >= 0 else { continue }
      names[watch, default: []].formUnion(wanted)
      if folder != file { links.formUnion(wanted) }
    }
    for watch in before.subtracting(names.keys) { inotify_rm_watch(inotify, watch) }
  }

  /// Reads what has happened: whether any of it concerns the path, and whether it concerns a link.
  func readsOurs() -> (any: Bool, link: Bool) {
    let capacity = 64 << 10
    let buffer = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: MemoryLayout<inotify_event>.alignment)
    defer { buffer.deallocate() }
    var found = (any: false, link: false)
    while case let count = read(inotify, buffer, capacity), count > 0 {
      var offset = 0
      while offset < count {
        let event = (buffer + offset).assumingMemoryBound(to: inotify_event.self)
        let name = String(
          cString: (buffer + offset + MemoryLayout<inotify_event>.size).assumingMemoryBound(to: CChar.self))
        // A full queue of events tells nothing of names, so it counts.
        if event.pointee.mask & UInt32(IN_Q_OVERFLOW) != 0 || names[event.pointee.wd]?.contains(name) == true {
          found.any = true
          if links.contains(name) || event.pointee.mask & UInt32(IN_Q_OVERFLOW) != 0 { found.link = true }
        }
        offset += MemoryLayout<inotify_event>.size + Int(event.pointee.len)
      }
    }
    return found
  }
}
