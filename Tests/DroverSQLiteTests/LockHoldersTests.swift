import DroverCore
import Foundation
import GRDB
import Testing

@testable import DroverSQLite

@Suite struct LockHoldersTests {
  @Test func `locks on SQLite's bytes of this file count, with the process that has them`() {
    let locks = """
      1: POSIX  ADVISORY  WRITE 812 fe:00:77 1073741825 1073741825
      2: POSIX  ADVISORY  READ 813 fe:00:77 1073741826 1073742335
      2: -> POSIX  ADVISORY  WRITE 814 fe:00:77 1073741824 1073741824
      3: FLOCK  ADVISORY  WRITE 815 fe:00:77 0 EOF
      4: POSIX  ADVISORY  WRITE 816 fe:00:78 1073741825 1073741825
      5: POSIX  ADVISORY  WRITE 817 fe:00:77 2147483632 2147483632
      6: OFDLCK ADVISORY  WRITE -1 fe:00:77 1073741825 1073741825
      7: POSIX  ADVISORY  WRITE 818 fe:00:77 0 EOF
      nonsense
      """
    let holders = LockHolders.holders(in: locks, inode: 77, bytes: 0x4000_0000...0x4000_01FF)
    #expect(holders.map(\.process) == [812, 813, 818])
    #expect(holders.map(\.isWriter) == [true, false, true])
  }

  @Test(arguments: ["delete", "wal"])
  func `the process is named that holds the lock`(mode: String) throws {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)", journalMode: mode)
    #expect(LockHolders.text(of: app.path) == nil)
    let holder = Process()
    holder.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    holder.arguments = [
      "python3", "-c",
      "import sqlite3, sys; a = sqlite3.connect(sys.argv[1], isolation_level=None); a.execute('BEGIN IMMEDIATE'); a.execute('INSERT INTO t VALUES (1)'); print('locked', flush=True); sys.stdin.read()",
      app.path,
    ]
    let (output, input) = (Pipe(), Pipe())
    holder.standardOutput = output
    holder.standardInput = input
    try holder.run()
    defer { holder.waitUntilExit() }
    defer { try? input.fileHandleForWriting.close() }
    #expect(Python.readLine(output) == "locked")
    #expect(LockHolders.text(of: app.path) == "process \(holder.processIdentifier) (python3)")
    #expect(throws: EdgeStoreError.self) {
      try EdgeDatabase(path: app.path, declarations: [.table("t")], patience: .milliseconds(20))
    }
  }
}
