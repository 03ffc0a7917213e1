// The civil calendar against Foundation's.

import DroverCore
import DroverTesting
import Foundation
import Testing

@Suite struct TimestampTests {
  private static let millisecondsOfYear1: Int64 = -62_135_596_800_000
  private static let endOfYear9999: Int64 = 253_402_300_799_999

  /// Foundation's ISO 8601 of the whole second; the milliseconds are put in by hand, since it rounds them in floating point.
  private func expected(milliseconds: Int64) -> String {
    let second = milliseconds >= 0 ? milliseconds / 1000 : -((999 - milliseconds) / 1000)
    let text = Date(timeIntervalSince1970: Double(second)).formatted(.iso8601)
    let rest = String(1000 + milliseconds - second * 1000).dropFirst()
    return "\(text.dropLast()).\(rest)Z"
  }

  @Test func `any millisecond since 1600 reads as Foundation writes it`() {
    var random = Seeded(1)
    for _ in 0..<2000 {
      // Foundation changes to the Julian calendar before 1582.
      let milliseconds = Int64.random(in: -11_676_096_000_000...Self.endOfYear9999, using: &random)
      #expect(Timestamp.text(microseconds: milliseconds * 1000) == expected(milliseconds: milliseconds))
    }
  }

  @Test(arguments: [
    1600, 1700, 1800, 1896, 1900, 1904, 1969, 1970, 1972, 1999, 2000, 2001, 2024, 2025, 2099, 2100, 2400,
  ])
  func `the days around the end of February and of the year are right`(year: Int) throws {
    var calendar = Calendar(identifier: .gregorian)
    calendar.timeZone = .gmt
    for (month, day) in [(1, 1), (2, 28), (3, 1), (12, 31)] {
      let date = try #require(calendar.date(from: DateComponents(year: year, month: month, day: day)))
      for day in -1...1 {
        let milliseconds = Int64(date.timeIntervalSince1970) * 1000 + Int64(day) * 86_400_000
        #expect(Timestamp.text(microseconds: milliseconds * 1000) == expected(milliseconds: milliseconds))
        #expect(Timestamp.text(microseconds: milliseconds * 1000 - 1000) == expected(milliseconds: milliseconds - 1))
      }
    }
  }

  private static let known: [(Int64, String)] = [
    (0, "1970-01-01T00:00:00.000Z"), (1_795_170_600_123_000, "2026-11-20T10:30:00.123Z"),
    (-1000, "1969-12-31T23:59:59.999Z"),
    (951_782_400_000_000, "2000-02-29T00:00:00.000Z"), (millisecondsOfYear1 * 1000, "0001-01-01T00:00:00.000Z"),
    (endOfYear9999 * 1000, "9999-12-31T23:59:59.999Z"), ((1 << 53) - 1, "2255-06-05T23:47:34.740Z"),
  ]

  @Test(arguments: known)
  func `known instants`(microseconds: Int64, text: String) {
    #expect(Timestamp.text(microseconds: microseconds) == text)
  }

  // Division cuts towards zero, so before 1970 the fractions of a millisecond were rounded up, after it down.
  @Test(arguments: [
    (Int64(1999), "1970-01-01T00:00:00.001Z"), (-1, "1969-12-31T23:59:59.999Z"), (-1001, "1969-12-31T23:59:59.998Z"),
  ])
  func `fractions of a millisecond are cut, on both sides of 1970`(microseconds: Int64, text: String) {
    #expect(Timestamp.text(microseconds: microseconds) == text)
  }

  @Test(arguments: [Int64.min, .min + 1, -1 << 60, 1 << 60, .max])
  func `any integer at all has the form of a timestamp`(microseconds: Int64) throws {
    let text = Timestamp.text(microseconds: microseconds)
    #expect(
      try #/[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z/#.wholeMatch(in: text) != nil)
  }

  @Test func `it is written behind what is there`() {
    var bytes = Array("at ".utf8)
    Timestamp.write(microseconds: 0, into: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self) == "at 1970-01-01T00:00:00.000Z")
  }
}
