// The page that a person opens in a browser: files that are part of the executable, and nothing from anywhere else. They hold no figure, so they
// need no token; what they show, they ask with the token that the person gives them.

import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

package enum PageRoutes {
  private static let files: [(name: String, type: String, bytes: [UInt8])] = [
    ("page.css", "text/css", PackageResources.page_css),
    ("main.js", "text/javascript", PackageResources.main_js),
    ("api.js", "text/javascript", PackageResources.api_js),
    ("text.js", "text/javascript", PackageResources.text_js),
    ("problems.js", "text/javascript", PackageResources.problems_js),
    ("sparkline.js", "text/javascript", PackageResources.sparkline_js),
    ("fleet.js", "text/javascript", PackageResources.fleet_js),
    ("machine.js", "text/javascript", PackageResources.machine_js),
    ("letters.js", "text/javascript", PackageResources.letters_js),
    ("conflicts.js", "text/javascript", PackageResources.conflicts_js),
    ("worklists.js", "text/javascript", PackageResources.worklists_js),
    ("rows.js", "text/javascript", PackageResources.rows_js),
    ("row.js", "text/javascript", PackageResources.row_js),
  ]

  package static var all: [Route] {
    [Route(.get, "/", isOpen: true) { _, _ in answer(PackageResources.index_html, "text/html") }]
      + files.map { file in
        Route(.get, "/page/\(file.name)", isOpen: true) { _, _ in answer(file.bytes, file.type) }
      }
  }

  /// Nothing that the page shows can load or send anything elsewhere, whatever a machine writes into its events.
  private static func answer(_ bytes: [UInt8], _ type: String) -> Response {
    Response(
      status: .ok,
      headers: [
        .contentType: "\(type); charset=utf-8", .cacheControl: "no-cache",
        .contentSecurityPolicy:
          "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        HTTPField.Name("Referrer-Policy")!: "no-referrer",
      ], body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
  }
}
