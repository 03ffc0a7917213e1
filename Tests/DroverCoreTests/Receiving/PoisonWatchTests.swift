// Which messages are processed how after the consumer has died.

import DroverCore
import Testing

@Suite struct PoisonWatchTests {
  private func message(_ digest: UInt64, again: Bool = true, retained: Bool = false) -> PoisonWatch.Message {
    PoisonWatch.Message(digest: digest, isDuplicate: again, isRetained: retained)
  }

  /// The watch of a consumer that dies with these in its hands, as the next one has it.
  private func died(_ watch: PoisonWatch, _ digests: [UInt64]) -> PoisonWatch {
    var watch = watch
    watch.take(digests)
    return PoisonWatch(note: watch.note)
  }

  @Test func `after an orderly end everything is processed as always`() {
    let watch = PoisonWatch(note: nil)
    #expect(!watch.isCareful && watch.pieces(of: [message(1), message(2)]) == [.free([0, 1])])
    #expect(PoisonWatch(note: watch.note).isCareful)
  }

  @Test
  func
    `after a death what was delivered before is processed alone, what is retained in pieces, and what is new as always`()
  {
    let watch = PoisonWatch(note: "working\n")
    let messages = [
      message(1), message(2, again: false), message(3, again: false, retained: true),
      message(4, again: false, retained: true), message(5),
    ]
    #expect(watch.pieces(of: messages) == [.noted([0]), .noted([2, 3]), .noted([4]), .free([1])])
    let many = (0..<150).map { message(UInt64($0), again: false, retained: true) }
    #expect(watch.pieces(of: many) == [.noted(Array(0..<64)), .noted(Array(64..<128)), .noted(Array(128..<150))])
  }

  @Test func `what was in hand at a death comes alone and last, and after two deaths alone it is poison`() {
    var watch = died(PoisonWatch(note: "working\n"), [7])
    #expect(watch.pieces(of: [message(7), message(8)]) == [.noted([1]), .noted([0])])
    watch = died(watch, [7])
    #expect(watch.pieces(of: [message(7), message(8)]) == [.noted([1]), .poison(0)])
    // Also where the broker calls it new.
    #expect(watch.pieces(of: [message(7, again: false)]) == [.poison(0)])
  }

  @Test func `a death with several in hand counts against none of them, and each comes alone from then on`() {
    let watch = died(died(PoisonWatch(note: "working\n"), [1, 2]), [1, 2])
    let messages = [1, 2].map { message($0, again: false, retained: true) }
    #expect(watch.pieces(of: messages) == [.noted([0]), .noted([1])])
  }

  @Test func `what was processed is innocent, whatever it was suspected of`() {
    var watch = died(PoisonWatch(note: "working\n"), [7])
    watch.take([7])
    watch.survived([7])
    watch = died(PoisonWatch(note: watch.note), [7])
    #expect(watch.pieces(of: [message(7)]) == [.noted([0])])
  }

  // A kill from outside hits what is in hand. Whatever is killed how often, as long as it is not the same message twice in a row.
  @Test func `kills from outside make no poison of messages that are taken in between`() {
    var watch = PoisonWatch(note: "working\n")
    for round in UInt64(0)..<1000 {
      watch = died(watch, [round % 50])
      for other in UInt64(0)..<50 where other != (round + 1) % 50 { watch.survived([other]) }
      #expect(!watch.pieces(of: (0..<50).map { message($0) }).contains { if case .poison = $0 { true } else { false } })
    }
  }

  @Test func `whatever stands in a note, the watch is one`() {
    for note in [
      "", "\n\n", "suspect", "suspect zz 1", "suspect 1 -5", "suspect 1 99999999999999999999", "hand", "hand zz 1 1",
      "x 1 2",
    ] {
      let watch = PoisonWatch(note: note)
      #expect(watch.isCareful && PoisonWatch(note: watch.note).isCareful)
      _ = watch.pieces(of: [message(1)])
    }
    let many = PoisonWatch(note: (0..<5000).map { "suspect \($0) 1\n" }.joined())
    #expect(many.suspects.count <= 256)
  }
}
