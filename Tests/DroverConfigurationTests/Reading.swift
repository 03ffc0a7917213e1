// What the tests share: reading a text as an edge's or a cloud's file, the problems as they are printed, and folders
// with files in them.

import DroverConfiguration
import Foundation
import Testing

/// The least that each side needs.
let leastEdge = """
  machine: MAH001
  database: ./app.db
  broker: mqtt://127.0.0.1
  streams: [{table: stock, kind: snapshot}]

  """
let leastCloud = """
  broker: mqtt://127.0.0.1
  store: sqlite:./cloud.db

  """

func edge(
  _ yaml: String, in folder: String = "/etc/drover", environment: [String: String] = [:]
) throws(ConfigurationErrors) -> EdgeConfiguration {
  try EdgeConfiguration.parse(yaml: yaml, file: "edge.yaml", folder: folder, environment: environment)
}

func cloud(
  _ yaml: String, in folder: String = "/etc/drover", environment: [String: String] = [:]
) throws(ConfigurationErrors) -> CloudConfiguration {
  try CloudConfiguration.parse(yaml: yaml, file: "cloud.yaml", folder: folder, environment: environment)
}

/// The problems of a reading, one text for each; empty when there are none.
func problems<Value>(_ read: @autoclosure () throws(ConfigurationErrors) -> Value) -> [String] {
  do throws(ConfigurationErrors) {
    _ = try read()
    return []
  } catch {
    return error.problems.map(\.description)
  }
}

/// The least edge with one of its lines replaced.
func leastEdge(with line: String) -> String {
  let key = line.prefix { $0 != ":" } + ":"
  return leastEdge.split(separator: "\n").map { $0.hasPrefix(key) ? line : String($0) }.joined(separator: "\n") + "\n"
}

/// Runs with a folder that holds these files and is gone afterwards.
func withFolder<Value>(_ files: [String: String] = [:], _ body: (String) throws -> Value) throws -> Value {
  let folder = FileManager.default.temporaryDirectory.appending(path: "drover-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  for (name, text) in files { try Data(text.utf8).write(to: folder.appending(path: name)) }
  return try body(folder.path)
}
