// What the input of `drover emit` is: what `--format` says, else what the file's name ends with, else JSON where it begins like it. Nothing else
// is guessed: a line of a sensor's text may look like the header of a CSV, and would be lost as one. So would JSON in a file that is named as a CSV.

import ArgumentParser
import DroverCore
import DroverWire
import Foundation

enum InputFormat: String, ExpressibleByArgument, CaseIterable {
  case csv, json, text

  /// What a file's name says; nil where it says nothing.
  init?(ending file: String) {
    switch (file as NSString).pathExtension.lowercased() {
    case "csv": self = .csv
    case "json", "jsonl", "ndjson": self = .json
    default: return nil
    }
  }

  fileprivate var parser: any RecordParser {
    switch self {
    case .csv: CSVParser()
    case .json: JSONLineParser()
    case .text: TextLineParser()
    }
  }
}

/// The input does not say what it is, or its name says something else.
struct UnknownFormat: Error, CustomStringConvertible {
  private static let formats =
    "give --format csv (the first line has the names of the columns), --format json (one value a line) or --format text (each line is an event)"

  let description: String

  static let unsaid = UnknownFormat(
    description: "the input is not JSON objects, and nothing says what it is; \(formats)")
  static let misnamed = UnknownFormat(description: "the file is named as a CSV and begins as JSON does; \(formats)")
}

/// Hands the input to the parser of its format, once it is known; a byte order mark at the beginning belongs to no record.
struct FormattedInput {
  private static let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]

  private let format: InputFormat?
  /// Whether only the file's name says so.
  private let isByName: Bool
  /// The beginning, while it is not known what it is.
  private var held: [UInt8] = []
  private var parser: (any RecordParser)?

  /// - Parameters:
  ///   - format: what the person says; nil: the ending of the file's name decides, and without one what the input begins with.
  ///   - file: its name.
  init(_ format: InputFormat?, file: String) {
    self.format = format ?? InputFormat(ending: file)
    isByName = format == nil
  }

  /// - Throws: `UnknownFormat`, a `WireError` where a CSV has no header, or what `record` throws.
  mutating func take(_ bytes: ArraySlice<UInt8>, _ record: (Record) throws -> Void) throws {
    guard parser == nil else { return try parser!.take(bytes, record) }
    held += bytes
    try begin(isEnd: false, record)
  }

  mutating func finish(_ record: (Record) throws -> Void) throws {
    if parser == nil { try begin(isEnd: true, record) }
    try parser?.finish(record)
  }

  /// The line that a CSV's header was, where nothing followed it.
  var loneHeader: Int? { (parser as? CSVParser)?.loneHeader }

  private mutating func begin(isEnd: Bool, _ record: (Record) throws -> Void) throws {
    let mark = Self.byteOrderMark
    if !isEnd, held.count < mark.count, mark.starts(with: held) { return }
    let start = held.starts(with: mark) ? mark.count : 0
    guard let format = try isByName ? look(from: start, isEnd: isEnd) : format else { return }
    parser = format.parser
    let beginning = held[start...]
    held = []
    try parser!.take(beginning, record)
  }

  /// Nil while there is nothing but white space.
  private func look(from start: Int, isEnd: Bool) throws -> InputFormat? {
    let blanks = [UInt8](" \n\r\t".utf8)
    guard let first = held[start...].first(where: { !blanks.contains($0) }) else {
      // What has no line has no event, whatever it is.
      return isEnd || held.count > LineSplitter.maximumBytes ? format ?? .json : nil
    }
    let isJSON = first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
    if isJSON, format == .csv { throw UnknownFormat.misnamed }
    if let format { return format }
    guard isJSON else { throw UnknownFormat.unsaid }
    return .json
  }
}
