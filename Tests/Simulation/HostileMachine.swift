// A machine that sends whatever it likes below its own name: garbage, ever new epochs, gaps, deletes, descriptions of its own streams, letters. Nothing
// of it may change what becomes of the others, and what it leaves in the store has a bound.

import DroverCore
import DroverWire

struct HostileMachine {
  static let id = "EVIL"

  /// What one machine may use: so little that a run reaches it, and honest machines reach it too at times; they are slowed and lose nothing.
  static let limits: MachineLimits = {
    var limits = MachineLimits()
    limits.messagesPerSecond = 50
    limits.deadLettersPerMinute = 120
    limits.longIDsPerMinute = 10
    limits.epochsPerHour = 30
    limits.epochsKept = 40
    limits.schemaChangesPerMinute = 10
    limits.schemasPerStream = 5
    limits.streams = 10
    limits.openIntervals = 30
    limits.tombstones = 48
    return limits
  }()

  private var random: Seeded
  private var sent = 0

  init(seed: UInt64) { random = Seeded(seed, 0xe711) }

  /// Nothing in most steps, and a flood now and then.
  mutating func messages() -> [OutboundMessage] {
    guard random.percent(30) else { return [] }
    let kind = random.below(10)
    return (0..<(random.percent(20) ? 60 : 1 + random.below(5))).map { _ in
      sent += 1
      return message(kind)
    }
  }

  private mutating func message(_ kind: Int) -> OutboundMessage {
    switch kind {
    case 0: return say("payload/evil", (0..<random.below(40)).map { _ in UInt8(random.below(256)) })
    case 1: return say("nothing/\(sent)", "x")
    case 2: return say("payload/evil", frame(epoch: String(sent, radix: 16), after: 0, ""))
    case 3: return say("payload/evil", frame(epoch: "e", after: Int64(random.below(5000)) * 2 + 1, ""))
    case 4:
      return say(
        "payload/evil", frame(epoch: "e", after: Int64(sent), "{\"seq\":\(sent + 1),\"id\":\"x\",\"odd\":\(sent)}"))
    case 5: return say("snapshot/evil_rows", "{\"id\":\"\(sent)\",\"op\":\"delete\"}")
    case 6:
      return say("snapshot/evil_rows", "{\"id\":\"\(String(repeating: "k", count: 3000))\(sent)\",\"op\":\"delete\"}")
    case 7: return say("snapshot/evil_\(sent)", "{\"id\":\"1\",\"body\":\(sent)}")
    case 8:
      let columns = [
        Column(name: "id", declaredType: "INTEGER"), Column(name: "c\(random.below(9))", declaredType: "TEXT"),
      ]
      let schema = try! StreamSchema(kind: .snapshot, columns: columns, key: [0])
      return say("schema/evil_table", schema.document)
    default: return say("status", "{\"v\":1,\"online\":true,\"epoch\":\"\(String(sent, radix: 16))\",\"ask\":\(sent)}")
    }
  }

  private func frame(epoch: String, after: Int64, _ event: String) -> String {
    "{\"v\":1,\"epoch\":\"\(epoch)\",\"after\":\(after),\"through\":\(after + 1),\"events\":[\(event)]}"
  }

  private func say(_ topic: String, _ text: String) -> OutboundMessage { say(topic, Array(text.utf8)) }

  private func say(_ topic: String, _ payload: [UInt8]) -> OutboundMessage {
    OutboundMessage(topic: "\(Topic.prefix)\(Self.id)/\(topic)", payload: payload)
  }

  /// The most rows that it may have in each of Drover's tables.
  static let bounds: [(table: String, rows: Int64)] = [
    ("drover_epoch", Int64(limits.epochsKept)),
    ("drover_received", Int64(limits.epochsKept + limits.openIntervals + limits.streams)),
    ("drover_schema", Int64(limits.schemasPerStream * limits.streams)),
    ("drover_tombstone", Int64(limits.tombstones * 17 / 16 + 1)), ("drover_progress", Int64(limits.streams + 1)),
    ("drover_over_budget", Int64(Budget.allCases.count)),
  ]
}
