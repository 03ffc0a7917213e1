import DroverCore
import DroverProcesses
import DroverTesting
import Foundation
import GRDB
import Testing

@testable import DroverSQLite

@Suite(.serialized, .timeLimit(.minutes(30))) struct DatabaseWatcherTests {
  // The watcher only wakes; whether there is something new is asked of the database. So each test awaits the wake.
  @Test(arguments: ["delete", "truncate", "persist", "wal"])
  func `a commit of another process wakes`(mode: String) async throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)", journalMode: mode)
    let (wakes, waker) = AsyncStream.makeStream(of: Void.self)
    let watcher = try #require(DatabaseWatcher(path: app.path) { waker.yield() })
    var iterator = wakes.makeAsyncIterator()
    let path = app.path
    for id in 1...3 {
      let writing = Background {
        try Python.run(
          """
          connection = sqlite3.connect(sys.argv[1])
          connection.execute("PRAGMA journal_mode = \(mode)")
          connection.execute("INSERT INTO t VALUES (\(id))")
          connection.commit()
          """, path)
      }
      await iterator.next()
      try writing.wait()
    }
    withExtendedLifetime(watcher) {}
  }

  @Test func `a link to the database is followed`() async throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let other = try AppDatabase()
    let link = other.file("link.db")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: app.path)
    let (wakes, waker) = AsyncStream.makeStream(of: Void.self)
    let watcher = try #require(DatabaseWatcher(path: link) { waker.yield() })
    try app.run("INSERT INTO t VALUES (1)")
    var iterator = wakes.makeAsyncIterator()
    await iterator.next()
    withExtendedLifetime(watcher) {}
  }

  @Test func `a link that leads to another folder wakes, and what is written there then too`() async throws {
    let (one, two) = (try AppDatabase("CREATE TABLE t (id)"), try AppDatabase("CREATE TABLE t (id)"))
    let links = try AppDatabase()
    let link = links.file("data")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: one.folder)
    let (wakes, waker) = AsyncStream.makeStream(of: Void.self)
    let watcher = try #require(DatabaseWatcher(path: link + "/app.db") { waker.yield() })
    try FileManager.default.createSymbolicLink(atPath: link + ".new", withDestinationPath: two.folder)
    #expect(rename(link + ".new", link) == 0)
    var iterator = wakes.makeAsyncIterator()
    await iterator.next()
    try two.run("INSERT INTO t VALUES (1)")
    await iterator.next()
    withExtendedLifetime(watcher) {}
  }

  @Test func `other files of the folder wake nobody`() async throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let (wakes, waker) = AsyncStream.makeStream(of: Void.self)
    let count = Counter()
    let watcher = try #require(
      DatabaseWatcher(path: app.path) {
        count.raise(); waker.yield()
      })
    for name in ["app.db2", "app", "app.db-drover.lock", "x-app.db", "app.db-shm"] {
      try Data([1, 2, 3]).write(to: URL(fileURLWithPath: app.file(name)))
    }
    try await Self.settle(app)
    #expect(count.value == 0)
    try app.run("INSERT INTO t VALUES (1)")
    var iterator = wakes.makeAsyncIterator()
    await iterator.next()
    #expect(count.value > 0)
    withExtendedLifetime(watcher) {}
  }

  /// A second watcher on a marker file in the same folder: once it has seen the marker, the first has had its turn at what came before.
  private static func settle(_ app: AppDatabase) async throws {
    let (wakes, waker) = AsyncStream.makeStream(of: Void.self)
    let marker = app.file("marker")
    let watcher = try #require(DatabaseWatcher(path: marker) { waker.yield() })
    try Data([1]).write(to: URL(fileURLWithPath: marker))
    var iterator = wakes.makeAsyncIterator()
    await iterator.next()
    withExtendedLifetime(watcher) {}
  }

  // What could not be watched left its inotify instance open, of which a user has 128.
  @Test func `a folder that is not there gives no watcher, and nothing stays open`() throws {
    let before = try openDescriptors("anon_inode:inotify")
    for _ in 0..<100 { #expect(DatabaseWatcher(path: "/nowhere/app.db") {} == nil) }
    // Other tests of this process open and close a few at the same time.
    #expect(try openDescriptors("anon_inode:inotify") < before + 50)
  }
}

