import DroverCore

/// What one transaction collects, and what follows after its commit.
struct MessageGroup {
  /// Dead letters were sent again, and may be among the messages.
  var awaitsReplays = false
  var machines: [MachineID: Epoch?] = [:]
  /// Names that two machines have: nothing of their agents is taken.
  var duplicates: [MachineID: Trouble] = [:]
  /// Streams that wait because of their sink tables, and descriptions that could not be followed because of that.
  var blocks = BlockedSinks()
  var undescribed: Set<MachineStream> = []
  /// What has changed of that, each stream once.
  var blockNews: [(sink: BlockedSink, isOver: Bool)] { news.sorted { $0.key < $1.key }.map(\.value) }
  private var news: [String: (sink: BlockedSink, isOver: Bool)] = [:]
  var progress: [MachineStream: StreamProgress] = [:]
  var deadLetters: [DeadLetterReason: Int] = [:]
  private(set) var statuses: [(MachineID, MachineStatus)] = []
  /// What each machine said last, with what it said before where it said nothing new: one statement, however often it speaks.
  private(set) var latestStatuses: [MachineID: MachineStatus] = [:]
  /// Machines whose status was taken from the broker, and that have said nothing since.
  private(set) var withdrawn: Set<MachineID> = []
  /// How many messages were set aside, by machine and budget.
  private(set) var overruns: [MachineID: [Budget: Int]] = [:]
  /// What machines have received of what goes down.
  var downConfirmations: [MachineID: DownConfirmation] = [:]
  /// Questions of machines.
  var asked: [MachineAsked] = []
  /// Machines that have described a stream that goes down.
  var downNews: Set<MachineID> = []
  /// The highest numbers that were given to rows that go down, by owner and stream.
  var raised: [MachineStream: Int64] = [:]
  /// The store begins another numbering of what goes down.
  var hasNewNumbering = false
  /// A stream was described that goes down.
  var describesDown = false
  /// Commands to machines, and what stands in them.
  var requests: [Topic: [UInt8]] = [:]
  private var holds: [MachineID: [(stream: StreamName, reason: HoldReason)]] = [:]
  var outcomes: [MessageOutcome: Int] = [:]
  /// Dead letters for which there was no room: how many are gone, and machines that have to keep theirs.
  var dropped = 0
  var full: Set<MachineID> = []
  /// Machines with a frame that is larger than a message may be, and its bytes.
  var oversize: [MachineID: Int] = [:]

  mutating func note(_ sink: BlockedSink, isOver: Bool) {
    news["\(sink.stream) \(sink.machine?.text ?? "")"] = (sink, isOver)
  }

  /// Tells a machine to wait with a stream.
  mutating func hold(_ stream: StreamName, of machine: MachineID, because reason: HoldReason) {
    guard holds[machine]?.contains(where: { $0.stream == stream }) != true else { return }
    holds[machine, default: []].append((stream, reason))
    requests[.command(machine, name: "hold")] = HoldOrder.encode(holds[machine]!)
  }

  /// - Parameter said: the answer, where it differs from what is stored.
  mutating func note(_ status: MachineStatus, machine: MachineID, said: MachineStatus? = nil) {
    withdrawn.remove(machine)
    statuses.append((machine, said ?? status))
    latestStatuses[machine] = latestStatuses[machine].map { status.completed(by: $0) } ?? status
  }

  /// The machine's status was taken from the broker. An agent that is there says it anew.
  mutating func withdraw(_ machine: MachineID) {
    withdrawn.insert(machine)
    latestStatuses[machine] = nil
    statuses.removeAll { $0.0 == machine }
    requests[.command(machine, name: "present")] = []
  }

  mutating func noteOverrun(_ budget: Budget, machine: MachineID) {
    overruns[machine, default: [:]][budget, default: 0] += 1
    if machines[machine] == nil { machines[machine] = .some(nil) }
  }

  mutating func note(_ added: DeadLetterResult, _ reason: DeadLetterReason, machine: MachineID?) {
    switch added {
    case .kept: deadLetters[reason, default: 0] += 1
    case .dropped: dropped += 1
    case .full: if let machine { full.insert(machine) }
    }
  }

  mutating func note(_ progress: StreamProgress, machine: MachineID, stream: StreamName) {
    var sum = self.progress[MachineStream(machine: machine, stream: stream), default: StreamProgress()]
    sum.applied += progress.applied
    sum.superseded += progress.superseded
    sum.refused += progress.refused
    sum.version = max(sum.version, progress.version)
    self.progress[MachineStream(machine: machine, stream: stream)] = sum
  }
}
