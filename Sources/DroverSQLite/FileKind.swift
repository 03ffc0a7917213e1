// What a path leads to where SQLite finds no database: nothing that is opened in vain, for opening a pipe waits for a writer,
// and nothing that is called damaged because it is encrypted.

private import Foundation

package enum FileKind {
  /// Why a path leads to nothing that SQLite could open; nil where there is a file, or nothing at all. It never waits.
  package static func refusal(_ path: String) -> String? {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return nil
    case S_IFDIR: return "it is a folder"
    case S_IFIFO: return "it is a pipe (FIFO) and no file"
    case S_IFSOCK: return "it is a socket and no file"
    default: return "it is a device and no file"
    }
  }

  /// What a file seems to be that SQLite does not take for a database.
  static func guess(_ path: String) -> String? {
    guard let file = FileHandle(forReadingAtPath: path) else { return nil }
    defer { try? file.close() }
    let size = (try? file.seekToEnd()) ?? 0
    let pages = max(1, min(samples, Int(size) / page))
    var isRandom = size >= UInt64(page)
    var beginning: [UInt8] = []
    for number in 0..<pages {
      try? file.seek(toOffset: UInt64(Int(size) / page * number / pages * page))
      let bytes = [UInt8]((try? file.read(upToCount: page)) ?? Data())
      if number == 0 { beginning = bytes }
      isRandom = isRandom && entropy(bytes) > leastEntropy
    }
    if beginning.starts(with: magic) { return nil }
    for (bytes, name) in packed where beginning.starts(with: bytes) { return "it is packed with \(name)" }
    if isRandom {
      return
        "it is encrypted, as by SQLCipher or SQLite's SEE, or it is no database: all its bytes look random. Drover cannot read it, nor can any other program without the key; keep the database unencrypted on an encrypted disk"
    }
    if !beginning.isEmpty, beginning.allSatisfy({ $0 >= 0x20 && $0 < 0x7F || [9, 10, 13].contains($0) }) {
      return "it is a text file"
    }
    return nil
  }

  private static let magic = Array("SQLite format 3\0".utf8)
  private static let packed: [([UInt8], String)] = [
    ([0x1F, 0x8B], "gzip"), ([0x28, 0xB5, 0x2F, 0xFD], "zstd"), ([0x50, 0x4B, 3, 4], "zip"),
    ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "xz"),
  ]
  private static let page = 4096
  private static let samples = 16
  /// Bits in a byte. 4096 random bytes have about 7.95; text, code and tables have below 7.
  private static let leastEntropy = 7.8

  private static func entropy(_ bytes: [UInt8]) -> Double {
    guard !bytes.isEmpty else { return 0 }
    var counts = [Int](repeating: 0, count: 256)
    for byte in bytes { counts[Int(byte)] += 1 }
    return counts.reduce(0) { sum, count in
      guard count > 0 else { return sum }
      let share = Double(count) / Double(bytes.count)
      return sum - share * log2(share)
    }
  }
}
