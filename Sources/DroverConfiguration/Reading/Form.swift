// The forms that a value can have: each knows what it takes and says it in words, so that every error reads
// "expected …; found …". The forms of single types stand beside their types.

internal import DroverCore

/// How the text of a value becomes a value.
struct Form<Value> {
  /// Ends the sentence "expected …".
  let expected: String
  /// Texts that no error may show.
  let hides: (String) -> Bool
  private let parse: (String) throws(Refusal) -> Value?

  /// `parse` answers nil for "expected …; found …" and throws what is better said in its own words.
  init(
    _ expected: String, hides: @escaping (String) -> Bool = { _ in false },
    parse: @escaping (String) throws(Refusal) -> Value?
  ) {
    self.expected = expected
    self.hides = hides
    self.parse = parse
  }

  func value(of text: String) throws(Refusal) -> Value? { try parse(text) }
}

/// Why a value cannot be taken, in a whole sentence.
struct Refusal: Error {
  let message: String
  init(_ message: String) { self.message = message }
}

extension Form where Value == String {
  /// Text without control characters and not longer than `maximumBytes` of UTF-8.
  static func text(_ name: String, maximumBytes: Int = 255) -> Form {
    Form("\(name) of 1 to \(maximumBytes) bytes without control characters") { text in
      isPlain(text) && text.utf8.count <= maximumBytes ? text : nil
    }
  }

  /// A path, made absolute or relative to the working directory by `folder`. It need not exist.
  static func path(in folder: String) -> Form {
    Form("a path") { text in isPlain(text) ? resolve(text, in: folder) : nil }
  }

  /// A path to a file that can be read now.
  static func readableFile(in folder: String) -> Form {
    Form("the path of a file") { text throws(Refusal) in
      guard isPlain(text) else { return nil }
      let path = resolve(text, in: folder)
      do throws(UnreadableFile) {
        // The library opens it once more, when a pipe would be empty.
        try requireFile(path)
        _ = try readFile(path, maximumBytes: 1 << 20)
      } catch {
        throw Refusal("cannot read \(path): \(error.reason)")
      }
      return path
    }
  }
}

extension Form where Value == Int {
  /// A whole number, decimal and without signs or separators.
  static func integer(_ range: ClosedRange<Int>) -> Form {
    Form("a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
      wholeNumber(text).flatMap { range.contains($0) ? $0 : nil }
    }
  }

  /// A number of bytes, e.g. `64KiB`.
  static func size(_ range: ClosedRange<Int>) -> Form {
    Form("a size from \(sizeText(range.lowerBound)) to \(sizeText(range.upperBound)), such as 500kB, 64KiB or 16MiB") {
      text in
      bytes(ofSize: text).flatMap { range.contains($0) ? $0 : nil }
    }
  }
}

extension Form where Value == Duration {
  /// A span of time in whole seconds, as MQTT counts them, e.g. `30s`.
  static func seconds(_ range: ClosedRange<Duration>) -> Form {
    let (low, high) = (durationText(range.lowerBound), durationText(range.upperBound))
    return Form("a duration in whole seconds from \(low) to \(high), such as 30s, 5m, 2h or 7d") {
      text throws(Refusal) in
      if wholeNumber(text) != nil {
        throw Refusal("expected a duration with its unit (ms, s, m, h or d), such as 30s; found \(quoted(text))")
      }
      guard let duration = duration(of: text), range.contains(duration), duration.components.attoseconds == 0 else {
        return nil
      }
      return duration
    }
  }
}

extension Form where Value: CaseIterable & RawRepresentable<String> {
  /// One of a few words.
  static var oneOf: Form {
    Form("one of \(Value.allCases.map(\.rawValue).joined(separator: ", "))") { Value(rawValue: $0) }
  }
}

extension Form where Value == Bool {
  static var yesOrNo: Form { Form("true or false") { $0 == "true" ? true : $0 == "false" ? false : nil } }
}

extension Form where Value == MachineID {
  static var machine: Form { named("a machine's name") { text throws(InvalidName) in try MachineID(text) } }
}

extension Form where Value == StreamName {
  static var streamName: Form { named("a stream's name") { text throws(InvalidName) in try StreamName(text) } }
}

extension Form where Value == Condition {
  static var condition: Form {
    Form("a condition") { text throws(Refusal) in
      do throws(ConditionError) {
        return try Condition(parsing: text)
      } catch {
        throw Refusal("expected \(error.expected) at character \(error.position); found \(quoted(error.found))")
      }
    }
  }
}

extension Form {
  /// The same, or the word `off`, which is nil.
  var orOff: Form<Value?> {
    Form<Value?>("\(expected), or off", hides: hides) { text throws(Refusal) in
      if text == "off" { return .some(nil) }
      return try parse(text).map { .some($0) }
    }
  }

  /// A name whose type knows its rule.
  private static func named(_ expected: String, _ make: @escaping (String) throws(InvalidName) -> Value) -> Form {
    Form(expected) { text throws(Refusal) in
      do throws(InvalidName) {
        return try make(text)
      } catch {
        throw Refusal("\(error.message); found \(quoted(text))")
      }
    }
  }
}
