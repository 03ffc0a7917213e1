// The section `alerts` of a cloud's file: from which limits on alerts are sent, and where. Without it there are no alerts.

package import DroverCore
import Foundation

package struct AlertsConfiguration: Equatable, Sendable {
  package let rules: AlertRules
  /// nil: alerts are lines of the log, figures and a part of the fleet's document.
  package let webhook: WebhookConfiguration?

  package init(rules: AlertRules, webhook: WebhookConfiguration? = nil) {
    self.rules = rules
    self.webhook = webhook
  }
}

/// Where alerts are posted. Neither of the two is ever shown, for a webhook's address is often its secret.
package struct WebhookConfiguration: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
  package let url: String
  /// Goes into the header `Authorization`.
  package let token: String?
  /// The authorities that may have signed the receiver's certificate; nil for those of the system.
  package let ca: String?

  package init(url: String, token: String? = nil, ca: String? = nil) {
    self.url = url
    self.token = token
    self.ca = ca
  }

  package var description: String { "(webhook)" }
  package var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}

extension AlertsConfiguration {
  /// Reads `alerts` of a file. Nil without it.
  init?(reading file: Section) {
    let keys = file.section("alerts")
    let rules = AlertRules(reading: keys)
    let webhook = WebhookConfiguration(reading: keys)
    guard file.isGiven("alerts") else { return nil }
    self.init(rules: rules, webhook: webhook)
  }
}

extension AlertRules {
  /// Looks are five seconds apart, so that no limit is shorter.
  private static let spans = Duration.seconds(5) ... .seconds(31_536_000)

  fileprivate init(reading keys: Section) {
    let standard = AlertRules()
    let schemas = keys.optional("schemas", .onOrOff, default: standard.schemas)
    let jobs = keys.optional("jobs", .onOrOff, default: standard.jobs)
    let names = keys.optional("names", .onOrOff, default: standard.names)
    let tables = keys.optional("tables", .onOrOff, default: standard.tables)
    let streams = keys.optional("streams", .onOrOff, default: standard.streams)
    let budgets = keys.optional("budgets", .onOrOff, default: standard.budgets)
    let hold = keys.optional("for", .seconds(.zero ... .seconds(86_400)), default: standard.hold)
    let calm = keys.optional("calm", .seconds(.zero ... .seconds(86_400)), default: standard.calm)
    self.init(
      silent: keys.limit("silent", .seconds(Self.spans), default: standard.silent),
      oldestUnconfirmed: keys.limit(
        "oldest_unconfirmed", .seconds(Self.spans), default: standard.oldestUnconfirmed),
      failures: keys.limit("failures", .integer(0...1_000_000), default: standard.failures),
      deadLetters: keys.limit("dead_letters", .integer(0...100_000_000), default: standard.deadLetters),
      conflicts: keys.limit("conflicts", .integer(0...100_000_000), default: standard.conflicts),
      disk: keys.limit("disk", .size(1 << 20...1 << 50), default: standard.disk.map { Int($0) }).map { Int64($0) },
      schemas: schemas, jobs: jobs, budgets: budgets, names: names, tables: tables, streams: streams,
      endpoints: keys.limit("endpoints", .integer(0...1_000_000), default: standard.endpoints),
      worklists: keys.limit("worklists", .seconds(Self.spans), default: standard.worklists),
      hold: hold, calm: calm)
  }
}

extension Section {
  /// The limit of a rule: nil where the rule is switched off.
  fileprivate func limit<Value>(_ key: String, _ form: Form<Value>, default value: Value?) -> Value? {
    optional(key, form.orOff) ?? value
  }
}

extension WebhookConfiguration {
  /// Reads `webhook`. Nil without it, and after a problem.
  fileprivate init?(reading alerts: Section) {
    let keys = alerts.section("webhook")
    let url = keys.optional("url", .webURL)
    keys.refuse(
      "token",
      "do not write a token here; put it into a file of its own and name that with `token_file`, or name an "
        + "environment variable with `token_env`")
    let token = keys.secret(file: "token_file", variable: "token_env", bytes: 1...4096)
    if let token, !isPlain(token) { keys.report("the token has characters that no header takes", at: "token_file") }
    let ca = keys.optional("ca", .readableFile(in: keys.folder))
    if ca != nil, let url, !url.hasPrefix("https://") {
      keys.report("is for an address with https://; remove it", at: "ca")
    }
    if alerts.isGiven("webhook"), !keys.isGiven("url") {
      keys.report("missing; add for example `url: https://example.com/drover`", at: "url")
    }
    guard let url else { return nil }
    self.init(url: url, token: token, ca: ca)
  }
}

extension Form where Value == String {
  /// An address that is not shown.
  fileprivate static var webURL: Form {
    Form(
      "an address that begins with http:// or https:// and names a host, without user and fragment",
      hides: { _ in true }
    ) {
      text in
      guard isPlain(text), let parts = URLComponents(string: text), ["http", "https"].contains(parts.scheme),
        parts.host?.isEmpty == false, parts.user == nil, parts.password == nil, parts.fragment == nil
      else { return nil }
      return text
    }
  }
}

extension Form where Value == Bool {
  fileprivate static var onOrOff: Form { Form("on or off") { $0 == "on" ? true : $0 == "off" ? false : nil } }
}
