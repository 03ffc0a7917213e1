// Runs of the agent: each start of it is one, and every frame names its own. A database may be restored together with everything that
// remembers it, while frames of the future that it lost are still on their way. What such a frame covers is another event's number, and only
// the run that sent it tells (docs/decisions/0015-runs-of-the-agent.md).

/// One run, and how far it has come.
package struct Run: Equatable, Sendable {
  /// Microseconds since 1970 when it began, and above every run before; 0 stands for all agents that knew of no runs.
  package var number: Int64
  /// The highest sequence number that its frames know of. At the edge: of all that it handed over to be published. In the cloud: of those
  /// that cover something.
  package var reached: Int64

  package init(number: Int64, reached: Int64) {
    self.number = number
    self.reached = reached
  }
}

/// The newest runs of one epoch of one machine, as the edge or the cloud knows them.
package struct Runs: Equatable, Sendable {
  /// How many are kept.
  package static let most = 16
  /// How many a confirmation tells of.
  package static let mostTold = 8
  /// What an edge knows when an epoch begins: no run was before.
  package static let beginning = Runs([Run(number: 0, reached: 0)])

  /// In the order of their numbers.
  package private(set) var list: [Run]

  package init(_ list: [Run] = []) {
    self.list = []
    for run in list { raise(run.number, to: run.reached) }
  }

  package var newest: Run? { list.last }

  /// The highest sequence number that any of them has reached.
  package var reached: Int64 { list.map(\.reached).max() ?? 0 }

  /// The newest, for a confirmation.
  package var told: Runs { Runs(list.suffix(Self.mostTold)) }

  /// Takes note of a run, and that it has reached a sequence number. Beyond `most` the oldest is forgotten.
  /// Numbers that cannot be true are none of a run.
  package mutating func raise(_ number: Int64, to reached: Int64) {
    guard Bounds.run.contains(number), Bounds.sequence.contains(reached) else { return }
    let index = list.firstIndex { $0.number >= number } ?? list.endIndex
    if index < list.endIndex, list[index].number == number {
      list[index].reached = max(list[index].reached, reached)
      return
    }
    list.insert(Run(number: number, reached: reached), at: index)
    if list.count > Self.most { list.removeFirst() }
  }

  /// Whether a later run than this one is known.
  package func isOver(_ number: Int64) -> Bool { newest.map { number < $0.number } ?? false }

  /// Whether the cloud has heard of something that this edge never did: a run that is not its own, or more of one than it ever published.
  /// What is older than all that it knows says nothing.
  package func contradicts(_ heard: Runs) -> Bool {
    heard.list.contains { run in
      if let own = list.first(where: { $0.number == run.number }) { return run.reached > own.reached }
      return list.first.map { run.number > $0.number } ?? false
    }
  }
}
