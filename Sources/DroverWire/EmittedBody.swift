// What `drover emit` has to know of a body: that it is JSON which every later reader takes, and the local ID in one of its fields.

import DroverCore

package enum EmittedBody {
  /// Throws where the text is not one JSON value.
  package static func check(_ body: ArraySlice<UInt8>) throws(WireError) {
    var scanner = JSONScanner(body)
    _ = try scanner.readRaw()
    try scanner.expectEnd()
    guard String(validating: body, as: UTF8.self) != nil else { throw WireError("not UTF-8") }
  }

  package static func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
    guard let first = text.first, first == UInt8(ascii: "-") || (0x30...0x39).contains(first) else { return false }
    var scanner = JSONScanner(text)
    guard let raw = try? scanner.readRaw() else { return false }
    return raw.count == text.count
  }

  /// The field's text or integer as a local ID.
  package static func localID(field: String, body: ArraySlice<UInt8>) throws(WireError) -> String {
    var scanner = JSONScanner(body)
    var id: String?
    try scanner.readObject { (name, scanner) throws(WireError) in
      guard name.elementsEqual(field.utf8) else {
        _ = try scanner.readRaw()
        return
      }
      switch try scanner.readValue() {
      case .text(let text) where !text.isEmpty: id = String(decoding: text, as: UTF8.self)
      case .integer(let integer): id = String(integer)
      default: throw scanner.fault("the id field \(field) is neither a text nor an integer")
      }
    }
    guard let id else { throw WireError("there is no field \(field) to take the id from") }
    return id
  }
}
