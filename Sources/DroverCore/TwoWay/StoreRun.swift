// How both sides notice that the cloud's store was restored. A store that was restored gives the numbers that it has lost a second time, to other rows.
// So each opening of the store begins a run, and a frame names the run that was the newest when it was read. docs/decisions/0060 has the reasons.

/// The numbers of one stream since one opening of the store.
package struct StoreRun: Hashable, Sendable {
  /// Drawn by chance at each opening, above 0.
  package var number: Int64
  /// The first number that was given in it.
  package var first: Int64

  package init(number: Int64, first: Int64) {
    self.number = number
    self.first = first
  }

  package static func random() -> Int64 { .random(in: 1...Bounds.run.upperBound) }

  /// How many runs of a stream the store keeps. Numbers below the oldest of them cannot be judged.
  package static let most = 100

  // MARK: In the cloud

  /// Whether a machine knows a future that the store has lost.
  /// - Parameters:
  ///   - highest: the highest number that the machine has received.
  ///   - number: the newest run that the machine has heard of; 0 for none, or an agent that says none.
  ///   - runs: those that the store keeps, the oldest first.
  ///   - last: the highest number that the store has given.
  package static func storeWentBack(received highest: Int64, in number: Int64, runs: [StoreRun], last: Int64) -> Bool {
    guard highest <= last else { return true }
    guard number != 0, let oldest = runs.first, highest >= oldest.first else { return false }
    guard let index = runs.firstIndex(where: { $0.number == number }) else { return true }
    return index + 1 < runs.count && highest >= runs[index + 1].first
  }

  // MARK: At the edge

  /// Whether this run, the newest when a frame was read, gives numbers again that were received from another run. The frame is overtaken, or the store
  /// was restored; the cloud knows which.
  /// - Parameters:
  ///   - known: the newest run that was heard of; 0 for none.
  ///   - highest: the highest number that was received.
  package func repeatsNumbers(known: Int64, highest: Int64) -> Bool {
    known != 0 && number != known && first <= highest
  }
}
