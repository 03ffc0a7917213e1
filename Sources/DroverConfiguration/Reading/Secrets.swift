// Secrets come from files and environment variables and never from the configuration itself, which is shown, copied and checked in. No error
// shows a value of a key that names one, because people put the secret itself there by mistake.

/// The first line of a file, without its end.
func firstLine(of path: String) throws(UnreadableFile) -> String {
  // A carriage return and a line feed are one `Character`, so a file from Windows ends its line here too.
  String(try readText(path, maximumBytes: 1 << 20).prefix { $0 != "\n" && $0 != "\r\n" })
}

extension Form where Value == String {
  /// The name of an environment variable; what was found is not shown.
  static var variable: Form {
    Form("the name of an environment variable", hides: { _ in true }) { text in
      text.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) == nil ? nil : text
    }
  }

  /// A path that is not shown.
  static func secretPath(in folder: String) -> Form {
    Form("a path", hides: { _ in true }) { text in isPlain(text) ? resolve(text, in: folder) : nil }
  }
}

enum Secrets {
  /// Longest password of MQTT, in bytes. [MQTT-1.5.4]
  private static let maximumBytes = 65_535

  /// The password of a section with `password_file` and `password_env`; nil without one, and after a problem.
  /// - Parameter variable: the environment variable that counts where neither is there.
  static func password(reading credentials: Section, variable defaultVariable: String) -> String? {
    let file = credentials.optional("password_file", .secretPath(in: credentials.folder))
    let variable = credentials.optional("password_env", .variable)
    if credentials.isGiven("password_file"), credentials.isGiven("password_env") {
      credentials.report("use `password_file` or `password_env`, not both", at: "password_env")
    }
    if credentials.isGiven("password_file") {
      return file.flatMap { firstLine(of: $0, credentials) }
    }
    guard let name = credentials.isGiven("password_env") ? variable : defaultVariable else { return nil }
    guard let value = credentials.environment[name], !value.isEmpty else {
      // Not even the variable's name: it may be a password that was put into the wrong key.
      if variable != nil { credentials.report("the environment variable that it names is not set", at: "password_env") }
      return nil
    }
    guard isPassword(value) else {
      credentials.report("the environment variable holds more than \(maximumBytes) bytes", at: "password_env")
      return nil
    }
    return value
  }

  private static func firstLine(of path: String, _ credentials: Section) -> String? {
    let line: String
    do throws(UnreadableFile) {
      line = try DroverConfiguration.firstLine(of: path)
    } catch {
      credentials.report("cannot read the file that it names: \(error.reason)", at: "password_file")
      return nil
    }
    guard isPassword(line) else {
      credentials.report(
        "the first line of the file that it names must hold the password, 1 to \(maximumBytes) bytes",
        at: "password_file")
      return nil
    }
    return line
  }

  /// libmosquitto and libpq take C strings, so a NUL would cut it.
  private static func isPassword(_ text: String) -> Bool {
    (1...maximumBytes).contains(text.utf8.count) && !text.utf8.contains(0)
  }
}
