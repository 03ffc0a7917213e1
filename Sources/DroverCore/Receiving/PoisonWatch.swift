// Which messages were being processed when the consumer died. The broker delivers such a message again at every start, so one that ends the process
// would stop all machines for good. After a death the consumer processes what was delivered before in small pieces, and notes in the store what it
// has in its hands before it looks at it. A message that was in its hands alone at two deaths is poison: it becomes a dead letter, unread.
//
// A kill from outside hits an innocent message now and then. Hence two deaths alone, and what was hit before is processed last:
// twice the same one in a row does not happen by chance. docs/decisions/0026 has the reasons and the figures.

package struct PoisonWatch: Equatable, Sendable {
  /// Messages that the broker keeps for subscribers come with every connection, thousands of them: they are processed in pieces of this many.
  package static let piece = 64
  /// Deaths alone in hand that make a message poison.
  package static let deaths = 2
  /// Suspects that are remembered.
  static let mostSuspects = 256
  /// How long nothing may be delivered again before the consumer is no longer careful.
  package static let calm = Duration.seconds(10)

  /// A message as the watch knows it.
  package struct Message: Equatable, Sendable {
    /// Of its topic and its bytes.
    package var digest: UInt64
    /// The broker has tried to deliver it before.
    package var isDuplicate: Bool
    package var isRetained: Bool

    package init(digest: UInt64, isDuplicate: Bool, isRetained: Bool) {
      self.digest = digest
      self.isDuplicate = isDuplicate
      self.isRetained = isRetained
    }
  }

  /// What is processed in one piece, by the messages' places.
  package enum Piece: Equatable, Sendable {
    /// As always.
    case free([Int])
    /// After a note of what is in hand.
    case noted([Int])
    /// Not at all: it becomes a dead letter.
    case poison(Int)
  }

  /// Whether the last consumer died, so that what was delivered before is processed with care.
  package private(set) var isCareful: Bool
  /// What was in hand at a death, and at how many deaths alone.
  package private(set) var suspects: [UInt64: Int] = [:]
  private var inHand: [UInt64] = []

  /// - Parameter note: what the last consumer left; nil when it ended in order, or when there was none.
  package init(note: String?) {
    isCareful = note != nil
    for line in note?.split(separator: "\n") ?? [] {
      let words = line.split(separator: " ")
      switch words.first {
      case "suspect" where words.count == 3:
        guard let digest = UInt64(words[1], radix: 16), let deaths = Int(words[2]) else { continue }
        suspects[digest] = min(max(0, deaths), Self.deaths)
      case "hand": inHand += words.dropFirst().compactMap { UInt64($0, radix: 16) }
      default: continue
      }
    }
    // These it had in hand when it died.
    for digest in inHand {
      suspects[digest, default: 0] += inHand.count == 1 ? 1 : 0
    }
    inHand = []
    while suspects.count > Self.mostSuspects, let least = suspects.min(by: { ($0.value, $0.key) < ($1.value, $1.key) })
    {
      suspects[least.key] = nil
    }
  }

  /// What the next consumer reads if this one dies now.
  package var note: String {
    let suspects = suspects.sorted { $0.key < $1.key }
      .map { "suspect \(String($0.key, radix: 16)) \($0.value)\n" }.joined()
    let hand = inHand.isEmpty ? "" : "hand \(inHand.map { String($0, radix: 16) }.joined(separator: " "))\n"
    return "working\n" + suspects + hand
  }

  /// Divides what has come: what was delivered before alone, what is retained in pieces, in their order; what was in hand at a death alone and after
  /// them; what is new last, as always.
  package func pieces(of messages: [Message]) -> [Piece] {
    guard isCareful else { return [.free(Array(messages.indices))] }
    var pieces: [Piece] = []
    var (retained, last, free): ([Int], [Int], [Int]) = ([], [], [])
    func endRetained() {
      if !retained.isEmpty { pieces.append(.noted(retained)) }
      retained = []
    }
    for (place, message) in messages.enumerated() {
      if suspects[message.digest] != nil {
        last.append(place)
      } else if message.isRetained {
        retained.append(place)
        if retained.count == Self.piece { endRetained() }
      } else if message.isDuplicate {
        endRetained()
        pieces.append(.noted([place]))
      } else {
        free.append(place)
      }
    }
    endRetained()
    // Those that were hit least come first.
    for place in last.sorted(by: { (suspects[messages[$0].digest]!, $0) < (suspects[messages[$1].digest]!, $1) }) {
      pieces.append(suspects[messages[place].digest]! >= Self.deaths ? .poison(place) : .noted([place]))
    }
    return free.isEmpty ? pieces : pieces + [.free(free)]
  }

  /// Whether any of them is a reason to stay careful.
  package func isConcerned(by messages: [Message]) -> Bool {
    isCareful && messages.contains { $0.isDuplicate || $0.isRetained || suspects[$0.digest] != nil }
  }

  /// Messages are about to be processed.
  package mutating func take(_ digests: [UInt64]) { inHand = digests }

  /// They were processed and the process lives.
  package mutating func survived(_ digests: [UInt64]) {
    inHand = []
    for digest in digests { suspects[digest] = nil }
  }

  /// Nothing that was delivered before comes any more.
  package mutating func calmDown() {
    isCareful = false
    suspects = [:]
  }
}
