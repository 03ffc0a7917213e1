// An ERP's endpoint over HTTP: one request, and a body of a bounded size.

package import DroverCore
private import Foundation

package struct HTTPEndpoint: Endpoint {
  /// Longest body of an answer: 100,000 small orders.
  package static let mostBytes = 32 << 20

  private let token: String?
  private let http: OutboundHTTP

  /// Its owner has to `close` it.
  /// - Parameter caKey: the configuration's key for the plan's authorities, for errors.
  package init(_ plan: EndpointPlan, caKey: String) {
    token = plan.token
    http = OutboundHTTP(ca: plan.ca, caKey: caKey, patience: plan.timeout)
  }

  package func send(_ request: EndpointRequest) async throws -> [UInt8] {
    let answer: OutboundAnswer
    do throws(OutboundError) {
      answer = try await http.send(request, token: token, mostBytes: Self.mostBytes)
    } catch {
      throw EndpointError(error.description)
    }
    let status = answer.status
    guard !(200..<300).contains(status) else { return answer.body }
    throw EndpointError(
      "\(OutboundHTTP.host(of: request.url)) answers \(status)\(Self.remark(status))",
      retryAfter: answer.retryAfter.flatMap { RetryAfter.duration($0, now: Date().timeIntervalSince1970) },
      isAboutTheRequest: [400, 409, 410, 413, 422].contains(status))
  }

  private static func remark(_ status: Int) -> String {
    switch status {
    case 300..<400: "; Drover follows no redirects, so name the new address"
    case 401, 403: "; check the token"
    case 404, 405: "; check url and method"
    default: ""
    }
  }

  package func close() async { await http.close() }
}

/// The header `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
package enum RetryAfter {
  /// - Parameter now: seconds since 1970.
  /// - Returns: nil for what is neither.
  package static func duration(_ text: String, now: Double) -> Duration? {
    let text = text.trimmingCharacters(in: .whitespaces)
    if !text.isEmpty, text.utf8.count <= 9, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
      let seconds = Int(text)
    {
      return .seconds(seconds)
    }
    return date(text).map { .seconds(max(0, min($0 - now, 1e9))) }
  }

  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  /// `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since 1970.
  private static func date(_ text: String) -> Double? {
    let parts = text.split(separator: " ")
    guard parts.count == 6, parts[5] == "GMT", let month = months.firstIndex(where: { $0 == parts[2] }),
      let day = Int(parts[1]), let year = Int(parts[3]), (1970...9999).contains(year)
    else { return nil }
    let time = parts[4].split(separator: ":").compactMap { Int($0) }
    guard time.count == 3, (1...31).contains(day), (0...23).contains(time[0]), (0...59).contains(time[1]),
      (0...60).contains(time[2])
    else { return nil }
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = TimeZone(secondsFromGMT: 0)!
    return calendar.date(
      from: DateComponents(
        year: year, month: month + 1, day: day, hour: time[0], minute: time[1], second: time[2])
    )?.timeIntervalSince1970
  }
}
