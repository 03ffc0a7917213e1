// The gauge of the outbox's room: it warns before a limit, closes at it, and does not flap.

import DroverCore
import Testing

@Suite struct OutboxGaugeTests {
  private let quota = OutboxQuota(maxBytes: 1000, minFreeBytes: 100, minFreeInodes: 10)

  private func levels(_ used: [Int64]) -> [OutboxGauge.Level] {
    var gauge = OutboxGauge()
    return used.map { used in
      _ = gauge.read(OutboxSpace(used: used), of: quota)
      return gauge.level(.maxBytes)
    }
  }

  @Test func `it warns at four fifths, closes at the limit, and opens below nine tenths`() {
    #expect(
      levels([0, 799, 800, 999, 1000, 1500, 900, 899, 700, 699])
        == [.ample, .ample, .scarce, .scarce, .exhausted, .exhausted, .exhausted, .scarce, .scarce, .ample])
  }

  @Test func `a measure that trembles about a limit changes a level once`() {
    var gauge = OutboxGauge()
    let changes = [999, 1000, 999, 1000, 950, 1000, 801, 799, 801, 799].map { used in
      gauge.read(OutboxSpace(used: used), of: quota)
    }
    #expect(changes.map(\.count) == [1, 1, 0, 0, 0, 0, 1, 0, 0, 0])
  }

  @Test func `free bytes and inodes count downwards`() {
    var gauge = OutboxGauge()
    #expect(gauge.read(OutboxSpace(used: 0, freeBytes: 126, freeInodes: 13), of: quota) == [])
    #expect(gauge.read(OutboxSpace(used: 0, freeBytes: 125, freeInodes: 13), of: quota) == [.minFreeBytes])
    #expect(gauge.read(OutboxSpace(used: 0, freeBytes: 100, freeInodes: 10), of: quota).count == 2)
    #expect(gauge.exhausted == [.minFreeBytes, .minFreeInodes])
    #expect(gauge.read(OutboxSpace(used: 0, freeBytes: 112, freeInodes: 12), of: quota).count == 2)
    #expect(gauge.exhausted == [])
    #expect(gauge.read(OutboxSpace(used: 0, freeBytes: 0, freeInodes: 0), of: quota).count == 2)
  }

  @Test func `without a limit, or without a measure, nothing is ever scarce`() {
    var gauge = OutboxGauge()
    #expect(gauge.read(OutboxSpace(used: .max, freeBytes: 0, freeInodes: 0), of: OutboxQuota()) == [])
    #expect(gauge.read(OutboxSpace(used: 0), of: quota) == [])
  }

  @Test func `what somebody found reached before stays so until there is room`() {
    var gauge = OutboxGauge()
    #expect(gauge.read(OutboxSpace(used: 950), of: quota, reached: [.maxBytes]) == [.maxBytes])
    #expect(gauge.exhausted == [.maxBytes])
    #expect(gauge.read(OutboxSpace(used: 899), of: quota, reached: [.maxBytes]) == [.maxBytes])
    #expect(gauge.exhausted == [])
  }

  @Test func `sizes read as a person writes them`() {
    #expect(
      [0, 1023, 1024, 1536, 65_536, 1 << 20, 1_288_490_189, 5 << 40].map(byteText)
        == ["0 B", "1023 B", "1 KiB", "1.5 KiB", "64 KiB", "1 MiB", "1.2 GiB", "5 TiB"])
  }
}
