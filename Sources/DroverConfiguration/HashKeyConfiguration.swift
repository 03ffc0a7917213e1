// The secret for `hash`: from a file or from the environment.

import DroverCore

extension HashKey {
  /// A shorter secret could be found by trying.
  private static let bytes = 16...65_535

  /// Reads `hash_key_file` and `hash_key_env`. Nil without either, and after a problem.
  init?(reading file: Section) {
    guard let text = file.secret(file: "hash_key_file", variable: "hash_key_env", bytes: Self.bytes) else { return nil }
    self.init(bytes: Array(text.utf8))
  }
}
