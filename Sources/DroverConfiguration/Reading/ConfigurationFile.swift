// A configuration file on the disk: its text, and the folder that its relative paths start from.

/// A file that was read.
struct ConfigurationFile {
  let text: String
  /// Absolute. A link is not followed: the folder is the one that the user named.
  let folder: String

  /// Reads the file. A configuration is a page of text; something of more than a mebibyte is something else.
  init(path: String) throws(ConfigurationErrors) {
    do {
      text = try readText(path, maximumBytes: 1 << 20)
    } catch {
      throw ConfigurationErrors([
        ConfigurationProblem(
          file: path, place: nil, key: "", message: "cannot read the configuration: \(error.reason)")
      ])
    }
    folder = absoluteFolder(of: path)
  }
}
