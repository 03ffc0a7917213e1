// Reads one YAML file and collects everything that is wrong with it. The configuration types ask a `Section` for their
// keys one after the other and carry on after a problem; `finish` then says whether there is a configuration or errors.
// Values are read from the nodes with their marks and as they are written, so YAML's own guesses at types
// (`no`, `1e3`, `12:30`) never change what a person wrote.

internal import Yams

/// One reading of one file.
final class ConfigurationReader {
  /// The file as the user named it.
  let file: String
  /// What relative paths are relative to.
  let folder: String
  let environment: [String: String]

  private var problems: [ConfigurationProblem] = []
  private var lacksName = false
  private var sections: [Section] = []

  init(file: String, folder: String, environment: [String: String]) {
    self.file = file
    self.folder = folder
    self.environment = environment
  }

  /// The keys of the whole file. Throws what YAML itself finds wrong; nothing more can be found in such a file.
  func document(_ yaml: String) throws(ConfigurationErrors) -> Section {
    let root: Node?
    do {
      // The encoding is named because the library's default prints to standard output when its variable is set.
      root = try Yams.compose(yaml: yaml, .default, .default, .utf8)
    } catch {
      throw ConfigurationErrors([problem(of: error)])
    }
    guard let root else { throw failure("the file is empty") }
    guard case .mapping(let mapping) = root else {
      throw failure("expected keys with values, such as `broker: mqtt://127.0.0.1:1883`; found \(root.typeName)")
    }
    return open(Section(mapping, path: "", reader: self))
  }

  /// The configuration, or all the problems: unknown keys are those that no section was asked for.
  func finish<Configuration>(_ configuration: Configuration?) throws(ConfigurationErrors) -> Configuration {
    for section in sections { section.reportUnknownKeys() }
    guard problems.isEmpty else {
      throw ConfigurationErrors(problems, lacksNameAlone: lacksName && problems.count == 1)
    }
    guard let configuration else { preconditionFailure("a value is missing and no problem was reported") }
    return configuration
  }

  /// Notes that the machine's name does not exist yet, and carries on.
  func reportNoName(_ message: String, key: String, at mark: Mark?) {
    lacksName = true
    report(message, key: key, at: mark)
  }

  /// Notes a problem and carries on.
  func report(_ message: String, key: String, at mark: Mark?) {
    let place = mark.map { ConfigurationProblem.Place(line: $0.line, column: $0.column) }
    problems.append(ConfigurationProblem(file: file, place: place, key: key, message: message))
  }

  /// The key paths that can have a value, with `[]` for every index: what documentation must list.
  var knownKeys: Set<String> {
    let paths = Set(sections.map(\.path))
    let keys = sections.flatMap { section in section.acceptedKeys.map(section.pathOf) }
    return Set(keys.filter { !paths.contains($0) }.map { $0.replacing("[0]", with: "[]") })
  }

  /// Takes part in the search for unknown keys at the end.
  func open(_ section: Section) -> Section {
    sections.append(section)
    return section
  }

  /// A problem of the file as a whole.
  func failure(_ message: String) -> ConfigurationErrors {
    ConfigurationErrors([ConfigurationProblem(file: file, place: nil, key: "", message: message)])
  }

  /// The library's error without its snippets of the file: they could show a secret.
  private func problem(of error: any Error) -> ConfigurationProblem {
    func problem(_ message: String, _ place: ConfigurationProblem.Place?) -> ConfigurationProblem {
      ConfigurationProblem(file: file, place: place, key: "", message: message)
    }
    switch error as? YamlError {
    case .scanner(let context, let text, let mark, _), .parser(let context, let text, let mark, _),
      .composer(let context, let text, let mark, _):
      let details = [context?.text, text].compactMap(\.self).joined(separator: ", ")
      return problem("this is not YAML: \(details)", .init(line: mark.line, column: mark.column))
    case .reader(let text, let offset, _, let yaml):
      return problem("this is not YAML: \(text)", offset.map { .init(of: $0, in: yaml) })
    case .duplicatedKeysInMapping(let keys, let context):
      let names = keys.map { isWord($0) ? "`\($0)`" : "a key" }.joined(separator: ", ")
      return problem(
        "\(names) is given here and again further down; give it once",
        .init(line: context.mark.line, column: context.mark.column))
    default:
      return problem("this is not YAML", nil)
    }
  }
}

extension ConfigurationProblem.Place {
  /// The place of the character at `offset`.
  fileprivate init(of offset: Int, in text: String) {
    let before = text.prefix(offset).split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    self.init(line: before.count, column: (before.last?.unicodeScalars.count ?? 0) + 1)
  }
}

extension Node {
  /// What a person would call it; never the value.
  var typeName: String {
    switch self {
    case .scalar: isNothing ? "nothing" : "text"
    case .mapping: "keys with values"
    case .sequence: "a list"
    case .alias: "an alias"
    }
  }

  /// A key without a value, or with YAML's null.
  var isNothing: Bool {
    guard case .scalar(let scalar) = self, scalar.style == .plain else { return false }
    return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
  }
}
