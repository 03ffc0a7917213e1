// What `drover doctor` asks of a database file.

package import DroverCore
private import GRDB

/// What can be wrong with a database file, for `drover doctor`.
package enum DatabaseCheck {
  /// SQLite's own check of the file's structure. Empty when all is well.
  /// - Throws: `EdgeStoreError`.
  package static func quickCheck(path: String) throws(EdgeStoreError) -> [String] {
    do {
      let queue = try EdgeDatabase.open(path, create: false, readOnly: true)
      return try queue.read { database in
        do {
          return try damage("20", database)
        } catch let error as DatabaseError where error.isOfOneTable {
          // A table with a collation or a function of the app's own cannot be checked from here, and the others can.
          var found: [String] = []
          for table in try String.fetchAll(database, sql: "SELECT name FROM sqlite_master WHERE type = 'table'") {
            do {
              found += try damage(quoted(table), database)
            } catch let error as DatabaseError where error.isOfOneTable {}
          }
          return found
        }
      }
    } catch let error as EdgeStoreError {
      throw error
    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
      throw .busy
    } catch let error as DatabaseError where error.saysDamaged {
      throw .damaged(Damage.describe(error, path: path, database: nil))
    } catch let error as DatabaseError {
      throw .failed("check \(path): \(error.explanation)")
    } catch {
      throw .failed("check \(path): \(error)")
    }
  }

  private static func damage(_ what: String, _ database: Database) throws -> [String] {
    let lines = try String.fetchAll(database, sql: "PRAGMA quick_check(\(what))")
    return lines == ["ok"] ? [] : lines
  }

  /// Why a declared stream cannot be captured from this database, or nil.
  /// - Throws: `EdgeStoreError`.
  package static func refusal(of declaration: StreamDeclaration, path: String) throws(EdgeStoreError) -> CaptureRefusal?
  {
    do {
      let queue = try EdgeDatabase.open(path, create: false, readOnly: true)
      return try queue.read { database in
        do {
          switch try CapturedTable.inspect(database, declaration) {
          case .missing(let table, _)?: return .missing(table)
          case .table(let table)?: try table.tryReading(database)
          case nil: break
          }
          return nil
        } catch let refusal as CaptureRefusal {
          return refusal
        } catch let error as DatabaseError where error.isOfOneTable {
          return CaptureRefusal(declaration.table ?? "", error)
        }
      }
    } catch let error as EdgeStoreError {
      throw error
    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
      throw .busy
    } catch {
      throw .failed("look at \(declaration.name): \(error)")
    }
  }

  /// What an operator should know of a stream that can be captured: whole sentences without a full stop.
  package static func advice(on declaration: StreamDeclaration, path: String) -> [String] {
    guard let queue = try? EdgeDatabase.open(path, create: false, readOnly: true) else { return [] }
    let advice = try? queue.read { database -> [String] in
      guard case .table(let table)? = try CapturedTable.inspect(database, declaration) else { return [] }
      return try (table.declaredKey?.warnings ?? []) + KeyLives.advice(on: table, declaration.name, database)
        + [table.reusedKeyAdvice(database)].compactMap(\.self)
        + DownAdvice.on(table, firesAppTriggers: declaration.firesAppTriggers, database)
    }
    return advice ?? []
  }
}
