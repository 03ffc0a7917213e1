/// The fleet as one look into the store found it.
package struct FleetSnapshot: Sendable {
  /// When it was looked at, microseconds since 1970.
  package var at: Int64
  /// Rows are not counted in it; nil where there is no store yet.
  package var report: CloudReport?
  package var waiting: [WaitingSchema]
  package var blocked: [BlockedSink]
  /// The process that holds a lock on the whole store.
  package var lock: StoreLock?
  /// False while the lock keeps the store from being read, so that nothing is known of machines and streams.
  package var isRead = true
  package var worker: Worker
  package var history: FleetHistory
  /// What the store's filesystem has left, in bytes; nil if it is not known.
  package var storeFreeBytes: Int64?
  /// The consumer's commits that have failed since one succeeded.
  package var failedCommits: Int
  /// In the order of the configuration.
  package var worklists: [WorklistHealth] = []
  /// nil where there are no rules.
  package var alerts: AlertFigures?

  package init(
    at: Int64, report: CloudReport?, waiting: [WaitingSchema], blocked: [BlockedSink] = [], lock: StoreLock? = nil,
    worker: Worker, history: FleetHistory,
    storeFreeBytes: Int64? = nil, failedCommits: Int = 0, alerts: AlertFigures? = nil
  ) {
    self.storeFreeBytes = storeFreeBytes
    self.failedCommits = failedCommits
    self.alerts = alerts
    self.at = at
    self.report = report
    self.waiting = waiting
    self.blocked = blocked
    self.lock = lock
    self.worker = worker
    self.history = history
  }
}

/// A worklist at one look: its orders, and how its endpoints do in this consumer.
package struct WorklistHealth: Equatable, Sendable {
  package var name: WorklistName
  /// nil where it could not be read.
  package var summary: WorklistSummary?
  package var endpoints: [EndpointStanding]

  package init(name: WorklistName, summary: WorklistSummary? = nil, endpoints: [EndpointStanding] = []) {
    self.name = name
    self.summary = summary
    self.endpoints = endpoints
  }
}
