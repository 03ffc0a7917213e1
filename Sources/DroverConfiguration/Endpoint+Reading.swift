// The sections `fetch` and `completed` of a worklist in a cloud's file: an ERP's endpoint. Neither its address nor what it is sent is ever shown.

import DroverCore
import Foundation

extension FetchPlan {
  /// Reads `fetch` of a worklist. Nil without it, and after a problem.
  init?(reading worklist: Section) {
    let keys = worklist.section("fetch")
    let endpoint = EndpointPlan(
      reading: keys, isGiven: worklist.isGiven("fetch"), names: ["limit", "machine"],
      method: { $0 ? "POST" : "GET" }, example: "https://erp.example.com/api/orders")
    let items = keys.optional("items", .memberPath, default: [])
    let key = keys.optional("key", .memberPath)
    let fields = keys.texts("fields", .text("a field or the path of a member"))
    let machine = keys.optional("machine", .memberPath, default: [])
    let every = keys.optional("every", .seconds(.seconds(5) ... .seconds(86_400)))
    let limit = keys.optional("limit", .integer(1...10_000))
    guard worklist.isGiven("fetch") else { return nil }
    if !keys.isGiven("key") {
      keys.report("missing; add the member of an item that holds its key, for example `key: mo_id`", at: "key")
    } else if key?.isEmpty == true {
      keys.report("names a member of an item, for example `key: mo_id`", at: "key")
    }
    guard let endpoint, let key, let fields else { return nil }
    if every != nil, endpoint.has("machine") {
      keys.report(
        "is for requests that name no machine, and `url` or `body` has {machine}; remove one of the two: without `every` the ERP is asked when a machine asks",
        at: "every")
    }
    if limit != nil, every == nil {
      keys.report("is for requests at the interval; set `every` too, or remove it", at: "limit")
    }
    self.init(
      endpoint: endpoint, items: items, key: key,
      fields: fields.map { Field(name: $0.key, path: members(of: $0.value)) }, machine: machine, every: every,
      limit: limit ?? 100)
  }
}

extension CompletedPlan {
  /// Reads `completed` of a worklist. Nil without it, and after a problem.
  init?(reading worklist: Section) {
    let endpoint = EndpointPlan(
      reading: worklist.section("completed"), isGiven: worklist.isGiven("completed"),
      names: ["worklist", "key", "machine", "completed_at", "fields", "row"],
      method: { _ in "POST" }, example: "https://erp.example.com/api/completed")
    guard worklist.isGiven("completed"), let endpoint else { return nil }
    self.init(endpoint: endpoint)
  }
}

extension EndpointPlan {
  /// - Parameters:
  ///   - isGiven: whether the section is in the file.
  ///   - names: what may stand in braces in the address.
  ///   - method: what holds without the key, with or without a body.
  fileprivate init?(reading keys: Section, isGiven: Bool, names: [String], method: (Bool) -> String, example: String) {
    let url = keys.optional("url", .endpointURL(names))
    if isGiven, !keys.isGiven("url") { keys.report("missing; add for example `url: \(example)`", at: "url") }
    let verb = keys.optional("method", Form<Verb>.oneOf)
    let headers = keys.texts("headers", .headerText)
    for header in headers ?? [] {
      if header.key.lowercased() == "authorization" {
        keys.report("a token stands in a file of its own: name that with `token_file`", at: "headers")
      } else if header.key.wholeMatch(of: /[A-Za-z0-9!#$%&'*+.^_`|~-]+/) == nil {
        keys.report("a header's name has letters, digits and hyphens", at: "headers")
      } else if ["host", "content-length", "transfer-encoding", "connection"].contains(header.key.lowercased()) {
        keys.report("\(header.key) is written by Drover", at: "headers")
      }
    }
    keys.refuse(
      "token",
      "do not write a token here; put it into a file of its own and name that with `token_file`, or name an "
        + "environment variable with `token_env`")
    let token = keys.secret(file: "token_file", variable: "token_env", bytes: 1...4096)
    if let token, !isPlain(token) { keys.report("the token has characters that no header takes", at: "token_file") }
    let body = keys.optional("body", .bodyText)
    let timeout = keys.optional("timeout", .seconds(.seconds(1) ... .seconds(600)), default: .seconds(30))
    let ca = keys.optional("ca", .readableFile(in: keys.folder))
    if ca != nil, let url, !url.hasPrefix("https://") {
      keys.report("is for an address with https://; remove it", at: "ca")
    }
    if body != nil, verb == .get { keys.report("GET has no body; remove it, or set `method: POST`", at: "body") }
    guard let url, let headers else { return nil }
    self.init(
      url: EndpointTemplate(url), method: verb?.rawValue ?? method(body != nil),
      headers: headers.map { Header(name: $0.key, value: $0.value) }, token: token,
      body: body.map { EndpointTemplate($0) },
      ca: ca, timeout: timeout)
  }

  fileprivate enum Verb: String, CaseIterable {
    case get = "GET"
    case post = "POST"
    case put = "PUT"
  }
}

/// `data.orders` and `$.data.orders[*]` as names of members; empty for `$`, the whole document.
private func members(of path: String) -> [String] {
  var path = Substring(path)
  if path.hasSuffix("[*]") { path = path.dropLast(3) }
  if path == "$" { return [] }
  if path.hasPrefix("$.") { path = path.dropFirst(2) }
  return path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
}

extension Form where Value == [String] {
  fileprivate static var memberPath: Form {
    Form("the names of members with dots between them, such as data.orders") { text in
      guard isPlain(text), text.utf8.count <= 255 else { return nil }
      let names = members(of: text)
      return names.allSatisfy { !$0.isEmpty && !$0.contains("[") } ? names : nil
    }
  }
}

extension Form where Value == String {
  /// An address that is not shown.
  fileprivate static func endpointURL(_ names: [String]) -> Form {
    let list = names.map { "{\($0)}" }.joined(separator: ", ")
    return Form(
      "an address that begins with http:// or https:// and names a host, without user and fragment; in braces may stand \(list)",
      hides: { _ in true }
    ) { text in
      let filled = names.reduce(text) { $0.replacing("{\($1)}", with: "1") }
      guard isPlain(text), !filled.contains("{"), !filled.contains("}"), let parts = URLComponents(string: filled),
        ["http", "https"].contains(parts.scheme), parts.host?.isEmpty == false, parts.user == nil,
        parts.password == nil,
        parts.fragment == nil, URLComponents(string: text.replacing(/\{[a-z_]+\}/, with: "2"))?.host == parts.host
      else { return nil }
      return text
    }
  }

  fileprivate static var headerText: Form {
    Form("text without control characters", hides: { _ in true }) { text in
      text.utf8.count <= 4096 && text.utf8.allSatisfy { (0x20...0x7e).contains($0) } ? text : nil
    }
  }

  fileprivate static var bodyText: Form {
    Form("text of at most 64 KiB", hides: { _ in true }) { $0.utf8.count <= 64 << 10 ? $0 : nil }
  }
}
