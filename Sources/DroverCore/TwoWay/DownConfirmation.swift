/// What a machine has received of what goes down. Only this lets the cloud forget deletes and stop sending.
package struct DownConfirmation: Equatable, Sendable {
  /// Names the numbering of the cloud's store.
  package var epoch: Epoch
  package var streams: [StreamName: IntervalSet]

  package init(epoch: Epoch, streams: [StreamName: IntervalSet] = [:]) {
    self.epoch = epoch
    self.streams = streams
  }
}
