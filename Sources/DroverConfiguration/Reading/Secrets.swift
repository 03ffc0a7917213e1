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
