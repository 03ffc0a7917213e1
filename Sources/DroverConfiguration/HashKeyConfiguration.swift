// The secret for `hash`: from a file or from the environment.

import DroverCore

extension HashKey {
  /// A shorter secret could be found by trying.
  private static let bytes = 16...65_535

  /// Reads `hash_key_file` and `hash_key_env`. Nil without either, and after a problem.
  init?(reading file: Section) {
    let path = file.optional("hash_key_file", .secretPath(in: file.folder))
    let variable = file.optional("hash_key_env", .variable)
    if file.isGiven("hash_key_file"), file.isGiven("hash_key_env") {
      file.report("use `hash_key_file` or `hash_key_env`, not both", at: "hash_key_env")
    }
    let text: String
    if let path {
      do throws(UnreadableFile) {
        text = try firstLine(of: path)
      } catch {
        file.report("cannot read the file that it names: \(error.reason)", at: "hash_key_file")
        return nil
      }
    } else if let variable {
      // Not even the variable's name: it may be a secret that was put into the wrong key.
      guard let value = file.environment[variable], !value.isEmpty else {
        file.report("the environment variable that it names is not set", at: "hash_key_env")
        return nil
      }
      text = value
    } else {
      return nil
    }
    guard Self.bytes.contains(text.utf8.count) else {
      file.report(
        "expected a secret of \(Self.bytes.lowerBound) to \(Self.bytes.upperBound) bytes in what it names",
        at: path == nil ? "hash_key_env" : "hash_key_file")
      return nil
    }
    self.init(bytes: Array(text.utf8))
  }
}
