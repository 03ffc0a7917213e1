import DroverCore
import DroverWire
import Testing

/// What the status of the cloud says about a machine.
@Suite struct ReportDocumentTests {
  private static let now: Int64 = 1_795_000_000_000_000

  // A machine that had been away for a month was shown with figures of this moment.
  @Test(arguments: [true, false])
  func `the figures of an outbox are as old as the machine's last look at it, not as its last message`(isOnline: Bool) {
    let standing = OutboxFigures(waiting: 3, oldest: Self.now - 90_000_000, deadLetters: 0, freeBytes: nil)
    let machine = CloudReport.Machine(
      name: "M", isOnline: isOnline, lastHeard: Self.now - 1_000_000, clockOffset: nil,
      outbox: .init(figures: standing, at: Self.now - 60_000_000), streams: [], deadLetters: 0)
    let text = machine.document(now: Self.now).text()
    #expect(text.contains(#""last_heard_seconds":1"#))
    #expect(text.contains(#""told_seconds":60"#), "\(text)")
    // While the machine is offline nothing is confirmed.
    #expect(text.contains(#""oldest_unconfirmed_seconds":\#(isOnline ? 30 : 90)"#), "\(text)")
  }
}
