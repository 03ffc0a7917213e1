// What a run of a fleet found, for a person and as JSON.

import Foundation

package struct FleetReport: Codable, Sendable {
  package struct Usage: Codable, Sendable {
    /// Of CPU for each event, while events were made and confirmed.
    package var microsecondsPerEvent: Double
    /// The same for each machine, while all machines came for the first time.
    package var microsecondsPerArrival: Double
    /// The most memory until the end, in bytes.
    package var memory: Int
  }

  package var machines: Int
  /// Events a second of each machine; nil where each had a backlog.
  package var rate: Double?
  /// Seconds until each machine's first event was confirmed, from the first connection on.
  package var arrivalSeconds: Double
  package var made: Int
  package var confirmed: Int
  /// Seconds from the first event to the last confirmation.
  package var seconds: Double
  package var eventsPerSecond: Double
  /// Milliseconds from the making of an event to its confirmation.
  package var p50, p99: Double
  package var consumer, broker: Usage
  /// Of this process, for each machine that it simulates: CPU for an event, and bytes.
  package var fleetMicrosecondsPerEvent: Double
  package var fleetBytesPerMachine: Int
  /// To and from the broker, for each event.
  package var bytesPerEvent, messagesPerEvent: Double
  package var rowsLost, rowsDoubled: Int

  package var text: String {
    let what = rate.map { "\(number($0, 3)) events/s each" } ?? "a backlog each"
    return """
      fleet        \(machines) machines, \(what); all were heard \(number(arrivalSeconds, 1)) s after the first connection
      events       \(made) made, \(confirmed) confirmed in \(number(seconds, 2)) s: \(Int(eventsPerSecond)) events/s
      latency      to the confirmation: p50 \(number(p50, 2)) ms, p99 \(number(p99, 2)) ms
      consumer     \(line(consumer))
      broker       \(line(broker))
      fleet        \(number(fleetMicrosecondsPerEvent, 1)) µs of CPU an event, \(fleetBytesPerMachine) bytes a machine
      wire         \(number(bytesPerEvent, 1)) bytes and \(number(messagesPerEvent, 2)) MQTT packets an event, to and from the broker
      cloud        \(rowsLost) rows lost, \(rowsDoubled) rows doubled
      """
  }

  private func line(_ usage: Usage) -> String {
    "\(number(usage.microsecondsPerEvent, 1)) µs of CPU an event, \(number(usage.microsecondsPerArrival, 0)) µs for a machine's arrival, \(number(Double(usage.memory) / 1e6, 1)) MB at most"
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
