// json-c behind a small Swift face, for the documents that are written once and read by many: schemas, confirmations,
// status messages, and what the commands print with --json. Frames have their own road (FrameEncoder, FrameDecoder).

private import CJSONC

/// A JSON value under construction.
package indirect enum JSON: Sendable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByBooleanLiteral
{
  case null
  case bool(Bool)
  case integer(Int64)
  case real(Double)
  case string(String)
  case array([JSON])
  /// Members in the order in which they are to be read.
  case object([(String, JSON)])

  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int64) { self = .integer(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }

  /// The text, in one line or indented.
  package func text(pretty: Bool = false) -> String {
    let object = build()
    defer { json_object_put(object) }
    let flags = JSON_C_TO_STRING_NOSLASHESCAPE | (pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : 0)
    return String(cString: json_object_to_json_string_ext(object, flags))
  }

  private func build() -> OpaquePointer? {
    switch self {
    case .null: return nil
    case .bool(let bool): return json_object_new_boolean(bool ? 1 : 0)
    case .integer(let integer): return json_object_new_int64(integer)
    // JSON has neither infinity nor NaN.
    case .real(let real) where !real.isFinite: return nil
    case .real(let real): return real.description.withCString { json_object_new_double_s(real, $0) }
    case .string(let string):
      var string = string
      return string.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) { json_object_new_string_len($0.baseAddress, Int32($0.count)) }
      }
    case .array(let elements):
      let array = json_object_new_array()
      for element in elements { json_object_array_add(array, element.build()) }
      return array
    case .object(let members):
      let object = json_object_new_object()
      for (name, value) in members { json_object_object_add(object, name, value.build()) }
      return object
    }
  }
}

