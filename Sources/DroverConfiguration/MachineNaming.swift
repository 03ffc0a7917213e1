// Where a machine's name comes from, if the file does not have it: so that many machines share one file.

package import DroverCore

/// `machine`, as keys.
package struct MachineNaming: Equatable, Sendable {
  /// Reads the first value of a query's first row from the database at a path, and never writes; nil without a row.
  package typealias Query = @Sendable (_ database: String, _ sql: String) throws(Refused) -> String?

  /// Why there is no name from this place, for people.
  package struct Refused: Error, Equatable {
    package let reason: String
    package init(_ reason: String) { self.reason = reason }
  }

  /// A query of the machine's own database.
  package var query: String?
  /// A variable of the environment.
  package var env: String?
  /// The resolved path of a file with the name.
  package var file: String?
  /// The name where none of them has one.
  package var name: MachineID?

  package init(query: String? = nil, env: String? = nil, file: String? = nil, name: MachineID? = nil) {
    self.query = query
    self.env = env
    self.file = file
    self.name = name
  }

  /// The first name that one of the places has.
  /// - Returns: the name, or why each place has none.
  package func resolve(
    database: String, environment: [String: String], query ask: Query?
  ) -> (name: MachineID?, why: [String]) {
    var why: [String] = []
    func take(_ text: String?, _ place: String, _ nothing: String) -> MachineID? {
      let name = (text ?? "").trimmingWhitespace
      guard !name.isEmpty else {
        why.append("\(place) \(nothing)")
        return nil
      }
      do { return try MachineID(name) } catch {
        why.append("\(place) has \(quoted(name)), and \(error.message)")
        return nil
      }
    }
    if let query {
      do throws(Refused) {
        if let name = take(try ask?(database, query), "the query", "gives no value") { return (name, []) }
      } catch {
        why.append("the query fails: \(error.reason)")
      }
    }
    if let env, let name = take(environment[env], "the variable \(env)", "is not set") { return (name, []) }
    if let file {
      do throws(UnreadableFile) {
        if let name = take(try readText(file, maximumBytes: 1 << 10), "the file \(file)", "is empty") {
          return (name, [])
        }
      } catch {
        why.append("the file \(file) cannot be read: \(error.reason)")
      }
    }
    return (name, why)
  }
}

extension MachineNaming {
  /// Nil after a problem.
  init?(reading keys: Section) {
    let query = keys.optional("query", .text("a query", maximumBytes: 4096))
    let env = keys.optional("env", .text("the name of a variable"))
    let file = keys.optional("file", .path(in: keys.folder))
    let name = keys.optional("name", .machine)
    guard query != nil || env != nil || file != nil else {
      keys.report("expected `query`, `env` or `file`, which has the machine's name")
      return nil
    }
    self.init(query: query, env: env, file: file, name: name)
  }
}

extension String {
  fileprivate var trimmingWhitespace: String {
    func isBlank(_ character: Character) -> Bool { character.isWhitespace }
    return String(drop(while: isBlank).reversed().drop(while: isBlank).reversed())
  }
}
