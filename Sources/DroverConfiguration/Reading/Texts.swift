// The small grammars of values: whole numbers, durations and sizes, both ways, and texts shown in errors.
// They are strict: what is not exactly one of these is an error for a person to see, not a guess.

/// A decimal number of digits only; nil for anything else and for what does not fit.
func wholeNumber(_ text: some StringProtocol) -> Int? {
  guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
    return nil
  }
  return Int(text)
}

private let millisecondsOfUnit = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]

/// The duration that e.g. `250ms`, `30s`, `5m`, `2h` and `7d` mean; nil for anything else.
package func duration(of text: String) -> Duration? {
  let (count, unit) = numberAndUnit(text)
  guard let count, let (_, factor) = millisecondsOfUnit.first(where: { $0.0 == unit }) else { return nil }
  let (milliseconds, overflow) = count.multipliedReportingOverflow(by: factor)
  return overflow ? nil : .milliseconds(milliseconds)
}

/// A duration in the largest unit that leaves a whole number.
func durationText(_ duration: Duration) -> String {
  let milliseconds = Int(duration / .milliseconds(1))
  let (unit, factor) = millisecondsOfUnit.first { milliseconds % $0.1 == 0 } ?? ("ms", 1)
  return "\(milliseconds / factor)\(unit)"
}

private let bytesOfUnit = [
  ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000),
]

/// The bytes that e.g. `64KiB`, `1MB` and a bare `4096` mean.
func bytes(ofSize text: String) -> Int? {
  let (count, unit) = numberAndUnit(text)
  guard let count else { return nil }
  if unit.isEmpty { return count }
  guard let (_, factor) = bytesOfUnit.first(where: { $0.0 == unit }) else { return nil }
  let (bytes, overflow) = count.multipliedReportingOverflow(by: factor)
  return overflow ? nil : bytes
}

/// A number of bytes in the largest unit that leaves a whole number.
func sizeText(_ bytes: Int) -> String {
  guard bytes > 0, let (unit, factor) = bytesOfUnit.first(where: { bytes % $0.1 == 0 }) else { return "\(bytes)" }
  return "\(bytes / factor)\(unit)"
}

private func numberAndUnit(_ text: String) -> (Int?, Substring) {
  let digits = text.prefix { $0.isASCII && $0.isNumber }
  return (wholeNumber(digits), text[digits.endIndex...])
}

/// Not empty and without control characters, so that it can stand in a path, in a log line and in an MQTT packet.
func isPlain(_ text: String) -> Bool {
  !text.isEmpty && !text.unicodeScalars.contains { $0.properties.generalCategory == .control }
}

/// Text as an error shows it: in quotes, on one line and not long.
func quoted(_ text: String) -> String { "\"\(escaped(text))\"" }

/// What has the shape of all our keys, and so can be shown as one.
func isWord(_ text: String) -> Bool {
  !text.isEmpty && text.utf8.allSatisfy { (0x61...0x7a).contains($0 | 0x20) || $0 == 0x5f || $0 == 0x2d }
}

func escaped(_ text: String) -> String {
  let shown = text.prefix(80)
  let escaped = shown.unicodeScalars
    .map { $0.properties.generalCategory == .control || $0 == "\"" ? $0.escaped(asASCII: false) : String($0) }
    .joined()
  return shown.endIndex < text.endIndex ? escaped + "…" : escaped
}
