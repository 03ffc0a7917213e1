// The keys of one part of the file. Asking for a key makes it known; a key that is in the file and was never asked for
// is an unknown one. So a configuration type that reads its keys is also the list of them, and the two cannot differ.

internal import Yams

/// One mapping of the file, or one that is not there and has only defaults.
final class Section {
  private struct Entry {
    let mark: Mark?
    let value: Node
  }

  /// Where this is in the file, e.g. `streams[1]`; empty for the whole file.
  let path: String
  private let reader: ConfigurationReader
  private let mark: Mark?
  private let givenKeys: [String]
  private let entries: [String: Entry]
  private var knownKeys: [String] = []
  /// Keys that have an explanation why they are refused; they are not proposed as corrections.
  private var refusedKeys: Set<String> = []

  init(_ mapping: Node.Mapping?, path: String, reader: ConfigurationReader) {
    self.path = path
    self.reader = reader
    mark = mapping?.mark
    var givenKeys: [String] = []
    var entries: [String: Entry] = [:]
    for (key, value) in mapping ?? [:] {
      guard case .scalar(let scalar) = key else {
        reader.report("a key is a word; found \(key.typeName)", key: path, at: key.mark)
        continue
      }
      givenKeys.append(scalar.string)
      entries[scalar.string] = Entry(mark: scalar.mark, value: value)
    }
    self.givenKeys = givenKeys
    self.entries = entries
  }

  /// The keys that were asked for, without the refused ones.
  var acceptedKeys: [String] { knownKeys.filter { !refusedKeys.contains($0) } }

  var folder: String { reader.folder }
  var environment: [String: String] { reader.environment }

  /// Whether the file has this key. Asking does not make it known.
  func isGiven(_ key: String) -> Bool { entries[key] != nil }

  /// Whether a key's value has keys of its own. Asking does not make it known.
  func isSection(_ key: String) -> Bool { entries[key]?.value.mapping != nil }

  /// Whether a key's value is a list. Asking does not make it known.
  func isList(_ key: String) -> Bool { entries[key]?.value.sequence != nil }

  // MARK: Values

  /// The value of a key that must be there; nil after a problem. `example` shows what a line for it looks like.
  func required<Value>(_ key: String, _ form: Form<Value>, example: String) -> Value? {
    learn(key)
    guard let entry = entries[key] else {
      reader.report("missing; add for example `\(key): \(example)`", key: pathOf(key), at: placeOfMissing)
      return nil
    }
    return read(entry, form, at: pathOf(key))
  }

  /// The value of a key that may be there; nil without it, and after a problem.
  func optional<Value>(_ key: String, _ form: Form<Value>) -> Value? {
    learn(key)
    return entries[key].flatMap { read($0, form, at: pathOf(key)) }
  }

  /// The value of a key, or what holds without it.
  func optional<Value>(_ key: String, _ form: Form<Value>, default value: Value) -> Value {
    optional(key, form) ?? value
  }

  /// The section under a key. Without the key it is one that has only defaults.
  func section(_ key: String) -> Section {
    learn(key)
    let path = pathOf(key)
    var mapping: Node.Mapping?
    if let entry = entries[key] {
      mapping = entry.value.mapping
      if mapping == nil {
        reader.report("expected keys with values; found \(entry.value.typeName)", key: path, at: entry.mark)
      }
    }
    return reader.open(Section(mapping, path: path, reader: reader))
  }

  /// The sections of a list that has at least one; empty after a problem, and without the key where it need not be there.
  func sections(_ key: String, example: String, isRequired: Bool = true) -> [Section] {
    learn(key)
    let path = pathOf(key)
    guard let entry = entries[key] else {
      guard isRequired else { return [] }
      reader.report("missing; add for example `\(key): \(example)`", key: path, at: placeOfMissing)
      return []
    }
    guard case .sequence(let items) = entry.value, !items.isEmpty else {
      let found = entry.value.sequence == nil ? entry.value.typeName : "an empty list"
      reader.report(
        "expected a list with at least one entry, for example `\(key): \(example)`; found \(found)",
        key: path, at: entry.mark)
      return []
    }
    return items.enumerated().compactMap { index, item in
      guard case .mapping(let mapping) = item else {
        reader.report("expected keys with values; found \(item.typeName)", key: "\(path)[\(index)]", at: item.mark)
        return nil
      }
      return reader.open(Section(mapping, path: "\(path)[\(index)]", reader: reader))
    }
  }

