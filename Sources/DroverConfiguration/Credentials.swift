// Who Drover is to the broker. The password comes from a file or from the environment and never from the configuration
// itself, which is shown, copied and checked in. Whatever prints credentials, a log line, `dump` or a failed test,
// prints no password; and no error shows a value of `password…`, because people put passwords into the wrong key.

/// A user name and a password, or neither.
package struct Credentials: Equatable, Sendable {
  /// The environment variables that count where the file says nothing.
  package static let usernameVariable = "DROVER_USERNAME"
  package static let passwordVariable = "DROVER_PASSWORD"

  package let username: String
  /// Nil for a user without one, e.g. where the certificate proves who it is.
  package let password: String?

  package init(username: String, password: String?) {
    self.username = username
    self.password = password
  }
}

extension Credentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  package var description: String { "\(username), \(password == nil ? "no password" : "password hidden")" }
  package var debugDescription: String { description }
  package var customMirror: Mirror {
    Mirror(
      self, children: ["username": username, "password": password == nil ? "none" : "hidden"], displayStyle: .struct)
  }
}

extension Credentials {
  /// Longest user name and password of MQTT, in bytes. [MQTT-1.5.4]
  private static let maximumBytes = 65_535

  /// Reads `credentials`, and the environment for what is not there. Nil without any, and after a problem.
  init?(reading credentials: Section) {
    credentials.refuse(
      "password",
      "do not write a password here; put it into a file of its own and name that with `password_file`, "
        + "or set the environment variable \(Self.passwordVariable)")
    let username = Self.username(credentials)
    let password = credentials.password(orElse: Self.passwordVariable)
    guard let username else {
      // MQTT 3.1.1 has no password without a user. [MQTT-3.1.2-22]
      let failed = ["username", "username_env"].contains(where: credentials.isGiven)
      if password != nil, !failed {
        credentials.report(
          "missing, although there is a password; add `username` or set the environment variable "
            + Self.usernameVariable, at: "username")
      }
      return nil
    }
    self.init(username: username, password: password)
  }

  private static func username(_ credentials: Section) -> String? {
    let given = credentials.optional("username", .text("a user name", maximumBytes: maximumBytes))
    let variable = credentials.optional("username_env", .variable)
    if credentials.isGiven("username"), credentials.isGiven("username_env") {
      credentials.report("use `username` or `username_env`, not both", at: "username_env")
    }
    if credentials.isGiven("username") { return given }
    guard let name = credentials.isGiven("username_env") ? variable : usernameVariable else { return nil }
    guard let value = credentials.environment[name], !value.isEmpty else {
      if let variable { credentials.report("the environment variable \(variable) is not set", at: "username_env") }
      return nil
    }
    guard isPlain(value), value.utf8.count <= maximumBytes else {
      credentials.report("the environment variable \(name) holds no user name", at: "username")
      return nil
    }
    return value
  }
}
