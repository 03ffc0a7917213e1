// What every memory of alerts must hold, whatever database is behind it.

package import DroverCore
import Testing

package enum AlertMemoryConformance {
  /// - Parameter open: opens a memory; each time the same one, whose store was just made.
  package static func check(_ open: () -> any AlertMemory) throws {
    #expect(try open().read() == nil)
    for text in ["", "{\"größe\": \"it's\"}", String(repeating: "x", count: 1 << 20)] {
      try open().write(text)
      #expect(try open().read() == text)
    }
  }
}
