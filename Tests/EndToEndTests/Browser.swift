// A real browser without a window, driven by chromedriver's own protocol (https://www.w3.org/TR/webdriver2/). It ends with the test.

import DroverProcesses
import DroverTesting
import Foundation
import Testing

final class Browser: Sendable {
  private let driver: ChildProcess
  private let port: Int
  private let session: String
  private let profile: TemporaryFolder

  struct Trouble: Error, CustomStringConvertible {
    let description: String
  }

  init() async throws {
    let port = Loopback.freePort()
    let profile = try TemporaryFolder()
    let driver = try ChildProcess(
      "chromedriver", ["--port=\(port)", "--silent"], errorsTo: profile.file("chromedriver.log"))
    let options: [String: Any] = [
      "args": [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--user-data-dir=\(profile.path)/profile",
      ]
    ]
    let wanted: [String: Any] = [
      "capabilities": ["alwaysMatch": ["goog:loggingPrefs": ["browser": "ALL"], "goog:chromeOptions": options]]
    ]
    var session: String?
    for _ in 0..<100 where session == nil && driver.isRunning {
      session = (try? await Self.call(port, "POST", "/session", wanted) as? [String: Any])?["sessionId"] as? String
      if session == nil { try await Task.sleep(for: .milliseconds(100)) }
    }
    guard let session else { throw Trouble(description: "chromedriver gives no session; is chromium installed?") }
    (self.driver, self.port, self.session, self.profile) = (driver, port, session, profile)
  }

  deinit {
    // Chromium ends with its session; the driver alone would leave it behind.
    try? ChildProcess.run(
      "curl", ["--silent", "--max-time", "10", "-X", "DELETE", "http://127.0.0.1:\(port)/session/\(session)"])
    driver.end(SIGTERM)
  }

  // MARK: What a person does

  func open(_ url: String) async throws { _ = try await ask("POST", "/url", ["url": url]) }

  /// - Parameter width: of the window's inside, in pixels.
  func resize(width: Int, height: Int = 900) async throws {
    _ = try await ask(
      "POST", "/goog/cdp/execute",
      [
        "cmd": "Emulation.setDeviceMetricsOverride",
        "params": ["width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500],
      ])
  }

  func click(_ selector: String) async throws {
    _ = try await ask("POST", "/element/\(try await element(selector))/click", [:])
  }

  func type(_ text: String, into selector: String) async throws {
    _ = try await ask("POST", "/element/\(try await element(selector))/value", ["text": text])
  }

  /// Presses keys wherever the focus is; the codes are those of the protocol, section "Keyboard actions".
  func press(_ keys: String...) async throws {
    let actions = keys.flatMap { [["type": "keyDown", "value": $0], ["type": "keyUp", "value": $0]] }
    _ = try await ask("POST", "/actions", ["actions": [["type": "key", "id": "keys", "actions": actions]]])
  }

  func acceptQuestion() async throws { _ = try await ask("POST", "/alert/accept", [:]) }

  // MARK: What a person sees

  /// Runs a function's body in the page.
  @discardableResult
  func script(_ body: String) async throws -> Any? {
    try await ask("POST", "/execute/sync", ["script": body, "args": []])
  }

  /// The text as it is shown.
  func text(_ selector: String = "body") async throws -> String {
    try await script("return document.querySelector(\(quoted(selector)))?.innerText ?? ''") as? String ?? ""
  }

  /// What went wrong in the page, such as a script's error or a blocked request.
  func errors() async throws -> [String] {
    let lines = try await ask("POST", "/se/log", ["type": "browser"]) as? [[String: Any]] ?? []
    return lines.filter { $0["level"] as? String == "SEVERE" }.compactMap { $0["message"] as? String }
  }

  func screenshot() async throws -> Data {
    let text = try await ask("GET", "/screenshot", nil) as? String
    return Data(base64Encoded: text ?? "") ?? Data()
  }

  /// The accessibility tree's roles and names, as a screen reader has them.
  func spokenElements() async throws -> [(role: String, name: String)] {
    let tree =
      try await ask("POST", "/goog/cdp/execute", ["cmd": "Accessibility.getFullAXTree", "params": [:]])
      as? [String: Any]
    return (tree?["nodes"] as? [[String: Any]] ?? []).compactMap { node in
      guard node["ignored"] as? Bool != true, let role = (node["role"] as? [String: Any])?["value"] as? String else {
        return nil
      }
      return (role, (node["name"] as? [String: Any])?["value"] as? String ?? "")
    }
  }

  // MARK: The protocol

  private func element(_ selector: String) async throws -> String {
    let found = try await ask("POST", "/element", ["using": "css selector", "value": selector]) as? [String: String]
    guard let id = found?.values.first else { throw Trouble(description: "\(selector): the page has none") }
    return id
  }

  private func ask(_ method: String, _ path: String, _ body: [String: Any]?) async throws -> Any? {
    try await Self.call(port, method, "/session/\(session)\(path)", body)
  }

  private static func call(_ port: Int, _ method: String, _ path: String, _ body: [String: Any]?) async throws -> Any? {
    let input = try body.map { String(decoding: try JSONSerialization.data(withJSONObject: $0), as: UTF8.self) }
    let outcome = try await Road.run(
      "curl",
      ["--silent", "--max-time", "60", "-X", method, "-H", "Content-Type: application/json"]
        + (input == nil ? [] : ["--data-binary", "@-"]) + ["http://127.0.0.1:\(port)\(path)"], input: input ?? "")
    let answer = try? JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any]
    guard let answer else { throw Trouble(description: "\(method) \(path): chromedriver does not answer") }
    if let error = answer["value"] as? [String: Any], let name = error["error"] as? String {
      throw Trouble(description: "\(path): \(name): \(error["message"] as? String ?? "")")
    }
    return answer["value"]
  }

  private func quoted(_ text: String) -> String { "'\(text.replacing("'", with: "\\'"))'" }
}
