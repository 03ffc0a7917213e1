// What waits for the webhook.

import DroverCore
import Testing

@Suite struct AlertQueueTests {
  private func changes(_ numbers: Range<Int>) -> [AlertChange] {
    numbers.map { number in
      let alert = Alert(
        rule: .disk, subject: AlertSubject(machine: "M\(number)"), since: Int64(number), value: 1, text: "")
      return AlertChange(.firing, alert, at: Int64(number))
    }
  }

  @Test func `it goes out in order, in batches, and once it is taken`() {
    var queue = AlertQueue()
    queue.add(changes(0..<150))
    var posted: [AlertChange] = []
    queue.failed()
    #expect(queue.attempts == 1 && queue.next.changes.count == 100)
    while !queue.next.changes.isEmpty {
      let batch = queue.next
      posted += batch.changes
      queue.delivered(batch)
    }
    #expect(posted == changes(0..<150))
    #expect(queue.attempts == 0)
    #expect(queue.posting.delivered == 150 && queue.posting.failures == 1 && queue.posting.waiting == 0)
  }

  @Test func `beyond the bound the oldest are dropped and counted, also those that are being posted`() {
    var queue = AlertQueue()
    queue.add(changes(0..<AlertQueue.capacity))
    let batch = queue.next
    queue.add(changes(1000..<1060))
    #expect(queue.posting.dropped == 60 && queue.posting.waiting == AlertQueue.capacity)
    queue.delivered(batch)
    // Sixty of the batch had made room already.
    #expect(queue.waiting == changes(100..<1060))
  }

  @Test func `what the process before could not post comes first`() {
    var queue = AlertQueue()
    queue.add(changes(0..<2))
    queue.add(changes(2..<3))
    #expect(queue.next.changes == changes(0..<3))
  }
}
