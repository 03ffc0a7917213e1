// The change feed is switched on and off while no transaction writes: every transaction of a store has read `drover_feed` before anything else, and a lock
// on that table waits for all of them and keeps the next ones out.

package import DroverCore

extension PostgreSQLCloudStore: FeedStore {
  package func keepFeed(_ isWanted: Bool) throws -> FeedChange {
    guard try running({ $0.keepsFeed }) != isWanted else { return .none }
    return try running(after: Transaction.havingToOneself) { transaction in
      guard transaction.keepsFeed != isWanted else { return .none }
      let connection = transaction.connection
      let change = try connection.patiently {
        try isWanted ? FeedChange.began(rows: transaction.switchFeedOn()) : transaction.switchFeedOff()
      }
      try transaction.reshaped()
      return change
    }
  }
}

extension Transaction {
  /// Begins a new era, in which all rows that are there have a number.
  /// - Returns: how many rows there are.
  fileprivate func switchFeedOn() throws -> Int64 {
    try connection.query("DELETE FROM drover_feed_stream")
    try connection.query("INSERT INTO drover_feed (id, era) VALUES (0, $1)", [.text(ChangeFeed.newEra())])
    var rows: Int64 = 0
    for stream in try NotedSink.all(connection).map(\.stream) {
      let table = try SinkTable.read(stream, in: store.place, connection)!
      try FeedTable.make(for: table, connection)
      try feed.open(table.feed)
      try markWriter(of: table)
      let count = try connection.query(
        "UPDATE \(table.qualified) SET \(TableShape.changeColumn) = \(ChangeFeed.next)", isKept: false
      ).changed
      feed.count(table.feed, puts: count)
      rows += Int64(count)
    }
    return rows
  }

  fileprivate func switchFeedOff() throws -> FeedChange {
    for table in try feedTables() { try table.drop(connection) }
    try connection.query("DELETE FROM drover_feed")
    return .ended
  }

  /// Those of the sink tables that are there, where there is a feed.
  func feedTables() throws -> [FeedTable] {
    try NotedSink.all(connection).map { FeedTable(stream: $0.name.text, table: $0.table, in: store.place) }
  }
}
