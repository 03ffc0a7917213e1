// Compares a machine's stream with its source, and has sent again what differs. First the fingerprints of a table's parts; then, in the
// parts that differ, the digests of rows; then each row that differs, exactly. What is merely on its way is no drift.

package import DroverCore
package import DroverWire

/// The way to the machines: a question over `command/stream`, its answer over `reply/<id>`.
package protocol MachineQuestions: Sendable {
  /// - Parameter take: called with each message of the answer, in their order.
  /// - Throws: `CheckFailure` when there is no answer.
  nonisolated(nonsending) func ask(
    _ question: StreamQuestion, of stream: ReplicatedStream, _ take: (StreamAnswer) throws -> Void
  ) async throws
  /// Asks a machine to describe its streams again, and waits until the broker has the request.
  nonisolated(nonsending) func describe(_ machine: MachineID) async throws
}

/// Why a stream could not be compared.
package struct CheckFailure: Error, CustomStringConvertible, Sendable {
  package let description: String
  /// The machine's agent has said nothing, so that it is of no use to ask it for another stream.
  package let isSilence: Bool

  package init(_ description: String, isSilence: Bool = false) {
    self.description = description
    self.isSilence = isSilence
  }
}

package typealias StreamQuestion = StreamRequest.Question
package typealias StreamAnswer = StreamReply.Content

