// A database on a server, as `store: postgresql://…` names it. The password stands where other secrets do, in a file or in the environment;
// whatever prints a configuration prints none.

/// A PostgreSQL database and how to get in.
package struct DatabaseServer: Equatable, Sendable {
  /// The environment variable that counts where the file says nothing.
  package static let passwordVariable = "DROVER_STORE_PASSWORD"

  /// A connection URI without a password, as libpq reads it.
  package let uri: String
  /// Nil: the server asks for none, or ~/.pgpass has it.
  package let password: String?

  package init(uri: String, password: String?) {
    self.uri = uri
    self.password = password
  }
}

extension DatabaseServer: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  package var description: String { "PostgreSQL, \(password == nil ? "no password" : "password hidden")" }
  package var debugDescription: String { description }
  package var customMirror: Mirror {
    Mirror(self, children: ["uri": "hidden", "password": password == nil ? "none" : "hidden"], displayStyle: .struct)
  }
}

extension CloudConfiguration.Store {
  /// Reads `store` and `store_credentials`. Nil after a problem with `store`.
  init?(reading file: Section) {
    let store = file.required("store", .store(in: file.folder), example: "sqlite:./cloud.db")
    let credentials = file.section("store_credentials")
    credentials.refuse(
      "password",
      "do not write a password here; put it into a file of its own and name that with `password_file`, "
        + "or set the environment variable \(DatabaseServer.passwordVariable)")
    let password = credentials.password(orElse: DatabaseServer.passwordVariable)
    switch store {
    case .postgresql(let server)?: self = .postgresql(DatabaseServer(uri: server.uri, password: password))
    case .sqlite(let path)?:
      if file.isGiven("store_credentials") {
        credentials.report("only a PostgreSQL store has credentials; remove it")
      }
      self = .sqlite(path: path)
    case nil: return nil
    }
  }
}

extension Form where Value == CloudConfiguration.Store {
  /// `sqlite:PATH` or `postgresql://…`.
  fileprivate static func store(in folder: String) -> Form {
    // The URL of a database server may hold a password by mistake.
    Form(
      "sqlite:PATH, such as sqlite:./cloud.db, or postgresql://USER@HOST/DATABASE",
      hides: { $0.contains("@") || $0.contains("?") || $0.contains("://") }
    ) { text throws(Refusal) in
      if text.hasPrefix("postgresql://") || text.hasPrefix("postgres://") {
        guard isPlain(text) else { return nil }
        if holdsPassword(text) {
          throw Refusal(
            "do not write a password here; name a file that has it with `store_credentials.password_file`, "
              + "or set the environment variable \(DatabaseServer.passwordVariable)")
        }
        return .postgresql(DatabaseServer(uri: text, password: nil))
      }
      guard text.hasPrefix("sqlite:"), !text.hasPrefix("sqlite://") else { return nil }
      let path = String(text.dropFirst("sqlite:".count))
      return isPlain(path) ? .sqlite(path: resolve(path, in: folder)) : nil
    }
  }

  /// `USER:PASSWORD@`, or the parameter.
  private static func holdsPassword(_ uri: String) -> Bool {
    let rest = uri.drop { $0 != "/" }.dropFirst(2)
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    let user = authority.contains("@") ? authority.prefix { $0 != "@" } : ""
    return user.contains(":") || rest.lowercased().contains("password=")
  }
}
