/// What a machine has received of what goes down. Only this lets the cloud forget deletes and stop sending.
package struct DownConfirmation: Equatable, Sendable {
  /// Names the numbering of the cloud's store.
  package var epoch: Epoch
  package var streams: [StreamName: IntervalSet]
  /// Of each stream the newest run of the store (`StoreRun`) that the machine has heard of.
  package var runs: [StreamName: Int64]
  /// What of it the machine's tables refuse now.
  package var refused: RefusedRows

  package init(
    epoch: Epoch, streams: [StreamName: IntervalSet] = [:], runs: [StreamName: Int64] = [:],
    refused: RefusedRows = RefusedRows()
  ) {
    self.epoch = epoch
    self.streams = streams
    self.runs = runs
    self.refused = refused
  }
}