package struct DriftCheck {
  /// Rows that are looked at exactly in one question.
  private static let rowsPerQuestion = 200
  /// How often a row that was on its way is looked at again, and how long before the first time; the pause doubles.
  package static let mostLooks = 8
  private static let firstPause = Duration.milliseconds(200)

  private let replica: any Replica
  private let machines: any MachineQuestions
  private let looks: Int
  private let pause: (Duration) async throws -> Void

  /// - Parameter looks: how often rows on their way are looked at.
  package init(
    replica: any Replica, machines: any MachineQuestions, looks: Int = mostLooks,
    pause: @escaping (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) {
    self.replica = replica
    self.machines = machines
    self.looks = looks
    self.pause = pause
  }

  /// - Throws: `CheckFailure` when the machine does not answer, or an error of the replica's.
  package nonisolated(nonsending) func run(_ stream: ReplicatedStream, isRepairing: Bool) async throws -> DriftFinding {
    if let fault = try replica.fault(of: stream) { throw CheckFailure(fault) }
    let stray = try replica.strayLines(stream)
    var finding = try await compareRows(stream, isRepairing: isRepairing)
    finding.strayLines = stray
    guard isRepairing, stray > 0 else { return finding }
    // Last: a header that was missing has come back with its lines by now.
    try replica.removeStrayLines(stream)
    finding.repaired += stray
    return finding
  }

  private nonisolated(nonsending) func compareRows(_ stream: ReplicatedStream, isRepairing: Bool) async throws
    -> DriftFinding
  {
    var finding = DriftFinding()
    let bits = Parts.bits(rows: try replica.count(stream))
    let (differing, equal) = try await differingParts(stream, bits: bits, &finding)
    guard !differing.isEmpty else { return finding }
    var (suspects, alike) = try await differingRows(stream, bits: bits, parts: differing)
    let look = try await settled(stream, &suspects)
    // Rows may have arrived since the parts were counted: the figures are those of the moment that the verdict is about.
    finding.rowsAtEdge = equal + alike + look.atEdge
    finding.rowsInCloud = equal + alike + look.inCloud
    finding.kept = look.kept
    finding.inFlight = suspects.count
    if stream.schema.flow.direction.goesDown {
      for row in look.drifting { finding.name(DifferingRow(id: row.id, newer: .neither)) }
      for (row, newer) in zip(suspects, look.moving) { finding.name(DifferingRow(id: row, newer: newer)) }
    }
    var drifting = look.drifting
    for row in drifting { finding.count(row, kind: stream.schema.kind) }
    drifting.removeAll { $0.isConflict(stream.schema.kind) }
    guard isRepairing, !drifting.isEmpty else {
      if isRepairing { try explain(&finding, [], stream) }
      return finding
    }
    var again = drifting.map(\.id)
    for ids in again.pieces(of: Self.rowsPerQuestion) { try await sendAgain(ids, stream) }
    var left = try await settled(stream, &again).drifting
    let mayInsist = stream.schema.kind != .payload && stream.schema.flow.direction != .down
    let stuck = left.filter { !$0.isFinal && mayInsist }
    if !stuck.isEmpty {
      left.removeAll { row in stuck.contains { ExactText($0.id) == ExactText(row.id) } }
      left += try await insist(on: stuck.map(\.id), stream, &again)
    }
    finding.repaired = drifting.count - left.count - again.count
    try explain(&finding, left, stream)
    return finding
  }

  /// Rows that were sent again and differ still have a version in the cloud that no event reaches: it is taken back first.
  private nonisolated(nonsending) func insist(on ids: [String], _ stream: ReplicatedStream, _ moving: inout [String])
    async throws -> [Drifting]
  {
    for ids in ids.pieces(of: Self.rowsPerQuestion) {
      try replica.takeBackVersions(stream, ids: ids.map { (try LocalIDCodec.key($0, schema: stream.schema), $0) })
      try await sendAgain(ids, stream)
    }
    var again = ids
    let left = try await settled(stream, &again).drifting
    moving += again
    return left
  }

  private func explain(_ finding: inout DriftFinding, _ left: [Drifting], _ stream: ReplicatedStream) throws {
    if finding.conflicts > 0 {
      finding.obstacles.append(
        "\(quantity(finding.conflicts, "fact")) with other values here, and facts are never overwritten")
    }
    let final = left.count { $0.isFinal }
    if final > 0 {
      finding.obstacles.append("\(quantity(final, "row")) complete here, and complete rows are never overwritten")
    }
    guard left.count > final else { return }
    guard !stream.schema.flow.direction.goesDown else {
      finding.obstacles.append(
        "\(quantity(left.count - final, "row")) sent again and still different; `drover dead list` may say why, here and at the machine"
      )
      return
    }
    let additions = try replica.additions(to: stream)
    finding.obstacles.append(
      additions.isEmpty
        ? "\(quantity(left.count - final, "row")) sent again and still different; `drover dead list` may say why"
        : "\(quantity(left.count - final, "row")) sent again and still different; the table has \(additions.joined(separator: ", ")), which may change or refuse them"
    )
  }

  // MARK: Narrowing down

  /// - Returns: the parts that differ, and how many rows the others have.
  private nonisolated(nonsending) func differingParts(
    _ stream: ReplicatedStream, bits: Int, _ finding: inout DriftFinding
  ) async throws -> (parts: Set<Int>, equalRows: Int) {
    var atEdge: Parts?
    try await machines.ask(.parts(bits: bits), of: stream) { answer in
      guard case .parts(let parts) = answer, parts.bits == bits else { throw CheckFailure.unexpected }
      atEdge = parts
    }
    guard let atEdge else { throw CheckFailure.unexpected }
    var inCloud = Parts(bits: bits)
    try replica.survey(stream) { key, digest in
      inCloud.add(id: Digest.of(localID: LocalIDCodec.text(key: key, schema: stream.schema)), row: digest)
    }
    finding.rowsAtEdge = atEdge.rows
    finding.rowsInCloud = inCloud.rows
    let differing = inCloud.differing(from: atEdge)
    return (differing, inCloud.fingerprints.reduce(0) { $0 + (differing.contains($1.key) ? 0 : $1.value.rows) })
  }

  /// - Returns: the local IDs of rows that seem to differ, and how many rows of these parts do not.
  private nonisolated(nonsending) func differingRows(_ stream: ReplicatedStream, bits: Int, parts: Set<Int>)
    async throws -> (suspects: [String], equalRows: Int)
  {
    var inCloud: [ExactText: UInt64] = [:]
    try replica.survey(stream) { key, digest in
      let id = LocalIDCodec.text(key: key, schema: stream.schema)
      if parts.contains(Parts.part(of: Digest.of(localID: id), bits: bits)) { inCloud[ExactText(id)] = digest }
    }
    var suspects: [String] = []
    var equal = 0
    try await machines.ask(.rows(bits: bits, parts: parts.sorted()), of: stream) { answer in
      guard case .rows(let rows) = answer else { throw CheckFailure.unexpected }
      for row in rows {
        if inCloud.removeValue(forKey: ExactText(row.id)) == row.digest { equal += 1 } else { suspects.append(row.id) }
      }
    }
    return (suspects + inCloud.keys.sorted().map(\.text), equal)
  }

  // MARK: Looking exactly

  /// One row that differs although nothing of it is on its way.
  fileprivate struct Drifting {
    var id: String
    var isAtEdge: Bool
    var isInCloud: Bool
    /// The cloud's row is complete.
    var isFinal: Bool

    func isConflict(_ kind: Kind) -> Bool { kind == .payload && isAtEdge && isInCloud }
  }

  /// What exact looks at rows have found.
  private struct Look {
    var drifting: [Drifting] = []
    /// Of the rows that were looked at, those that each side has.
    var atEdge = 0
    var inCloud = 0
    /// Those that the machine has deleted and the cloud keeps.
    var kept = 0
    /// Of the rows that have not come to rest, which side's edit is on its way.
    var moving: [NewerEdit] = []

    mutating func count(_ state: RowState, _ row: ReplicaRow?) {
      if state.digest != nil { atEdge += 1 }
      if row != nil { inCloud += 1 }
    }
  }

  /// Looks at rows until each is either equal, or differs with nothing of it on its way.
  /// - Parameter suspects: left in it are those that have not come to rest.
  private nonisolated(nonsending) func settled(_ stream: ReplicatedStream, _ suspects: inout [String]) async throws
    -> Look
  {
    var result = Look()
    // Those that have not come to rest, as the last attempt saw them.
    var unsettled = Look()
    var wait = Self.firstPause
    for attempt in 0..<looks where !suspects.isEmpty {
      if attempt > 0 {
        try await pause(wait)
        wait *= 2
      }
      var moving: [String] = []
      unsettled = Look()
      for ids in suspects.pieces(of: Self.rowsPerQuestion) {
        try await look(ids, stream, &result, &unsettled, &moving)
      }
      suspects = moving
    }
    result.atEdge += unsettled.atEdge
    result.inCloud += unsettled.inCloud
    result.moving = unsettled.moving
    return result
  }

  /// A row of the cloud's that is the same before the question and after its answer, while the edge holds nothing unconfirmed of it and no edit of the
  /// cloud's is on its way down, has seen every event of its row: so a difference is drift.
  private nonisolated(nonsending) func look(
    _ ids: [String], _ stream: ReplicatedStream, _ result: inout Look, _ unsettled: inout Look,
    _ moving: inout [String]
  ) async throws {
    let keys = try ids.map { try LocalIDCodec.key($0, schema: stream.schema) }
    let goesDown = stream.schema.flow.direction.goesDown
    let rows = Array(zip(keys, ids)).map { (key: $0.0, localID: $0.1) }
    let wereUnderway = goesDown ? try replica.underway(stream, ids: rows) : []
    let before = try replica.rows(stream, keys: keys)
    var states: [RowState] = []
    try await machines.ask(.standing(ids), of: stream) { answer in
      guard case .standing(let list) = answer, list.map({ ExactText($0.id) }) == ids.map(ExactText.init) else {
        throw CheckFailure.unexpected
      }
      states = list.map(\.standing)
    }
    let after = try replica.rows(stream, keys: keys)
    let areUnderway = goesDown ? try replica.underway(stream, ids: rows) : []
    for (index, id) in ids.enumerated() {
      let (atEdge, inCloud) = (states[index], after[index])
      let isUnderway = goesDown && (wereUnderway[index] || areUnderway[index])
      if atEdge.isWaiting || isUnderway || before[index] != inCloud {
        moving.append(id)
        unsettled.moving.append(NewerEdit(isWaiting: atEdge.isWaiting, isUnderway: isUnderway))
        unsettled.count(atEdge, inCloud)
        continue
      }
      result.count(atEdge, inCloud)
      guard atEdge.digest != inCloud?.digest else { continue }
      // A fact that the edge no longer has is none too many in the cloud, nor is a final record.
      if stream.schema.kind == .payload && atEdge.digest == nil || inCloud?.isRetired(atEdge) == true {
        if atEdge.digest == nil { result.kept += 1 }
        continue
      }
      result.drifting.append(
        Drifting(
          id: id, isAtEdge: atEdge.digest != nil, isInCloud: inCloud != nil, isFinal: inCloud?.isFinal ?? false))
    }
  }

  /// The machine's row is right, but for rows that only the cloud edits.
  private nonisolated(nonsending) func sendAgain(_ ids: [String], _ stream: ReplicatedStream) async throws {
    guard stream.schema.flow.direction != .down else {
      return try replica.sendDown(stream, ids: ids.map { (try LocalIDCodec.key($0, schema: stream.schema), $0) })
    }
    try await machines.ask(.sendAgain(ids), of: stream) { answer in
      guard case .entered = answer else { throw CheckFailure.unexpected }
    }
  }
}

extension CheckFailure {
  fileprivate static let unexpected = CheckFailure(
    "the answer does not fit the question; has the agent another version?")
}

extension DriftFinding {
  fileprivate mutating func count(_ row: DriftCheck.Drifting, kind: Kind) {
    if row.isConflict(kind) {
      conflicts += 1
    } else if !row.isInCloud {
      missing += 1
    } else if !row.isAtEdge {
      extra += 1
    } else {
      different += 1
      if row.isFinal { frozen += 1 }
    }
  }
}

extension Array {
  fileprivate func pieces(of size: Int) -> [[Element]] {
    stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
  }
}
