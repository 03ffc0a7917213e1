// Files are read with the system's own calls, because their errno is the cause that a person understands, and only up
// to a limit, because a path in a configuration can name anything.

import Foundation

/// Why a file could not be read, in the system's words.
struct UnreadableFile: Error {
  let reason: String
}

/// All bytes of a file.
func readFile(_ path: String, maximumBytes: Int) throws(UnreadableFile) -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw UnreadableFile(reason: String(cString: strerror(errno))) }
  defer { close(descriptor) }
  var contents: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 16_384)
  while contents.count <= maximumBytes {
    let count = read(descriptor, &buffer, buffer.count)
    if count < 0, errno == EINTR { continue }
    guard count >= 0 else { throw UnreadableFile(reason: String(cString: strerror(errno))) }
    if count == 0 { return contents }
    contents += buffer[..<count]
  }
  throw UnreadableFile(reason: "more than \(sizeText(maximumBytes))")
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
