// Which rows the consumer sends down to which machine, and when it sends them again. A lane for each stream of each machine that is online: what the
// machine has confirmed, how far was sent, and how far there is something to send. It has no clock, no store and no network.

package struct DownLimits: Equatable, Sendable {
  /// Most frames of a lane without a confirmation.
  package var frames = 8
  /// Most rows, and about how many bytes of values, of one frame.
  package var rows = 500
  package var bytes = 256 << 10
  /// When a lane without progress is sent again: after the first time, doubling up to the second.
  package var retry = Backoff(base: .seconds(4), cap: .seconds(120))
  /// Most frames of one turn, so that messages are heard in between.
  package var framesPerTurn = 16

  package init() {}
}

package struct DownRelay: Sendable {
  package typealias Instant = ContinuousClock.Instant

  private struct Lane {
    var stream: DownStream
    /// Everything up to here was sent, since the machine came or since the last time it was sent again.
    var sent: Int64
    /// The ends of the frames that are on their way.
    var frames: [Int64] = []
    /// Without progress until then, it is sent again.
    var deadline: Instant?
    var attempts = 0

    var isComplete: Bool { stream.received.front >= stream.last }
  }

  private let limits: DownLimits
  private var lanes: [MachineStream: Lane] = [:]
  /// Lanes with something to send and room for it.
  private var ready: Set<MachineStream> = []
  private var waiting: Set<MachineStream> = []

  package init(limits: DownLimits = DownLimits()) { self.limits = limits }

  /// The machines with lanes.
  package var machines: Set<MachineID> { Set(lanes.keys.map(\.machine)) }

  /// In a list of its own: the lanes can change while it is walked, and are not copied for that.
  private func keys(of machine: MachineID) -> [MachineStream] { lanes.keys.filter { $0.machine == machine } }

  // MARK: What happens

  /// What the store knows of a machine's streams now. A lane that is there goes on.
  package mutating func loaded(_ streams: [DownStream], of machine: MachineID) {
    let names = Set(streams.map(\.stream))
    for key in keys(of: machine) where !names.contains(key.stream) { forget(key) }
    for stream in streams {
      let key = MachineStream(machine: machine, stream: stream.stream)
      if lanes[key] == nil {
        lanes[key] = Lane(stream: stream, sent: stream.received.front)
      } else {
        lanes[key]!.stream = stream
        lanes[key]!.sent = max(min(lanes[key]!.sent, stream.last), stream.received.front)
      }
      settle(key)
    }
  }

  /// Rows of an owner's stream have got numbers up to `last`. Streams that differ in case alone have one table.
  package mutating func raised(_ stream: MachineStream, to last: Int64) {
    let name = SQLName(stream.stream.text)
    let raised = lanes.filter { key, lane in
      (stream.machine == .all || stream.machine == key.machine) && lane.stream.last < last
        && lane.stream.owner == stream.machine && SQLName(key.stream.text) == name
    }
    for key in raised.keys {
      lanes[key]!.stream.last = last
      settle(key)
    }
  }

  /// The store has nothing for a lane after what was sent: its highest number is `last`. A number is given for nothing if what was done with it was
  /// taken back.
  package mutating func found(last: Int64, of stream: DownStream) {
    let key = MachineStream(machine: stream.machine, stream: stream.stream)
    guard lanes[key] != nil else { return }
    lanes[key]!.stream.last = last
    settle(key)
  }

  /// The machine is gone, or the connection: what is on its way may be lost.
  package mutating func left(_ machine: MachineID) {
    for key in keys(of: machine) { forget(key) }
  }

  package mutating func disconnected() { (lanes, ready, waiting) = ([:], [], []) }

  private mutating func forget(_ key: MachineStream) {
    lanes[key] = nil
    ready.remove(key)
    waiting.remove(key)
  }

  /// A machine has said what it has received.
  package mutating func confirmed(_ streams: [StreamName: IntervalSet], of machine: MachineID, now: Instant) {
    for key in keys(of: machine) {
      let received = streams[key.stream] ?? IntervalSet()
      let before = lanes[key]!.stream.received.front
      let hasProgress = received.front > before
      lanes[key]!.stream.received = received
      lanes[key]!.frames.removeAll { $0 <= received.front }
      if received.front < before {
        // The machine was restored, and lacks again what it had received.
        lanes[key]!.sent = received.front
        lanes[key]!.frames = []
        lanes[key]!.deadline = nil
      }
      lanes[key]!.sent = max(lanes[key]!.sent, received.front)
      if hasProgress || lanes[key]!.isComplete {
        lanes[key]!.attempts = 0
        lanes[key]!.deadline =
          lanes[key]!.frames.isEmpty ? nil : now.advanced(by: limits.retry.delay(attempt: 1, seed: 0))
      }
      settle(key)
    }
  }

  private mutating func settle(_ key: MachineStream) {
    let lane = lanes[key]!
    if lane.sent < lane.stream.last, lane.frames.count < limits.frames { ready.insert(key) } else { ready.remove(key) }
    if lane.deadline != nil { waiting.insert(key) } else { waiting.remove(key) }
  }

  // MARK: What to do

  package enum Step: Equatable, Sendable {
    /// Read and publish what comes after `after`.
    case send(DownStream, after: Int64)
    /// Nothing for so long; nil: until something happens.
    case wait(Duration?)
  }

  package mutating func next(now: Instant) -> Step {
    for key in waiting where lanes[key]!.deadline! <= now {
      // The machine may be there without its consumer's frames: a broker that was wiped, a frame that it could not take then.
      lanes[key]!.attempts += 1
      lanes[key]!.sent = lanes[key]!.stream.received.front
      lanes[key]!.frames = []
      lanes[key]!.deadline = nil
      settle(key)
    }
    if let key = ready.min() { return .send(lanes[key]!.stream, after: lanes[key]!.sent) }
    let first = waiting.compactMap { lanes[$0]!.deadline }.min()
    return .wait(first.map { max(.zero, now.duration(to: $0)) })
  }

  /// A frame of a lane up to `through` was handed to the connection.
  /// - Parameter last: the highest number of the stream when it was read.
  package mutating func published(_ stream: DownStream, through: Int64, last: Int64, now: Instant) {
    let key = MachineStream(machine: stream.machine, stream: stream.stream)
    guard lanes[key] != nil else { return }
    lanes[key]!.stream.last = max(lanes[key]!.stream.last, last)
    lanes[key]!.sent = through
    lanes[key]!.frames.append(through)
    if lanes[key]!.deadline == nil {
      let delay = limits.retry.delay(attempt: lanes[key]!.attempts + 1, seed: UInt64(bitPattern: through))
      lanes[key]!.deadline = now.advanced(by: delay)
    }
    settle(key)
  }

  /// A frame could not be handed to the connection: the lane waits for its retry.
  package mutating func failed(_ stream: DownStream, now: Instant) {
    let key = MachineStream(machine: stream.machine, stream: stream.stream)
    guard lanes[key] != nil else { return }
    lanes[key]!.attempts += 1
    lanes[key]!.frames = [Int64](repeating: .max, count: limits.frames)
    lanes[key]!.deadline = now.advanced(by: limits.retry.delay(attempt: lanes[key]!.attempts, seed: 0))
    settle(key)
  }
}
