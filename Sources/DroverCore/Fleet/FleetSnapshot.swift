/// The fleet as one look into the store found it.
package struct FleetSnapshot: Sendable {
  /// When it was looked at, microseconds since 1970.
  package var at: Int64
  /// Rows are not counted in it; nil where there is no store yet.
  package var report: CloudReport?
  package var waiting: [WaitingSchema]
  package var worker: Worker
  package var history: FleetHistory

  package init(at: Int64, report: CloudReport?, waiting: [WaitingSchema], worker: Worker, history: FleetHistory) {
    self.at = at
    self.report = report
    self.waiting = waiting
    self.worker = worker
    self.history = history
  }
}
