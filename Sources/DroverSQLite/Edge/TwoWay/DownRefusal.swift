// Why a row that came down is not in the app's table.

import GRDB

struct DownRefusal: Error {
  /// As it stands in the edge's dead letters.
  enum Reason: String {
    /// The app's table refuses the row.
    case constraint
    /// The row names one that is not there, or others name it. It is tried again with later rows.
    case foreignKey = "foreign_key"
    /// A trigger of the app's changes the row again and again.
    case trigger = "app_trigger"
    /// The row has other columns than the table.
    case schema
  }

  /// Begins the detail of such a dead letter.
  static let prefix = "came down: "

  var reason: Reason
  var detail: String
  /// Whether it may pass when others have changed.
  var mayPass = false

  init(_ reason: Reason, _ detail: String) {
    self.reason = reason
    self.detail = detail
  }

  static func waiting(_ detail: String) -> DownRefusal {
    var refusal = DownRefusal(.foreignKey, detail)
    refusal.mayPass = true
    return refusal
  }

  init(_ error: DatabaseError) {
    self.init(.constraint, error.explanation)
    switch error.extendedResultCode {
    case .SQLITE_CONSTRAINT_CHECK, .SQLITE_CONSTRAINT_NOTNULL: break
    default: mayPass = error.resultCode == .SQLITE_CONSTRAINT
    }
  }
}
