// The image is built from a copy of some folders. SwiftPM refuses a package of which one that Package.swift names is missing.

import DroverTesting
import Foundation
import Testing

@Suite(.programs) struct ImageTests {
  @Test func `the image's build is sent every folder that the package names`() throws {
    func lines(_ name: String) throws -> [Substring] {
      try String(contentsOfFile: "\(Road.repository)/\(name)", encoding: .utf8).split(separator: "\n")
    }
    let package = try lines("Package.swift").joined(separator: "\n")
    let named = package.matches(of: /path: "([A-Za-z]+)/).map { String($0.output.1) }
    let folders = Set(named + ["Sources"])
    #expect(folders.isSuperset(of: ["Sources", "Tests", "Benchmarks"]))
    let (image, sent) = (try lines("Dockerfile"), try lines(".dockerignore"))
    for folder in folders.sorted() {
      #expect(image.contains("COPY \(folder) \(folder)"), "Dockerfile does not copy \(folder)")
      #expect(sent.contains("!\(folder)"), ".dockerignore does not send \(folder)")
    }
  }
}
