// The seam through which the HTTP server puts events into the outbox. DroverSQLite implements it.

package protocol EventIntake: Sendable {
  /// Puts events of a stream without a table into the outbox, all or none, and durable on return. An event that is in the outbox already, under its local ID
  /// and with the same body, is not entered again: so a request may be repeated. The outbox knows events until they are confirmed, and for as long after that as
  /// it retains them.
  func take(_ events: [IntakeEvent], into stream: StreamName) throws -> IntakeAnswer
}

package struct IntakeEvent: Equatable, Sendable {
  package var localID: String
  /// JSON text.
  package var body: [UInt8]

  package init(localID: String, body: [UInt8]) {
    self.localID = localID
    self.body = body
  }
}

package enum IntakeAnswer: Equatable, Sendable {
  case taken
  /// None is taken, because of the one at this index.
  case refused(index: Int, IntakeRefusal)
}

package enum IntakeRefusal: Equatable, Sendable {
  /// A fact of this ID is there with another body, and facts do not change.
  case conflict
  /// The outbox, or the disk, is full; the text says which and what to do.
  case noSpace(String)
  /// The event cannot be one; the text says why.
  case invalid(String)
}
