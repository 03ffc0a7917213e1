// One connection as it is served, from its opening on: what was read is handed over, and only then acknowledged. The owner of the
// connection decides when to wait, for one session or for many.

import DroverCore

/// What is known of the present connection.
struct ServedConnection {
  let connection: MosquittoConnection
  private(set) var isOpen = false
  /// A batch was taken or a publication answered.
  private(set) var wasOfUse = false
  /// The last read stopped at the batch's limits, not because the socket was empty.
  private(set) var mayHaveMore = false
  /// Outlives the connection, which a slow handler may have cost.
  private(set) var pace: BatchPace

  init(connection: MosquittoConnection, pace: BatchPace) {
    self.connection = connection
    self.pace = pace
  }

  /// Reads one batch, hands it over, and acknowledges it.
  /// - Parameter opened: called once, when the broker has taken the connection, before the handler hears of it.
  mutating func serve(_ handler: any SessionHandler, opened: (SessionInfo) -> Void) throws(SessionEnd) {
    // What was read before a connection's end is as true as before: hand it over first.
    connection.batchMessages = pace.messages
    let read = Result { () throws(SessionEnd) in try connection.read() }
    if !isOpen, let info = try connection.opening() {
      isOpen = true
      opened(info)
      handler.sessionOpened(info, publisher: connection)
    }
    if isOpen {
      try connection.checkSubscriptions()
      try handOver(to: handler)
    }
    mayHaveMore = try read.get()
    try connection.write()
  }

  private mutating func handOver(to handler: any SessionHandler) throws(SessionEnd) {
    for (token, reason) in connection.takeAcknowledgements() {
      handler.acknowledged(token, reason: reason)
      wasOfUse = true
    }
    let messages = connection.inbox.takeMessages()
    guard !messages.isEmpty else { return }
    let begin = ContinuousClock.now
    defer { pace.handed(messages.count, took: begin.duration(to: .now)) }
    do {
      try handler.received(messages)
    } catch {
      throw .handlerRefused("\(error)")
    }
    wasOfUse = true
  }
}
