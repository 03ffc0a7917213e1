// Pins as the text that `StreamPin.list(reading:)` reads.

package import DroverCore

extension StreamPin {
  /// The section `streams` of a cloud's file.
  package static func yaml(_ pins: [StreamPin]) -> String {
    "streams:\n" + pins.map { $0.text().map { "\($0)\n" }.joined() }.joined()
  }

  private func text() -> [String] {
    var lines = ["  - name: \(Self.text(name.text))", "    kind: \(kind.rawValue)"]
    func list(_ key: String, _ texts: [String]) {
      guard !texts.isEmpty else { return }
      lines.append("    \(key): [\(texts.map(Self.text).joined(separator: ", "))]")
    }
    if isBody { lines.append("    body: true") }
    list("key", key)
    if let completeWhen { lines.append("    complete_when: \(Self.text(completeWhen.text))") }
    list("identity", naturalKey?.columns ?? [])
    list("else", naturalKey?.fallback ?? [])
    list("with", self.lines.map(\.text))
    if !columns.isEmpty {
      lines.append("    columns:")
      lines += columns.map { "      \(Self.text($0.name)): \(Self.text($0.declaredType))" }
    }
    if let machines {
      list("machines", machines.sorted().map(\.text))
    } else {
      lines.append("    machines: all")
    }
    if let isProtected { lines.append("    protect: \(isProtected)") }
    if let mostColumns { lines.append("    limits: {columns: \(mostColumns)}") }
    return lines
  }

  /// A text as YAML reads it back: as it is where it is a plain word, else in double quotes.
  private static func text(_ text: String) -> String {
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
    let isPlain =
      text.utf8.first.map { (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x5f } == true
      && text.utf8.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x5f
      } && !words.contains(text.lowercased())
    if isPlain { return text }
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
