import DroverCore
import DroverSQLite
import Testing

/// What the cloud has received, held against an outbox that may have been put back.
@Suite struct EpochTests {
  private func received(_ set: IntervalSet, version: Int64) -> [Int: Received] {
    [1: Received(set: set, version: version)]
  }

  /// An outbox with events 1 to 4, and their versions.
  private func outbox() throws -> (app: AppDatabase, edge: EdgeDatabase, versions: [Int64]) {
    let app = try AppDatabase("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    let edge = try app.attach(.table("t"))
    try app.run("INSERT INTO t VALUES (1), (2), (3), (4)")
    return (app, edge, try edge.everything().entries.map(\.version))
  }

  @Test func `an outbox that went on agrees with the cloud, whatever has arrived of it, in whatever order`() throws {
    let (app, edge, versions) = try outbox()
    defer { withExtendedLifetime(app) {} }
    #expect(try !edge.contradicts([:]))
    #expect(try !edge.contradicts(received([], version: 0)))
    for last in 1...4 {
      #expect(try !edge.contradicts(received([1...Int64(last)], version: versions[last - 1])))
      #expect(try !edge.contradicts(received([Int64(last)...Int64(last)], version: versions[last - 1])))
    }
    try edge.confirmAll()
    #expect(try !edge.contradicts(received([1...4], version: versions[3])))
  }

  @Test func `numbers that were never given, and numbers with higher versions, are another future's`() throws {
    let (app, edge, versions) = try outbox()
    defer { withExtendedLifetime(app) {} }
    #expect(try edge.contradicts(received([1...5], version: versions[3])))
    #expect(try edge.contradicts(received([1...4], version: versions[3] - 1)))
  }

  // A copy was put back while frames were under way, and the machine's clock stood at 1970: the new events under the received numbers
  // had lower versions than the ones that had been received, and were taken for them.
  @Test func `versions that were never given are another future's too`() throws {
    let (app, edge, versions) = try outbox()
    defer { withExtendedLifetime(app) {} }
    #expect(try edge.contradicts(received([1...2], version: versions[3] + 1)))
    #expect(try edge.contradicts(received([1...2], version: versions[2])), "event 3 stands behind the last received")
    try edge.confirmAll()
    #expect(try edge.contradicts(received([1...4], version: versions[3] + 1)))
  }
}
