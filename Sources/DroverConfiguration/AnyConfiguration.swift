// Some commands work on either side, and the file alone says which: an edge's has a machine, a database or streams,
// a cloud's has a store.

/// The configuration of whichever side the file is for.
package enum AnyConfiguration: Equatable, Sendable {
  case edge(EdgeConfiguration)
  case cloud(CloudConfiguration)

  /// Reads the file at `path`; relative paths in it are relative to its folder.
  package static func load(
    path: String, environment: [String: String], query: MachineNaming.Query? = nil
  ) throws(ConfigurationErrors) -> AnyConfiguration {
    let file = try ConfigurationFile(path: path)
    return try parse(yaml: file.text, file: path, folder: file.folder, environment: environment, query: query)
  }

  /// Reads text as if it came from `file` in `folder`. The files that it names are read from there.
  package static func parse(
    yaml: String, file: String, folder: String, environment: [String: String], query: MachineNaming.Query? = nil
  ) throws(ConfigurationErrors) -> AnyConfiguration {
    let reader = ConfigurationReader(file: file, folder: folder, environment: environment)
    let document = try reader.document(yaml)
    switch side(of: document) {
    case .cloud: return .cloud(try reader.finish(CloudConfiguration(reading: document)))
    case .edge: return .edge(try reader.finish(EdgeConfiguration(reading: document, query: query)))
    case nil: break
    }
    throw reader.failure(
      "this is neither an edge's configuration, which has `machine`, `database` and `streams`, nor a cloud's, "
        + "which has `store`")
  }

  enum Side { case edge, cloud }

  /// Which side a file is for, as far as its keys tell. Either may have `streams`.
  static func side(of document: Section) -> Side? {
    if ["machine", "database"].contains(where: document.isGiven) { return .edge }
    return document.isGiven("store") ? .cloud : document.isGiven("streams") ? .edge : nil
  }
}