/// A parsed JSON document, read by asking for what is expected.
package final class JSONDocument {
  private let root: OpaquePointer?

  /// Throws when the bytes are not one JSON object, with the place.
  package init(parsing bytes: some Collection<UInt8>) throws(WireError) {
    let text = Array(bytes)
    // json-c lets more pass than RFC 8259, also when told to be strict: quotes of the other kind, anything behind a NUL.
    try EmittedBody.check(text[...])
    let tokener = json_tokener_new_ex(32)
    defer { json_tokener_free(tokener) }
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT)
    // The closing NUL tells json-c that the text ends here.
    let parsed = text.withUnsafeBytes { buffer in
      json_tokener_parse_ex(tokener, buffer.bindMemory(to: CChar.self).baseAddress, Int32(clamping: buffer.count))
    }
    let outcome = json_tokener_get_error(tokener)
    guard outcome == json_tokener_success, json_object_get_type(parsed) == json_type_object else {
      json_object_put(parsed)
      let reason =
        outcome == json_tokener_success
        ? "not an object"
        : outcome == json_tokener_continue ? "the text ends early" : String(cString: json_tokener_error_desc(outcome))
      throw WireError(reason, offset: json_tokener_get_parse_end(tokener))
    }
    root = parsed
  }

  deinit { json_object_put(root) }

  package var members: Members { Members(object: root, owner: self) }

  /// The members of one object of the document. Every error names the member.
  package struct Members {
    fileprivate let object: OpaquePointer?
    fileprivate let owner: JSONDocument

    package func has(_ name: String) -> Bool { json_object_object_get(object, name) != nil }

    package func string(_ name: String) throws(WireError) -> String {
      text(try get(name, json_type_string, "a string"))
    }

    /// - Parameter range: what can be true (`Bounds`).
    package func integer(_ name: String, in range: ClosedRange<Int64>) throws(WireError) -> Int64 {
      try within(range, exact(try get(name, json_type_int, "an integer"), name), name)
    }

    /// An integer in a person's request: JSON Schema counts `7.0` as one too. Frames have `integer`.
    /// - Parameter range: what can be true (`Bounds`).
    package func wholeNumber(_ name: String, in range: ClosedRange<Int64>) throws(WireError) -> Int64 {
      guard let value = json_object_object_get(object, name), json_object_get_type(value) == json_type_double else {
        return try integer(name, in: range)
      }
      let number = json_object_get_double(value)
      // Beyond this a double stands for more than one integer.
      guard number.magnitude <= 9_007_199_254_740_992, let integer = Int64(exactly: number) else {
        throw WireError("\"\(name)\" is not an integer")
      }
      return try within(range, integer, name)
    }

    package func bool(_ name: String) throws(WireError) -> Bool {
      json_object_get_boolean(try get(name, json_type_boolean, "true or false")) != 0
    }

    package func object(_ name: String) throws(WireError) -> Members {
      Members(object: try get(name, json_type_object, "an object"), owner: owner)
    }

    package func array(_ name: String) throws(WireError) -> [Element] {
      let value = try get(name, json_type_array, "an array")
      return (0..<json_object_array_length(value)).map {
        Element(value: json_object_array_get_idx(value, $0), owner: owner, name: name)
      }
    }

    /// The names of the members, in their order.
    package var names: [String] {
      var names: [String] = []
      var iterator = json_object_iter_begin(object)
      var end = json_object_iter_end(object)
      while json_object_iter_equal(&iterator, &end) == 0 {
        names.append(String(cString: json_object_iter_peek_name(&iterator)))
        json_object_iter_next(&iterator)
      }
      return names
    }

    private func get(_ name: String, _ type: json_type, _ expected: String) throws(WireError) -> OpaquePointer {
      guard let value = json_object_object_get(object, name), json_object_get_type(value) == type else {
        throw WireError("\"\(name)\" is missing or not \(expected)")
      }
      return value
    }
  }

  /// One element of an array.
  package struct Element {
    fileprivate let value: OpaquePointer?
    fileprivate let owner: JSONDocument
    fileprivate let name: String

    package func members() throws(WireError) -> Members {
      guard json_object_get_type(value) == json_type_object else {
        throw WireError("\"\(name)\" holds something else than objects")
      }
      return Members(object: value, owner: owner)
    }

    package func string() throws(WireError) -> String {
      guard json_object_get_type(value) == json_type_string else {
        throw WireError("\"\(name)\" holds something else than strings")
      }
      return text(value)
    }

    package var isNull: Bool { value == nil }

    /// - Parameter range: what can be true (`Bounds`).
    package func integer(in range: ClosedRange<Int64>) throws(WireError) -> Int64 {
      guard json_object_get_type(value) == json_type_int else {
        throw WireError("\"\(name)\" holds something else than integers")
      }
      return try within(range, exact(value, name), name)
    }

    package func bool() throws(WireError) -> Bool {
      guard json_object_get_type(value) == json_type_boolean else {
        throw WireError("\"\(name)\" holds something else than true or false")
      }
      return json_object_get_boolean(value) != 0
    }

    /// The elements of an array of exactly so many.
    package func elements(_ count: Int) throws(WireError) -> [Element] {
      guard json_object_get_type(value) == json_type_array, json_object_array_length(value) == count else {
        throw WireError("\"\(name)\" holds something else than arrays of \(count)")
      }
      return (0..<count).map { Element(value: json_object_array_get_idx(value, $0), owner: owner, name: name) }
    }

    package func elements() throws(WireError) -> [Element] {
      guard json_object_get_type(value) == json_type_array else {
        throw WireError("\"\(name)\" holds something else than arrays")
      }
      return (0..<json_object_array_length(value)).map {
        Element(value: json_object_array_get_idx(value, $0), owner: owner, name: name)
      }
    }

    /// An array of exactly two integers.
    package func pair(
      in first: ClosedRange<Int64>, _ second: ClosedRange<Int64>
    ) throws(WireError) -> (Int64, Int64) {
      let numbers = try elements(2)
      return (try numbers[0].integer(in: first), try numbers[1].integer(in: second))
    }
  }
}

/// A string with its NULs.
private func text(_ value: OpaquePointer?) -> String {
  let count = Int(json_object_get_string_len(value))
  return json_object_get_string(value).withMemoryRebound(to: UInt8.self, capacity: count) {
    String(decoding: UnsafeBufferPointer(start: $0, count: count), as: UTF8.self)
  }
}

/// An integer that can be true.
private func within(_ range: ClosedRange<Int64>, _ integer: Int64, _ name: String) throws(WireError) -> Int64 {
  guard range.contains(integer) else {
    throw WireError("\"\(name)\" holds \(integer), which is not from \(range.lowerBound) to \(range.upperBound)")
  }
  return integer
}

/// An integer as it was written. json-c bends what does not fit into 64 bits to the nearest that does; the smallest one is
/// refused with them, since it cannot be told apart.
private func exact(_ value: OpaquePointer?, _ name: String) throws(WireError) -> Int64 {
  let integer = json_object_get_int64(value)
  guard integer > .min, json_object_get_uint64(value) <= UInt64(Int64.max) else {
    throw WireError("\"\(name)\" holds an integer of more than 64 bits")
  }
  return integer
}
