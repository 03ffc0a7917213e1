// What waits for the webhook: in order, in batches, and bounded.

package struct AlertQueue: Sendable {
  /// With some hundred bytes each, a day of a very bad fleet. Beyond it the oldest goes: what is later says more of how things stand.
  package static let capacity = 1000
  /// A post of a hundred is some ten kilobytes.
  static let batch = 100

  package private(set) var waiting: [AlertChange] = []
  private var sums = AlertPosting()
  /// Posts that failed since one went well.
  package private(set) var attempts = 0
  /// The number of the first one that waits, counted from the beginning of all.
  private var first = 0

  package init() {}

  package mutating func add(_ changes: [AlertChange]) {
    waiting += changes
    trim()
  }

  /// What is to be posted now; empty when nothing waits.
  package var next: Batch {
    Batch(changes: Array(waiting.prefix(Self.batch)), end: first + min(Self.batch, waiting.count))
  }

  package struct Batch: Sendable {
    package let changes: [AlertChange]
    fileprivate let end: Int
  }

  package var posting: AlertPosting {
    var posting = sums
    posting.waiting = waiting.count
    return posting
  }

  package mutating func delivered(_ batch: Batch) {
    attempts = 0
    sums.delivered += batch.changes.count
    let gone = max(0, batch.end - first)
    waiting.removeFirst(gone)
    first += gone
  }

  /// Another consumer sends what waits from now on.
  package mutating func giveAway() {
    first += waiting.count
    waiting = []
  }

  package mutating func failed() {
    attempts += 1
    sums.failures += 1
  }

  private mutating func trim() {
    let surplus = max(0, waiting.count - Self.capacity)
    waiting.removeFirst(surplus)
    first += surplus
    sums.dropped += surplus
  }
}

/// What became of the messages for the webhook since the process began.
package struct AlertPosting: Equatable, Sendable {
  package var delivered = 0
  /// Dropped because the limit was reached.
  package var dropped = 0
  /// Posts that were refused or not answered.
  package var failures = 0
  package var waiting = 0

  package init() {}
}
