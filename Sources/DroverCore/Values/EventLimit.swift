/// The most of something, as events and as bytes; whichever is reached first holds.
package struct EventLimit: Equatable, Sendable {
  package var events: Int
  package var bytes: Int

  package init(events: Int, bytes: Int) {
    self.events = events
    self.bytes = bytes
  }
}
