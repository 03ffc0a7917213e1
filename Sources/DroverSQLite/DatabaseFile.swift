// Which file a path leads to. A path may hold symbolic links, and a program may move a file away while another has it open: a name proves
// nothing, device and inode do. What Drover keeps beside a database stands beside the resolved file, under whatever path it was named.

private import Foundation

/// A file, whatever its name.
struct FileIdentity: Equatable, Sendable {
  var device: UInt64
  var inode: UInt64

  /// - Returns: nil when there is no such file.
  init?(of path: String, followingLinks: Bool = true) {
    var status = stat()
    guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
    self.init(status)
  }

  /// - Returns: nil when the descriptor is not open.
  init?(descriptor: Int32) {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return nil }
    self.init(status)
  }

  private init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
  }

  init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }
}

enum DatabaseFile {
  /// As many links as the kernel follows.
  private static let mostLinks = 40

  /// The path without symbolic links. The file itself need not be there.
  static func resolved(_ path: String) -> String {
    var path = path
    for _ in 0..<mostLinks {
      if let whole = real(path) { return whole }
      // It is not there. Perhaps it is a link that leads to where it will be.
      let standing = inRealFolder(path)
      guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: standing) else { return standing }
      path = target.hasPrefix("/") ? target : "\(parent(of: standing))/\(target)"
    }
    return path
  }

  /// Every folder in which a change can lead the path to another file: the one of the file, and those of the links on the way.
  /// - Returns: for each folder the names in it that matter.
  static func folders(leadingTo path: String) -> [String: Set<String>] {
    var folders: [String: Set<String>] = [:]
    var waiting = [path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path]
    for _ in 0..<mostLinks {
      guard let next = waiting.popLast() else { break }
      var standing = ""
      for part in next.split(separator: "/") {
        let folder = standing.isEmpty ? "/" : standing
        standing += "/\(part)"
        guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: standing) else { continue }
        folders[real(folder) ?? folder, default: []].insert(String(part))
        waiting.append(target.hasPrefix("/") ? target : "\(folder)/\(target)")
      }
    }
    let file = resolved(path)
    folders[parent(of: file), default: []].formUnion(["", "-wal", "-journal"].map { name(of: file) + $0 })
    return folders
  }

  /// The path with its folder resolved, but not its last name.
  static func inRealFolder(_ path: String) -> String {
    let folder = real(parent(of: path)) ?? parent(of: path)
    return folder == "/" ? "/" + name(of: path) : "\(folder)/\(name(of: path))"
  }

  static func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private static func name(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
  }

  private static func real(_ path: String) -> String? {
    guard let whole = realpath(path, nil) else { return nil }
    defer { free(whole) }
    return String(cString: whole)
  }
}

/// A file that Drover keeps beside a database.
struct FileBeside {
  /// Beside the resolved file.
  let path: String
  /// Where a release that knew only the path's own name may have put it; nil where that is the same place.
  let earlierPath: String?

  init(_ ending: String, database: String) {
    path = DatabaseFile.resolved(database) + ending
    let named = database + ending
    let isSame = DatabaseFile.inRealFolder(named) == path
    earlierPath = isSame ? nil : named
  }

  /// All texts that are there, the one at its place first.
  var texts: [String] {
    [path, earlierPath].compactMap { path in path.flatMap { try? String(contentsOfFile: $0, encoding: .utf8) } }
  }

  /// Takes away what an earlier release left, once the file stands at its place.
  func removeEarlier() { if let earlierPath { WholeFile.remove(earlierPath) } }

  func remove() {
    WholeFile.remove(path)
    removeEarlier()
  }
}
