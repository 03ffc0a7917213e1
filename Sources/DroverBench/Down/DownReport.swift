// What the benchmark of the way down found. Only figures of one run may be compared.

import Foundation

package struct DownReport: Codable, Sendable {
  /// Edits a second.
  static let rate = 100

  package struct Drain: Codable, Sendable {
    /// What else the machine's streams do while a table of events drains.
    package enum Streams: String, CaseIterable, Codable, Sendable {
      case onlyUp = "only_up"
      case besideDown = "beside_down"
      case both

      var text: String {
        switch self {
        case .onlyUp: "no stream goes down"
        case .besideDown: "another table goes down"
        case .both: "the table goes in both directions"
        }
      }
    }

    package var streams: Streams
    package var perSecond: Double
    /// CPU time of the consumer for an event.
    package var consumerMicroseconds: Double
  }

  package struct Latency: Codable, Sendable {
    package var count: Int
    /// Milliseconds from the commit in the cloud to the commit at the machine.
    package var p50, p99, p999: Double

    init(sorted: [Double]) {
      count = sorted.count
      (p50, p99, p999) = (quantile(0.5, of: sorted), quantile(0.99, of: sorted), quantile(0.999, of: sorted))
    }
  }

  package var rows: Int
  package var store: String
  package var drains: [Drain]
  /// Rows of reference data a second that reach a new machine.
  package var perSecond: Double
  /// As a share of the drain where no stream goes down.
  package var ratio: Double
  package var latency: Latency?

  init(rows: Int, store: String, drains: [Drain], perSecond: Double) {
    (self.rows, self.store, self.drains, self.perSecond) = (rows, store, drains, perSecond)
    ratio = perSecond / drains[0].perSecond
  }

  package var text: String {
    var lines = drains.map { drain in
      "drain        \(Int(drain.perSecond)) events/s and \(number(drain.consumerMicroseconds, 2)) µs of the consumer's CPU an event, where \(drain.streams.text)"
    }
    lines.append(
      "reference    \(rows) rows reach a new machine at \(Int(perSecond)) rows/s, \(number(ratio, 2)) of the first drain"
    )
    if let latency {
      lines.append(
        "edit         \(Self.rate) a second in the cloud, seen at the machine: p50 \(number(latency.p50, 2)) ms, p99 \(number(latency.p99, 2)) ms, p99.9 \(number(latency.p999, 2)) ms"
      )
    }
    return lines.joined(separator: "\n")
  }

  package var json: String {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
      encoder.keyEncodingStrategy = .convertToSnakeCase
      return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
  }
}
