// One event, one line on standard error, as systemd's journal and `docker logs` want it: time, level, text.

import DroverCore
import Foundation
import Logging

struct LineLogHandler: LogHandler {
  let label: String
  var logLevel: Logger.Level = .info
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var line = Timestamp.text(microseconds: wallClock())
    line += " \(event.level.rawValue) \(event.message)"
    let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
    for (key, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(value)" }
    FileHandle.standardError.write(Data((line.replacing("\n", with: " ") + "\n").utf8))
  }
}
