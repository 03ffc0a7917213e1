// Some commands work on either side, and the file alone says which: an edge's has a machine, a database or streams,
// a cloud's has a store.

/// The configuration of whichever side the file is for.
package enum AnyConfiguration: Equatable, Sendable {
  case edge(EdgeConfiguration)
  case cloud(CloudConfiguration)

  /// Reads the file at `path`; relative paths in it are relative to its folder.
  package static func load(
    path: String, environment: [String: String]
  ) throws(ConfigurationErrors) -> AnyConfiguration {
    let file = try ConfigurationFile(path: path)
    return try parse(yaml: file.text, file: path, folder: file.folder, environment: environment)
  }

  /// Reads text as if it came from `file` in `folder`. The files that it names are read from there.
  package static func parse(
    yaml: String, file: String, folder: String, environment: [String: String]
  ) throws(ConfigurationErrors) -> AnyConfiguration {
    let reader = ConfigurationReader(file: file, folder: folder, environment: environment)
    let document = try reader.document(yaml)
    // Either may have `streams`.
    if !["machine", "database"].contains(where: document.isGiven), document.isGiven("store") {
      return .cloud(try reader.finish(CloudConfiguration(reading: document)))
    }
    if ["machine", "database", "streams"].contains(where: document.isGiven) {
      return .edge(try reader.finish(EdgeConfiguration(reading: document)))
    }
    throw reader.failure(
      "this is neither an edge's configuration, which has `machine`, `database` and `streams`, nor a cloud's, "
        + "which has `store`")
  }
}
