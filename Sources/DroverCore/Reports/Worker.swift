/// The process that works on a database, as others see it: by the lock that it holds, and by its jobs' heartbeats.
package struct Worker: Equatable, Sendable {
  package struct StuckJob: Equatable, Sendable {
    package var name: String
    package var silence: Duration

    package init(name: String, silence: Duration) {
      self.name = name
      self.silence = silence
    }
  }

  /// nil when nobody is at work.
  package var process: Int32?
  /// Jobs that no longer move.
  package var stuck: [StuckJob]

  package init(process: Int32?, stuck: [StuckJob] = []) {
    self.process = process
    self.stuck = stuck
  }

  package var isMoving: Bool { process != nil && stuck.isEmpty }
}
