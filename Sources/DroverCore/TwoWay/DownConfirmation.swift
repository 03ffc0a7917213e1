/// What a machine has received of what goes down. Only this lets the cloud forget deletes and stop sending.
package struct DownConfirmation: Equatable, Sendable {
  /// Names the numbering of the cloud's store.
  package var epoch: Epoch
  package var streams: [StreamName: IntervalSet]
  /// What of it the machine's tables refuse now.
  package var refused: RefusedRows

  package init(epoch: Epoch, streams: [StreamName: IntervalSet] = [:], refused: RefusedRows = RefusedRows()) {
    self.epoch = epoch
    self.streams = streams
    self.refused = refused
  }
}
