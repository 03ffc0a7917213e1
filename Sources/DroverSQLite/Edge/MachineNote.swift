// The machine's name and the app's database: the app may have the name in a table of its own, and Drover notes under which name it last worked here.

package import DroverCore
import GRDB

package enum MachineNameQuery {
  /// The first value of the first row, as a text; nil without a row, and for NULL.
  /// - Throws: why there is no answer: `EdgeStoreError`.
  package static func run(_ sql: String, in path: String) throws(EdgeStoreError) -> String? {
    do {
      let queue = try EdgeDatabase.open(path, create: false, readOnly: true, patience: .seconds(2))
      return try queue.read { database in
        let statement = try database.makeStatement(sql: sql)
        guard statement.isReadonly else { throw EdgeStoreError.failed("the query writes; write a SELECT") }
        let value = try DatabaseValue.fetchOne(statement) ?? .null
        return value.isNull ? nil : String.fromDatabaseValue(value) ?? Int64.fromDatabaseValue(value).map { "\($0)" }
      }
    } catch let error as EdgeStoreError {
      throw error
    } catch let error as DatabaseError {
      throw .failed(error.explanation)
    } catch {
      throw .failed("\(error)")
    }
  }
}

extension EdgeDatabase {
  private static let machineName = "machine"

  /// Notes under which name the agent works.
  /// - Returns: the name of the time before, if it was another one.
  package func note(machine: MachineID) throws(EdgeStoreError) -> String? {
    try access { database in
      let former = try String.fetchOne(
        database, sql: "SELECT value FROM drover_meta WHERE name = ?", arguments: [Self.machineName])
      guard former != machine.text else { return nil }
      try database.inTransaction(.immediate) {
        try database.execute(
          sql: "INSERT OR REPLACE INTO drover_meta (name, value) VALUES (?, ?)",
          arguments: [Self.machineName, machine.text])
        return .commit
      }
      return former
    }
  }
}
