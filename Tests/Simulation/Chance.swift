// Randomness that repeats. Every step draws from numbers of its own, and every fault in it from its own again: so a run in which a
// step is left out or a fault is switched off is otherwise the same run, and a violation can be made small.

/// SplitMix64 (Steele, Lea, Flood 2014).
package struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  package init(_ parts: UInt64...) {
    state = 0x1234_5678
    for part in parts { state = Self.mixed(state &+ part &* 0x9E37_79B9_7F4A_7C15) }
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Self.mixed(state)
  }

  private static func mixed(_ state: UInt64) -> UInt64 {
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  /// True in so many of a hundred cases.
  mutating func percent(_ share: Int) -> Bool { Int.random(in: 0..<100, using: &self) < share }

  mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}

/// What a step is made of, and whether a fault happens in it.
final class Chance {
  private let seed: UInt64
  private let faults: Faults
  private var generators: [Seeded]
  /// What the step does.
  var random: Seeded
  /// No fault happens any more.
  var isCalm = false
  /// How often each fault has happened.
  private(set) var counts: [Int]

  init(seed: UInt64, faults: Faults) {
    self.seed = seed
    self.faults = faults
    random = Seeded(seed)
    generators = Fault.allCases.map { _ in Seeded(seed) }
    counts = Fault.allCases.map { _ in 0 }
    begin(step: 0)
  }

  func begin(step: Int) {
    random = Seeded(seed, UInt64(step), 1)
    for index in generators.indices { generators[index] = Seeded(seed, UInt64(step), UInt64(index) + 2) }
  }

  func happens(_ fault: Fault) -> Bool {
    let rate = faults[fault]
    guard !isCalm, rate > 0 else { return false }
    guard Int.random(in: 0..<1000, using: &generators[fault.rawValue]) < rate else { return false }
    counts[fault.rawValue] += 1
    return true
  }

  /// A number that belongs to a fault, such as a place to reorder to.
  func below(_ bound: Int, for fault: Fault) -> Int { generators[fault.rawValue].below(bound) }
}
