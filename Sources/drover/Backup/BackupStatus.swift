// What `drover status` says of backups, on either side.

import DroverConfiguration
import DroverCore
import DroverSQLite
import DroverWire
import Foundation

struct BackupStatus {
  private let record: BackupRecord?
  private let plan: BackupPlan

  init(_ database: String, _ plan: BackupPlan) {
    record = BackupRecord.read(database: database)
    self.plan = plan
  }

  /// None if no backups are configured.
  var lines: [String] {
    guard record != nil || plan.every != nil else { return [] }
    var lines: [String] = []
    if let made = record?.made {
      lines.append(
        "\(Timestamp.text(microseconds: made.at)), \(byteText(made.bytes)), \(made.path)\(isThere ? "" : " (no longer there)")"
      )
    } else {
      lines.append("none yet")
    }
    if let failure = record?.failure {
      lines.append("FAILED at \(Timestamp.text(microseconds: failure.at)): \(failure.reason)")
    }
    return lines
  }

  var document: JSON {
    guard let record else { return .null }
    return .object([
      ("made_at", record.made.map { .string(Timestamp.text(microseconds: $0.at)) } ?? .null),
      ("bytes", record.made.map { .integer($0.bytes) } ?? .null),
      ("path", record.made.map { .string($0.path) } ?? .null), ("present", .bool(isThere)),
      ("failed_at", record.failure.map { .string(Timestamp.text(microseconds: $0.at)) } ?? .null),
      ("failure", record.failure.map { .string($0.reason) } ?? .null),
    ])
  }

  private var isThere: Bool { record?.made.map { FileManager.default.fileExists(atPath: $0.path) } ?? false }
}
