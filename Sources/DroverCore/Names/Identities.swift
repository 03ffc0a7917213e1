// The names that travel: who, which stream, which incarnation of the outbox. Each is a type of its own, so that one is
// never taken for another, and each is checked where it enters, so that it is safe as an MQTT topic level and as a name
// in a database wherever it is used later.

/// A name that breaks its rule. `message` says what is allowed, for the person who wrote it.
package struct InvalidName: Error, Equatable, CustomStringConvertible {
  package let message: String
  package init(message: String) { self.message = message }
  package var description: String { message }
}

/// One edge host, e.g. `MAH001`: a letter or digit, then up to 63 more of letters, digits, dot, underscore and hyphen.
package struct MachineID: Hashable, Sendable, Comparable, CustomStringConvertible {
  package let text: String

  package init(_ text: String) throws(InvalidName) {
    let bytes = text.utf8
    guard let first = bytes.first, bytes.count <= 64, first.isASCIILetterOrDigit,
      bytes.allSatisfy({
        $0.isASCIILetterOrDigit || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
      })
    else {
      throw InvalidName(
        message:
          "a machine is named by 1 to 64 letters, digits, dots, underscores and hyphens, beginning with a letter or digit"
      )
    }
    self.text = text
  }

  private init(unchecked text: String) { self.text = text }

  /// Whose rows belong to every machine; no machine can have this name.
  package static let all = MachineID(unchecked: "*")

  package var description: String { text }
  package static func < (a: Self, b: Self) -> Bool { a.text < b.text }
}

/// A named sequence of events of one kind from one machine; the name of its sink table too.
package struct StreamName: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// Longest name, in bytes of UTF-8: PostgreSQL cuts identifiers at 63, SQLite and MQTT allow more.
  package static let maximumBytes = 128

  package let text: String

  package init(_ text: String) throws(InvalidName) {
    guard !text.isEmpty, text.utf8.count <= Self.maximumBytes else {
      throw InvalidName(message: "a stream's name has 1 to \(Self.maximumBytes) bytes")
    }
    for scalar in text.unicodeScalars {
      // Wildcards and separators of topics [MQTT-4.7.1-1], and control characters [MQTT-1.5.4-2 and its remarks].
      if scalar == "/" || scalar == "+" || scalar == "#" || scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
      {
        throw InvalidName(message: "a stream's name holds no '/', '+', '#' and no control characters")
      }
    }
    // By bytes, as SQLite compares: to Swift a '_' with a combining mark behind it is another Character.
    let lower = text.lowercased().utf8
    if lower.starts(with: "$".utf8) || lower.starts(with: "drover_".utf8) || lower.starts(with: "sqlite_".utf8) {
      throw InvalidName(message: "a stream's name does not begin with '$', 'drover_' or 'sqlite_'")
    }
    self.text = text
  }

  package var description: String { text }

  // By bytes: names that merely look alike, `é` in one code point and in two, are two to SQLite and to the broker.
  package static func == (a: Self, b: Self) -> Bool { a.text.isExactly(b.text) }
  package func hash(into hasher: inout Hasher) { ExactText(text).hash(into: &hasher) }
  package static func < (a: Self, b: Self) -> Bool { ExactText(a.text) < ExactText(b.text) }
}

/// The outbox's incarnation: a new one whenever the outbox was created, wiped or restored from a backup.
/// Lower-case hexadecimal, 1 to 32 digits.
package struct Epoch: Hashable, Sendable, CustomStringConvertible {
  package let text: String

  package init(_ text: String) throws(InvalidName) {
    guard (1...32).contains(text.utf8.count),
      text.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
    else { throw InvalidName(message: "an epoch is 1 to 32 lower-case hexadecimal digits") }
    self.text = text
  }

  /// An epoch from 64 random bits.
  package init(random: UInt64) {
    let digits = String(random, radix: 16)
    text = String(repeating: "0", count: 16 - digits.count) + digits
  }

  package var description: String { text }
}

extension UInt8 {
  fileprivate var isASCIILetterOrDigit: Bool {
    (0x30...0x39).contains(self) || (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self)
  }
}
