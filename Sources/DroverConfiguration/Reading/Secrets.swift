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

extension Section {
  /// A secret from the first line of a file or from an environment variable, whichever of the two keys is given. Nil without either, and after a
  /// problem.
  /// - Parameters:
  ///   - defaultVariable: the environment variable that counts where neither key is given.
  ///   - bytes: how long it may be.
  func secret(
    file fileKey: String, variable variableKey: String, orElse defaultVariable: String? = nil, bytes: ClosedRange<Int>
  ) -> String? {
    let path = optional(fileKey, .secretPath(in: folder))
    let variable = optional(variableKey, .variable)
    if isGiven(fileKey), isGiven(variableKey) {
      report("use `\(fileKey)` or `\(variableKey)`, not both", at: variableKey)
    }
    let text: String
    if isGiven(fileKey) {
      guard let path else { return nil }
      do throws(UnreadableFile) {
        text = try firstLine(of: path)
      } catch {
        report("cannot read the file that it names: \(error.reason)", at: fileKey)
        return nil
      }
    } else if let name = isGiven(variableKey) ? variable : defaultVariable {
      guard let value = environment[name], !value.isEmpty else {
        // Not even the variable's name: it may be a secret that was put into the wrong key.
        if variable != nil { report("the environment variable that it names is not set", at: variableKey) }
        return nil
      }
      text = value
    } else {
      return nil
    }
    // C libraries take it as a string that ends with a NUL.
    guard bytes.contains(text.utf8.count), !text.utf8.contains(0) else {
      report(
        "expected a secret of \(bytes.lowerBound) to \(bytes.upperBound) bytes in what it names",
        at: isGiven(fileKey) ? fileKey : variableKey)
      return nil
    }
    return text
  }

  /// What `password_file` or `password_env` names; MQTT takes no longer one. [MQTT-1.5.4]
  func password(orElse defaultVariable: String) -> String? {
    secret(file: "password_file", variable: "password_env", orElse: defaultVariable, bytes: 1...65_535)
  }
}
