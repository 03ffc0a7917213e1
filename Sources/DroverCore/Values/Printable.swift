/// A text from a machine as a terminal may see it: control characters, which could be commands to it, become `\u{…}`.
package func printable(_ text: String, keeping kept: Set<Unicode.Scalar> = []) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    if scalar.properties.generalCategory == .control && !kept.contains(scalar) {
      result += "\\u{\(String(scalar.value, radix: 16))}"
    } else {
      result.unicodeScalars.append(scalar)
    }
  }
  return result
}