@Suite(.ownThread) struct AgentLockTests {
  @Test func `a job that has not moved for long is told by name, and one that has is not`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let lock = try AgentLock(database: app.path)
    lock.beat("relay")
    lock.beat("watcher")
    #expect(AgentLock.worker(database: app.path).isMoving)
    // As if the last beat had been at the machine's start.
    try "1\nrelay 1\nwatcher 99999999999999999\n".write(
      toFile: app.path + "-drover.lock", atomically: false, encoding: .utf8)
    #expect(AgentLock.worker(database: app.path).stuck.map(\.name) == ["relay"])
    withExtendedLifetime(lock) {}
  }

  @Test func `a second taker is refused with the process that has it`() throws {
    let app = try AppDatabase()
    let lock = try AgentLock(database: app.path)
    #expect { try AgentLock(database: app.path) } throws: {
      "\($0)".contains("(\(ProcessInfo.processInfo.processIdentifier))")
    }
    #expect(AgentLock.holder(database: app.path) == ProcessInfo.processInfo.processIdentifier)
    withExtendedLifetime(lock) {}
  }

  // The refused taker closed its descriptor twice: once itself, and once when the half-made lock was released. In between another
  // thread may have been given that number for its database.
  @Test func `a refused taker closes its own descriptor and nobody else's`() throws {
    let app = try AppDatabase()
    let lock = try AgentLock(database: app.path)
    let closing = Counter()
    let stop = Counter()
    // Opens and closes all the time: a close of a number that is not open any more hits one of these.
    let path = app.path
    let others = (0..<2).map { _ in
      Background {
        while stop.value == 0 {
          let descriptor = open(path, O_RDONLY)
          sched_yield()
          if close(descriptor) != 0 { closing.raise() }
        }
      }
    }
    for _ in 0..<100 { #expect(throws: LockError.self) { try AgentLock(database: path) } }
    stop.raise()
    for other in others { try other.wait() }
    #expect(closing.value == 0)
    withExtendedLifetime(lock) {}
  }

  // Two agents worked on one database that had two paths, and each event went to one of their machines only.
  @Test(arguments: ["link.db", "folder/app.db", "chain.db"])
  func `a path with links leads to the lock of the file`(name: String) throws {
    let app = try AppDatabase("CREATE TABLE t (id)")
    let other = try AppDatabase()
    for (link, target) in [("link.db", app.path), ("folder", app.folder), ("chain.db", "link.db")] {
      try FileManager.default.createSymbolicLink(atPath: other.file(link), withDestinationPath: target)
    }
    let path = other.file(name)
    let lock = try AgentLock(database: app.path, machine: MachineID("ONE"))
    #expect { try AgentLock(database: path) } throws: { "\($0)".contains("for machine ONE works on this database") }
    #expect(AgentLock.worker(database: path).isMoving)
    #expect(try FileManager.default.contentsOfDirectory(atPath: other.folder).allSatisfy { !$0.contains("drover") })
    withExtendedLifetime(lock) {}
  }

  @Test func `a hard link of a database that has an agent is refused, and is free with it`() throws {
    let app = try AppDatabase("CREATE TABLE t (id)")
    #expect(link(app.path, app.file("other.db")) == 0)
    do {
      let lock = try AgentLock(database: app.path)
      #expect { try AgentLock(database: app.file("other.db")) } throws: {
        "\($0)".contains("under another name, a hard link")
      }
      withExtendedLifetime(lock) {}
    }
    #expect(throws: Never.self) { try AgentLock(database: app.file("other.db")) }
  }

  @Test func `the lock on the inode drops none of SQLite's, and meets none`() throws {
    let app = try AppDatabase("CREATE TABLE t (id)")
    let lock = try AgentLock(database: app.path)
    try app.run("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)")
    #expect(throws: LockError.self) { try AgentLock(database: app.path) }
    #expect(AgentLock.worker(database: app.path).isMoving)
    let attempt = try Python.run(
      """
      database = sqlite3.connect(sys.argv[1], timeout=0)
      try:
        database.execute("INSERT INTO t VALUES (5)")
        print("taken")
      except sqlite3.OperationalError as error:
        print(error)
      """, app.path)
    #expect(attempt == "database is locked")
    try app.run("COMMIT")
    withExtendedLifetime(lock) {}
  }

  // An agent of the release before held its lock beside the link.
  @Test func `an agent of an earlier release at a link is found, and its files are taken over`() throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let other = try AppDatabase()
    let path = other.file("link.db")
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: app.path)
    let epoch = try app.attach(.table("t")).epoch
    for ending in ["-drover.state", "-drover.backup"] {
      let text =
        ending == "-drover.state" ? try String(contentsOfFile: app.path + ending, encoding: .utf8) : "made 1 2 x\n"
      try text.write(toFile: path + ending, atomically: true, encoding: .utf8)
    }
    try FileManager.default.removeItem(atPath: app.path + "-drover.state")
    try "7\n".write(toFile: path + "-drover.lock", atomically: false, encoding: .utf8)
    do {
      let descriptor = open(path + "-drover.lock", O_RDWR)
      defer { close(descriptor) }
      #expect(flock(descriptor, LOCK_EX | LOCK_NB) == 0)
      #expect(AgentLock.holder(database: path) == 7)
      #expect { try AgentLock(database: path) } throws: { "\($0)".contains("(7)") }
    }
    let edge = try EdgeDatabase(path: path, declarations: [.table("t")])
    #expect(edge.epoch == epoch)
    #expect(!FileManager.default.fileExists(atPath: path + "-drover.state"))
    #expect(app.exists("app.db-drover.state"))
    #expect(BackupRecord.read(database: path)?.made?.path == "x")
    try BackupRecord.note(BackupFile(path: "y", bytes: 1, at: 1), database: path)
    #expect(!FileManager.default.fileExists(atPath: path + "-drover.backup"))
    #expect(BackupRecord.read(database: app.path)?.made?.path == "y")
  }

  @Test func `an agent that has another file open than stands there is not shown as at work`() throws {
    let app = try AppDatabase("CREATE TABLE t (id)")
    let lock = try AgentLock(database: app.path)
    #expect(!AgentLock.worker(database: app.path).isElsewhere)
    try FileManager.default.moveItem(atPath: app.path, toPath: app.file("aside.db"))
    #expect(AgentLock.worker(database: app.path).isElsewhere)
    let other = try AppDatabase.connect(app.path)
    try other.inDatabase { try $0.execute(sql: "CREATE TABLE t (id)") }
    let worker = AgentLock.worker(database: app.path)
    #expect(worker.isElsewhere && !worker.isMoving)
    #expect(worker.text.contains("does not use the file at this path now"))
    for _ in 0..<2 {
      try lock.move(to: app.path)
      #expect(AgentLock.worker(database: app.path).isMoving)
    }
    // What has been moved aside is free for another agent.
    #expect(throws: Never.self) { try AgentLock(database: app.file("aside.db")) }
    try other.close()
  }

  // The agent met its own lock on the file that had moved, and said that another process had it open under another name.
  @Test(arguments: [false, true])
  func `a path that becomes a link to the same file keeps its lock`(isFolder: Bool) throws {
    let app = try AppDatabase("CREATE TABLE t (id)")
    let aside = isFolder ? app.folder + ".aside" : app.file("other.db")
    defer { if isFolder { try? FileManager.default.removeItem(atPath: aside) } }
    let path = isFolder ? aside + "/app.db" : aside
    do {
      let lock = try AgentLock(database: app.path)
      for _ in 0..<2 {
        if !FileManager.default.fileExists(atPath: aside) {
          let moved = isFolder ? app.folder : app.path
          #expect(rename(moved, aside) == 0 && symlink(aside, moved) == 0)
        }
        try lock.move(to: app.path)
        for way in [app.path, path] {
          #expect(AgentLock.worker(database: way).isMoving)
          #expect(throws: LockError.self) { try AgentLock(database: way) }
        }
      }
      withExtendedLifetime(lock) {}
    }
    // A child that another test starts in this moment has the lock's file open until its `exec`.
    for _ in 0..<3000 where AgentLock.holder(database: app.path) != nil { Thread.sleep(forTimeInterval: 0.01) }
    #expect(AgentLock.holder(database: app.path) == nil)
    #expect(throws: Never.self) { try AgentLock(database: path) }
  }

  // A child process that was started meanwhile kept the lock for as long as it lived.
  @Test func `no child process gets the lock, also after it has moved`() throws {
    let app = try AppDatabase("CREATE TABLE t (id)")
    let child: ChildProcess
    do {
      let lock = try AgentLock(database: app.path)
      try lock.move(to: app.path)
      child = try ChildProcess("sleep", ["600"])
      withExtendedLifetime(lock) {}
    }
    defer { child.end(SIGKILL) }
    #expect(throws: Never.self) { try AgentLock(database: app.path) }
  }

  // The lock beside the link is the agent's own, and it took it for another agent's.
  @Test func `a path that becomes a link to another file is locked there, and the file before is free`() throws {
    let (app, other) = (try AppDatabase("CREATE TABLE t (id)"), try AppDatabase("CREATE TABLE t (id)"))
    let lock = try AgentLock(database: app.path)
    #expect(rename(app.path, app.file("before.db")) == 0 && symlink(other.path, app.path) == 0)
    try lock.move(to: app.path)
    for path in [app.path, other.path] {
      #expect(AgentLock.worker(database: path).isMoving)
      #expect(throws: LockError.self) { try AgentLock(database: path) }
    }
    #expect(throws: Never.self) { try AgentLock(database: app.file("before.db")) }
    // And a file again.
    #expect(unlink(app.path) == 0 && rename(app.file("before.db"), app.path) == 0)
    try lock.move(to: app.path)
    #expect(AgentLock.worker(database: app.path).isMoving)
    #expect(throws: Never.self) { try AgentLock(database: other.path) }
  }

  @Test func `a link to a file that another agent works on is refused, and the lock before is kept`() throws {
    let (app, other) = (try AppDatabase("CREATE TABLE t (id)"), try AppDatabase("CREATE TABLE t (id)"))
    let (lock, its) = (try AgentLock(database: app.path), try AgentLock(database: other.path))
    #expect(rename(app.path, app.file("before.db")) == 0 && symlink(other.path, app.path) == 0)
    #expect { try lock.move(to: app.path) } throws: { "\($0)".contains("works on this database") }
    #expect { try AgentLock(database: app.file("before.db")) } throws: { "\($0)".contains("under another name") }
    #expect(AgentLock.worker(database: other.path).isMoving)
    withExtendedLifetime((lock, its)) {}
  }

  // An agent whose lock file somebody had removed was shown as not running.
  @Test func `a lock file that somebody removes is made again, and a second agent is refused meanwhile`() throws {
    let app = try AppDatabase("CREATE TABLE t (id)")
    let lock = try AgentLock(database: app.path)
    lock.beat("relay")
    #expect(unlink(app.path + "-drover.lock") == 0)
    #expect { try AgentLock(database: app.path) } throws: { "\($0)".contains("its lock file was removed") }
    // The regular look is a second after the last.
    let end = ContinuousClock.now.advanced(by: .seconds(60))
    while AgentLock.holder(database: app.path) == nil, ContinuousClock.now < end {
      lock.beat("relay")
      sched_yield()
    }
    #expect(AgentLock.worker(database: app.path).isMoving)
    #expect { try AgentLock(database: app.path) } throws: {
      "\($0)".contains("(\(ProcessInfo.processInfo.processIdentifier))")
    }
    // Nothing is made where the database is gone.
    try FileManager.default.removeItem(atPath: app.path)
    try FileManager.default.removeItem(atPath: app.path + "-drover.lock")
    lock.note(connection: "none")
    #expect(!app.exists("app.db-drover.lock"))
  }

  // The lock went with the folder that was moved away, and a second agent could have begun on the database in its place.
  @Test func `a folder that takes the place of another is locked too`() throws {
    let (app, other) = (try AppDatabase("CREATE TABLE t (id)"), try AppDatabase("CREATE TABLE t (id)"))
    let lock = try AgentLock(database: app.path)
    #expect(rename(app.folder, app.folder + ".aside") == 0 && rename(other.folder, app.folder) == 0)
    defer { try? FileManager.default.removeItem(atPath: app.folder + ".aside") }
    #expect(AgentLock.holder(database: app.path) == nil)
    try lock.move(to: app.path)
    #expect(AgentLock.worker(database: app.path).isMoving)
    #expect(throws: LockError.self) { try AgentLock(database: app.path) }
  }

  @Test func `it is free again when its holder lets go`() throws {
    let app = try AppDatabase()
    do { _ = try AgentLock(database: app.path) }
    #expect(AgentLock.holder(database: app.path) == nil)
    let lock = try AgentLock(database: app.path)
    withExtendedLifetime(lock) {}
  }

  @Test func `another process that holds it is named, and its death frees it`() throws {
    let app = try AppDatabase()
    do { _ = try AgentLock(database: app.path) }
    let holder = Process()
    holder.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    holder.arguments = [
      "python3", "-c",
      """
      import fcntl, os, sys
      file = open(sys.argv[1], "r+")
      fcntl.flock(file, fcntl.LOCK_EX)
      file.truncate(0); file.write(f"{os.getpid()}\\n"); file.flush()
      print("held", flush=True)
      sys.stdin.read()
      """, app.path + "-drover.lock",
    ]
    let (input, output) = (Pipe(), Pipe())
    holder.standardInput = input
    holder.standardOutput = output
    try holder.run()
    #expect(Python.readLine(output) == "held")
    #expect(AgentLock.holder(database: app.path) == holder.processIdentifier)
    #expect { try AgentLock(database: app.path) } throws: { "\($0)".contains("(\(holder.processIdentifier))") }
    kill(holder.processIdentifier, SIGKILL)
    holder.waitUntilExit()
    #expect(AgentLock.holder(database: app.path) == nil)
    #expect(throws: Never.self) { try AgentLock(database: app.path) }
  }

  @Test func `nobody holds what was never locked, and asking makes no file`() throws {
    let app = try AppDatabase()
    #expect(AgentLock.holder(database: app.path) == nil)
    #expect(!FileManager.default.fileExists(atPath: app.path + "-drover.lock"))
  }

  @Test func `a folder that cannot be written to is said so`() {
    #expect { try AgentLock(database: "/nowhere/app.db") } throws: { "\($0)".contains("has to be writable") }
  }

  @Test func `detaching takes the file away`() throws {
    let app = try AppDatabase()
    let lock = try AgentLock(database: app.path)
    lock.removeFile()
    #expect(!FileManager.default.fileExists(atPath: app.path + "-drover.lock"))
  }
}