  /// The texts of a list that has at least one; empty without the key, and after a problem.
  /// - Parameter takesOne: whether a value alone is a list of one.
  func list(_ key: String, _ form: Form<String>, takesOne: Bool = false) -> [String] {
    learn(key)
    guard let entry = entries[key] else { return [] }
    if takesOne, case .scalar = entry.value { return read(entry, form, at: pathOf(key)).map { [$0] } ?? [] }
    guard case .sequence(let items) = entry.value, !items.isEmpty else {
      let found = entry.value.sequence == nil ? entry.value.typeName : "an empty list"
      reader.report("expected a list with at least one entry; found \(found)", key: pathOf(key), at: entry.mark)
      return []
    }
    return items.enumerated().compactMap { index, item in
      read(Entry(mark: item.mark, value: item), form, at: "\(pathOf(key))[\(index)]")
    }
  }

  /// Any keys with their values under a key, in their order; empty without the key, nil after a problem.
  func texts(_ key: String, _ form: Form<String>) -> [(key: String, value: String)]? {
    learn(key)
    guard let entry = entries[key] else { return [] }
    let path = pathOf(key)
    guard case .mapping(let mapping) = entry.value, !mapping.isEmpty else {
      reader.report("expected keys with values; found \(entry.value.typeName)", key: path, at: entry.mark)
      return nil
    }
    var texts: [(key: String, value: String)] = []
    for (name, value) in mapping {
      guard case .scalar(let word) = name, let text = read(Entry(mark: name.mark, value: name), form, at: path),
        let value = read(Entry(mark: word.mark, value: value), form, at: "\(path).\(escaped(text))")
      else { continue }
      texts.append((text, value))
    }
    return texts.count == mapping.count ? texts : nil
  }

  /// A key that people will try and that must not be used.
  func refuse(_ key: String, _ reason: String) {
    learn(key)
    refusedKeys.insert(key)
    if isGiven(key) { report(reason, at: key) }
  }

  // MARK: Problems

  /// A problem of one key; where the key is not in the file, of the section.
  func report(_ message: String, at key: String) {
    reader.report(message, key: pathOf(key), at: entries[key]?.mark ?? placeOfMissing)
  }

  /// The machine's name does not exist yet.
  func reportNoName(_ message: String) { reader.reportNoName(message, key: path, at: mark) }

  /// A problem of the section itself.
  func report(_ message: String) {
    reader.report(message, key: path, at: mark)
  }

  /// Reports what is in the file and was never asked for. A key without a value is not shown: it may be a value,
  /// as in `{password:secret}`, which without its space is one long key to YAML.
  func reportUnknownKeys() {
    for key in givenKeys where !knownKeys.contains(key) {
      let hint =
        nearest(to: key, among: acceptedKeys).map { "did you mean `\($0)`?" }
        ?? "known here: \(acceptedKeys.joined(separator: ", "))"
      let isBare = entries[key]?.value.isNothing == true
      let what = isBare ? "expected `key: value`; found something without a value" : "unknown key `\(escaped(key))`"
      reader.report("\(what); \(hint)", key: path, at: entries[key]?.mark)
    }
  }

  func pathOf(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  /// A key that the file as a whole lacks stands nowhere; one that an entry of a list lacks is looked for there.
  private var placeOfMissing: Mark? { path.isEmpty ? nil : mark }

  private func learn(_ key: String) {
    if !knownKeys.contains(key) { knownKeys.append(key) }
  }

  private func read<Value>(_ entry: Entry, _ form: Form<Value>, at path: String) -> Value? {
    // A problem stands at the key, not at the value: with an anchor the value may be somewhere else in the file.
    guard case .scalar(let scalar) = entry.value, !entry.value.isNothing else {
      reader.report("expected \(form.expected); found \(entry.value.typeName)", key: path, at: entry.mark)
      return nil
    }
    do {
      if let value = try form.value(of: scalar.string) { return value }
      let found = form.hides(scalar.string) ? "text that is not shown here" : quoted(scalar.string)
      reader.report("expected \(form.expected); found \(found)", key: path, at: entry.mark)
    } catch {
      reader.report(error.message, key: path, at: entry.mark)
    }
    return nil
  }
}
