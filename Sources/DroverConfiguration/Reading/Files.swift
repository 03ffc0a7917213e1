// Files are read with the system's own calls, because their errno is the cause that a person understands, and only up
// to a limit, because a path in a configuration can name anything.

import Foundation

/// Why a file could not be read, in the system's words.
struct UnreadableFile: Error {
  let reason: String
}

/// All bytes of a file.
func readFile(_ path: String, maximumBytes: Int) throws(UnreadableFile) -> [UInt8] {
  // Opening a pipe would wait for a program that writes to it, and so would reading from it.
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else { throw UnreadableFile(reason: String(cString: strerror(errno))) }
  defer { close(descriptor) }
  var contents: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 16_384)
  while contents.count <= maximumBytes {
    let count = read(descriptor, &buffer, buffer.count)
    if count < 0, errno == EINTR { continue }
    if count < 0, errno == EAGAIN {
      var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&event, 1, Int32(patience * 1000)) > 0 else {
        throw UnreadableFile(reason: "nothing came from it within \(patience) s")
      }
      continue
    }
    guard count >= 0 else { throw UnreadableFile(reason: String(cString: strerror(errno))) }
    if count == 0 {
      guard !contents.isEmpty || !isPipe(descriptor) else {
        throw UnreadableFile(reason: "it is a pipe (FIFO) that no program writes to")
      }
      return contents
    }
    contents += buffer[..<count]
  }
  throw UnreadableFile(reason: "more than \(sizeText(maximumBytes))")
}

/// Only a file can be read twice.
func requireFile(_ path: String) throws(UnreadableFile) {
  var status = stat()
  guard stat(path, &status) == 0 else { throw UnreadableFile(reason: String(cString: strerror(errno))) }
  // What a folder is, reading says.
  guard [S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT) else { throw UnreadableFile(reason: "it is no file") }
}

/// How many seconds a pipe is waited for.
private let patience = 5

private func isPipe(_ descriptor: Int32) -> Bool {
  var status = stat()
  return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
}

/// The text of a file.
func readText(_ path: String, maximumBytes: Int) throws(UnreadableFile) -> String {
  guard let text = String(validating: try readFile(path, maximumBytes: maximumBytes), as: UTF8.self) else {
    throw UnreadableFile(reason: "it is not UTF-8")
  }
  return text
}

/// A path as it is written in a file that lies in `folder`. `..` stays: what it means is the file system's to say.
func resolve(_ path: String, in folder: String) -> String {
  if path.hasPrefix("/") { return path }
  var relative = path[...]
  while relative.hasPrefix("./") { relative = relative.dropFirst(2).drop { $0 == "/" } }
  if relative.isEmpty { relative = "." }
  return folder.hasSuffix("/") ? folder + relative : "\(folder)/\(relative)"
}

/// The folder of a file, as an absolute path, so that it stays right when the process changes its own.
func absoluteFolder(of path: String) -> String {
  let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
  let current = FileManager.default.currentDirectoryPath
  let absolute = directory.hasPrefix("/") ? directory : directory == "." ? current : resolve(directory, in: current)
  return absolute.count > 1 && absolute.hasSuffix("/") ? String(absolute.dropLast()) : absolute
}
