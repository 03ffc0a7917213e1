// Writes JSON text for frames, byte by byte: a value of SQLite in, its lossless form out. What JSON has no form for is
// tagged: {"$blob":"base64"}, {"$text":"base64"} for text that is not UTF-8, {"$real":"inf"}. docs/protocol.md, section "Values".

package import DroverCore
private import Foundation

package enum JSONWriter {
  package static func write(_ value: Value, into out: inout [UInt8]) { value.lend { write(lent: $0, into: &out) } }

  package static func write(lent value: LentValue, into out: inout [UInt8]) {
    switch value {
    case .null: out += "null".utf8
    case .integer(let integer): write(integer, into: &out)
    case .real(let real):
      if real.isFinite {
        // Swift's description is the shortest text that reads back as the same bits, and it has a '.' or an 'e'.
        out += real.description.utf8
      } else {
        writeTagged("$real", real < 0 ? "-inf" : "inf", into: &out)
      }
    case .text(let bytes):
      if isPlain(bytes) {
        out.append(quote)
        out.append(contentsOf: bytes)
        out.append(quote)
      } else if isUTF8(bytes) {
        writeEscaped(bytes, into: &out)
      } else {
        writeTagged("$text", bytes, into: &out)
      }
    case .blob(let bytes):
      writeTagged("$blob", bytes, into: &out)
    }
  }

  /// Without a copy of the bytes, which may be many.
  private static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
    do {
      _ = try UTF8Span(validating: bytes.bindMemory(to: UInt8.self).span)
      return true
    } catch {
      return false
    }
  }

  /// As base64, which is made piece by piece.
  private static func writeTagged(_ tag: String, _ bytes: UnsafeRawBufferPointer, into out: inout [UInt8]) {
    out += "{\"".utf8
    out += tag.utf8
    out += "\":\"".utf8
    // Only the last piece may be no multiple of three.
    let piece = 48 << 10
    for start in stride(from: 0, to: bytes.count, by: piece) {
      out += Data(bytes[start..<min(start + piece, bytes.count)]).base64EncodedString().utf8
    }
    out += "\"}".utf8
  }

  package static func write(_ integer: Int64, into out: inout [UInt8]) {
    if integer >= 0 && integer < 10 {
      out.append(UInt8(truncatingIfNeeded: 0x30 + integer))
      return
    }
    var digits: (UInt64, Int) = (integer.magnitude, 0)
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { buffer in
      repeat {
        digits.1 += 1
        buffer[20 - digits.1] = UInt8(truncatingIfNeeded: 0x30 + digits.0 % 10)
        digits.0 /= 10
      } while digits.0 > 0
      if integer < 0 { out.append(UInt8(ascii: "-")) }
      out.append(contentsOf: buffer[(20 - digits.1)...])
    }
  }

  /// A JSON string of valid UTF-8.
  package static func write(_ string: String, into out: inout [UInt8]) {
    var string = string
    string.withUTF8 { writeEscaped(UnsafeRawBufferPointer($0), into: &out) }
  }

  private static let quote = UInt8(ascii: "\"")

  /// Nothing to escape and nothing to validate.
  private static func isPlain(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7f && $0 != quote && $0 != UInt8(ascii: "\\") }
  }

  private static func writeEscaped(_ bytes: UnsafeRawBufferPointer, into out: inout [UInt8]) {
    out.append(quote)
    for byte in bytes {
      switch byte {
      case quote: out += "\\\"".utf8
      case UInt8(ascii: "\\"): out += "\\\\".utf8
      case 0x0a: out += "\\n".utf8
      case 0x0d: out += "\\r".utf8
      case 0x09: out += "\\t".utf8
      case 0..<0x20, 0x7f:
        out += "\\u00".utf8
        out.append(hexadecimal(byte >> 4))
        out.append(hexadecimal(byte & 15))
      default: out.append(byte)
      }
    }
    out.append(quote)
  }

  private static func writeTagged(_ tag: String, _ text: String, into out: inout [UInt8]) {
    out += "{\"".utf8
    out += tag.utf8
    out += "\":\"".utf8
    out += text.utf8
    out += "\"}".utf8
  }

  private static func hexadecimal(_ digit: UInt8) -> UInt8 { digit < 10 ? 0x30 + digit : 0x57 + digit }
}
