// What is wrong with a configuration, all of it at once: a person repairs a file in one go, not one error at a time.
// Each problem stands on a line of its own in the form that editors and CI understand,
// `file:line:column: key: message`. No secret gets into a message; the forms that read secrets see to that.

/// One thing that is wrong, with where it stands and what would be right.
package struct ConfigurationProblem: Equatable, Sendable, CustomStringConvertible {
  /// A place in the file, both counted from 1; columns count Unicode scalars.
  package struct Place: Equatable, Sendable {
    package let line: Int
    package let column: Int

    package init(line: Int, column: Int) {
      self.line = line
      self.column = column
    }
  }

  /// The file as the user named it.
  package let file: String
  /// Nil for what stands nowhere: a missing key, an environment variable, a file that cannot be read.
  package let place: Place?
  /// The key path, e.g. `streams[1].kind`; empty for the file as a whole.
  package let key: String
  /// What was expected and what was found.
  package let message: String

  package init(file: String, place: Place?, key: String, message: String) {
    self.file = file
    self.place = place
    self.key = key
    self.message = message
  }

  package var description: String {
    let location = place.map { "\(file):\($0.line):\($0.column)" } ?? file
    return key.isEmpty ? "\(location): \(message)" : "\(location): \(key): \(message)"
  }
}

/// All the problems of one configuration, in the order of the file; those without a place come last.
package struct ConfigurationErrors: Error, Equatable, Sendable, CustomStringConvertible {
  package let problems: [ConfigurationProblem]
  /// All is right but for the machine's name, which does not exist yet.
  package let lacksNameAlone: Bool

  package init(_ problems: [ConfigurationProblem], lacksNameAlone: Bool = false) {
    self.lacksNameAlone = lacksNameAlone
    let end = ConfigurationProblem.Place(line: .max, column: .max)
    // By index where places are equal: `sorted` promises no stability.
    self.problems = problems.enumerated()
      .sorted { a, b in
        let (x, y) = (a.element.place ?? end, b.element.place ?? end)
        return (x.line, x.column, a.offset) < (y.line, y.column, b.offset)
      }
      .map(\.element)
  }

  /// One line for each problem.
  package var description: String { problems.map(\.description).joined(separator: "\n") }
}
