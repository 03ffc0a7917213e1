// What the benchmark found, for a person and as JSON. Only ratios and figures of one run may be compared: machines differ, and so do hours.

import Foundation

package struct BenchReport: Codable, Sendable {
  package struct Usage: Codable, Sendable {
    /// In seconds, while the backlog drained.
    package var cpu: Double
    /// The most memory until then, in bytes.
    package var memory: Int
    /// In percent of one core, while nothing happened.
    package var idle: Double?
  }

  package struct Latency: Codable, Sendable {
    package var rate: Int
    package var whileDraining: Bool
    package var count: Int
    /// Milliseconds from the commit at the edge to the commit in the cloud.
    package var p50, p99, p999: Double

    init(rate: Int, whileDraining: Bool, sorted: [Double]) {
      self.rate = rate
      self.whileDraining = whileDraining
      count = sorted.count
      (p50, p99, p999) = (quantile(0.5, of: sorted), quantile(0.99, of: sorted), quantile(0.999, of: sorted))
    }
  }

  package var events: Int
  package var store: String
  /// Seconds from the agent's start until the cloud had confirmed all.
  package var drainSeconds: Double
  package var eventsPerSecond: Double { Double(events) / drainSeconds }
  /// Rows a second of the bare loop of upserts.
  package var yardstickPerSecond: Double
  package var ratio: Double { eventsPerSecond / yardstickPerSecond }
  /// Seconds from the agent's start until the first event was in the cloud.
  package var firstEventSeconds: Double
  package var brokerBytesPerEvent: Double
  /// Of a row as a plain JSON object.
  package var plainBytesPerEvent: Double
  package var agent, broker: Usage
  package var consumers: [Usage]
  package var capture: CaptureCost
  package var latencies: [Latency] = []

  package var text: String {
    var lines = [
      "drain        \(events) events confirmed in \(number(drainSeconds, 2)) s: \(Int(eventsPerSecond)) events/s, \(number(ratio, 2)) of the bare upserts (\(Int(yardstickPerSecond)) rows/s)",
      "first event  in the cloud \(number(firstEventSeconds, 2)) s after the agent's start, with all waiting",
      "wire         \(number(brokerBytesPerEvent, 1)) bytes an event to the broker, acknowledgements and confirmations included: \(number(brokerBytesPerEvent / plainBytesPerEvent, 2)) of the row's plain JSON",
    ]
    let each = consumers.enumerated().map { index, usage in
      (consumers.count == 1 ? "consumer" : "consumer \(index + 1)", usage)
    }
    for (name, usage) in [("agent", agent)] + each + [("broker", broker)] {
      lines.append(
        name.padding(toLength: 13, withPad: " ", startingAt: 0)
          + "\(number(usage.cpu, 2)) s of CPU, \(number(Double(usage.memory) / 1e6, 1)) MB at most"
          + (usage.idle.map { ", \(number($0, 2)) % of a core when idle" } ?? ""))
    }
    lines.append(
      "capture      a commit of one row takes the app \(number(capture.durable, 2)) times as long with synchronous = FULL, \(number(capture.single, 2)) times with NORMAL; a row among 1,000 \(number(capture.bulk, 2)) times"
    )
    for latency in latencies {
      lines.append(
        "live         \(latency.rate) events/s \(latency.whileDraining ? "while a backlog drains" : "alone"): p50 \(number(latency.p50, 2)) ms, p99 \(number(latency.p99, 2)) ms, p99.9 \(number(latency.p999, 2)) ms"
      )
    }
    return lines.joined(separator: "\n")
  }

  /// The computed figures stand in the JSON too.
  package var json: String {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
      encoder.keyEncodingStrategy = .convertToSnakeCase
      struct Whole: Encodable {
        var report: BenchReport
        func encode(to encoder: any Encoder) throws {
          try report.encode(to: encoder)
          var container = encoder.container(keyedBy: Key.self)
          try container.encode(report.eventsPerSecond, forKey: .eventsPerSecond)
          try container.encode(report.ratio, forKey: .ratio)
        }
        enum Key: String, CodingKey { case eventsPerSecond, ratio }
      }
      return String(decoding: try encoder.encode(Whole(report: self)), as: UTF8.self)
    }
  }
}

/// The value below which a share of sorted values lies; there has to be one.
func quantile(_ share: Double, of sorted: [Double]) -> Double {
  sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
}

func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