/// What is flushed before it is sent.
@Suite struct DurabilityTests {
  // Each start of an agent left a descriptor of the database open until the process ended. A long run of the simulation ran out of them.
  @Test(arguments: ["delete", "wal"])
  func `an agent that is gone leaves none of its descriptors, and its flushes drop no lock`(journalMode: String)
    throws
  {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)", journalMode: journalMode)
    let path = URL(fileURLWithPath: app.path).resolvingSymlinksInPath().path
    var left: [Int] = []
    for id in 1...3 {
      do {
        let edge = try app.attach(.table("t"), settled: false)
        try app.run("INSERT INTO t VALUES (\(id))")
        #expect(try edge.waiting().count == id)
      }
      left.append(try openDescriptors(path))
    }
    // SQLite itself keeps one for the next start where another connection of this process has a lock.
    #expect(left[1] == left[0] && left[2] == left[0])
    let edge = try app.attach(.table("t"), settled: false)
    try app.run("BEGIN IMMEDIATE; INSERT INTO t VALUES (4)")
    #expect(try edge.waiting().count == 3)
    let attempt = try Python.run(
      """
      database = sqlite3.connect(sys.argv[1], timeout=0)
      try:
        database.execute("INSERT INTO t VALUES (5)")
        print("taken")
      except sqlite3.OperationalError as error:
        print(error)
      """, app.path)
    #expect(attempt == "database is locked")
    try app.run("COMMIT")
  }
}

/// How many descriptors of this process lead to a target.
private func openDescriptors(_ target: String) throws -> Int {
  try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
    .count { (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) == target }
}
