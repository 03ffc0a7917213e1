/// One thing that `drover doctor` looked at.
struct Finding {
  enum Verdict: String {
    case good = "ok"
    case doubtful = "warn"
    case bad = "FAIL"
  }

  var verdict: Verdict
  var subject: String
  var text: String
  /// What to do; nil when nothing has to be done.
  var advice: String?

  static func good(_ subject: String, _ text: String) -> Finding {
    Finding(verdict: .good, subject: subject, text: text)
  }
  static func doubtful(_ subject: String, _ text: String, _ advice: String) -> Finding {
    Finding(verdict: .doubtful, subject: subject, text: text, advice: advice)
  }
  static func bad(_ subject: String, _ text: String, _ advice: String) -> Finding {
    Finding(verdict: .bad, subject: subject, text: text, advice: advice)
  }
}
