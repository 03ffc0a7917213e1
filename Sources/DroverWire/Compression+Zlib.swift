// Frames for metered links: the JSON text in zlib's format (RFC 1950), which no JSON text can be taken for, since its first byte is an `x`. The
// message's content type says so too, but MQTT 3.1.1 has none.

private import CZlib
package import DroverCore

extension Compression {
  /// Media types of a frame as it is published (RFC 8259, RFC 6713).
  package static let plainType = "application/json"
  package static let deflatedType = "application/zlib"

  /// Below this nothing is gained: a live event goes out as a person can read it.
  private static let leastBytes = 1 << 10

  /// The frame as it travels, and its media type.
  package func pack(_ frame: [UInt8]) -> (payload: [UInt8], type: String) {
    guard self == .deflate, frame.count >= Self.leastBytes else { return (frame, Self.plainType) }
    var count = compressBound(uLong(frame.count))
    var packed = [UInt8](repeating: 0, count: Int(count))
    // The fastest level: a frame's rows are so much alike that the slowest makes it but a fifth smaller still.
    let code = compress2(&packed, &count, frame, uLong(frame.count), Z_BEST_SPEED)
    guard code == Z_OK, count < frame.count else { return (frame, Self.plainType) }
    packed.removeLast(packed.count - Int(count))
    return (packed, Self.deflatedType)
  }

  package enum Unpacked: Equatable {
    case frame([UInt8])
    /// More than what may be taken; how it begins.
    case tooLarge(beginning: [UInt8])
  }

  /// What a message holds as JSON text: the payload itself, unless it is packed.
  /// - Parameter most: no more bytes than that are unpacked, whatever the message says.
  package static func unpack(_ payload: [UInt8], most: Int) throws(WireError) -> Unpacked {
    guard payload.first == UInt8(ascii: "x") else { return .frame(payload) }
    // Frames shrink to a fifth or so.
    var room = min(most, payload.count * 8)
    while true {
      let (code, bytes) = inflate(payload, room: room)
      switch code {
      case Z_OK: return .frame(bytes)
      case Z_BUF_ERROR where bytes.count == room && room < most: room = min(most, room * 4)
      case Z_BUF_ERROR where bytes.count == room: return .tooLarge(beginning: Array(bytes.prefix(256)))
      default: throw WireError("the message begins as one that is compressed (RFC 1950) and is damaged")
      }
    }
  }

  private static func inflate(_ payload: [UInt8], room: Int) -> (Int32, [UInt8]) {
    var count = uLong(room)
    var bytes = [UInt8](repeating: 0, count: room)
    let code = uncompress(&bytes, &count, payload, uLong(payload.count))
    // It tells a stream that is cut off from a room that is too small by how much of the room is taken.
    bytes.removeLast(room - Int(count))
    return (code, bytes)
  }
}
