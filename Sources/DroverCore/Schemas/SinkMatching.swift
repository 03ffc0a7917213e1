// By what the rows of a sink are matched, and for whom: a table is matched in one way, machines that declare none may use it too, and the operator
// may pin or accept a way for all. docs/decisions/0016 and 0027 tell why.

/// How a sink is matched now, as one machine finds it.
package struct SinkMatching: Equatable, Sendable {
  /// By what its rows are matched; nil where they are not.
  package var key: NaturalKey?
  /// Whether this machine declares it.
  package var isMember: Bool
  /// Whether the rows of all machines are matched, because an operator accepted or pinned it.
  package var isForAll: Bool
  package var isDeclaredByOthers: Bool

  package init(key: NaturalKey?, isMember: Bool, isForAll: Bool, isDeclaredByOthers: Bool) {
    self.key = key
    self.isMember = isMember
    self.isForAll = isForAll
    self.isDeclaredByOthers = isDeclaredByOthers
  }

  /// What is to be done.
  package struct Change: Equatable, Sendable {
    package enum Work: Equatable, Sendable {
      case nothing
      /// The rows are matched anew, unless the table holds none of this machine's, or none at all.
      case matchIfHeld(by: NaturalKey, anybodys: Bool)
      case match(by: NaturalKey)
      /// Each machine's rows are its own again.
      case dissolve
    }

    package var isMember: Bool
    package var isForAll: Bool
    package var work: Work

    package init(isMember: Bool, isForAll: Bool, work: Work) {
      self.isMember = isMember
      self.isForAll = isForAll
      self.work = work
    }
  }

  /// What follows from a description that was adopted.
  /// - Parameters:
  ///   - declared: by what the description says that its rows are matched.
  ///   - pinned: what the operator has pinned, with the columns as the table has them.
  ///   - isAccepted: whether the operator has said that the rows of all machines are matched as it declares.
  /// - Returns: nil where nothing is matched, before and after.
  package func change(declared: NaturalKey?, pinned: NaturalKey?, isAccepted: Bool) -> Change? {
    guard declared != nil || key != nil || pinned != nil else { return nil }
    let isMember = declared != nil
    let isForAll = self.isForAll || pinned != nil || isAccepted && declared != nil
    let wanted = pinned ?? declared ?? (isDeclaredByOthers ? key : nil)
    var work = wanted.map { Change.Work.match(by: $0) } ?? .dissolve
    if wanted == key {
      // Whose rows are matched may have changed.
      let isOther = isForAll != self.isForAll || !isForAll && isMember != self.isMember
      work = isOther ? wanted.map { .matchIfHeld(by: $0, anybodys: isForAll) } ?? .nothing : .nothing
    }
    return Change(isMember: isMember, isForAll: isForAll, work: work)
  }

  /// Why a machine's rows cannot be matched as it declares, or nil: others go on in their way, and those that use the table without are asked
  /// first.
  package func obstacle(
    to declared: NaturalKey?, _ stream: StreamName, isPinned: Bool, isAccepted: Bool, isUsedByOthers: () throws -> Bool
  ) rethrows -> Obstacle? {
    guard let declared, !isPinned, key != declared else { return nil }
    if let key, isDeclaredByOthers { return Obstacle(declared.refusal(against: key, stream), .table(stream)) }
    // Where its own rows alone are matched, it may match them otherwise.
    let isItsOwn = key != nil && !isForAll
    guard !isAccepted, !isItsOwn, try isUsedByOthers() else { return nil }
    return Obstacle(declared.refusal(inUseOf: stream), .word)
  }

  /// Why rows cannot come down to a machine from this table, or nil: where rows are matched, a row belongs to several machines.
  package func obstacle(to flow: Flow, _ stream: StreamName) -> Obstacle? {
    guard flow.direction.goesDown, let key, isForAll || isDeclaredByOthers else { return nil }
    return Obstacle(
      "its rows come down (`direction: \(flow.direction.rawValue)`), and the sink table \(stream) matches the rows of other machines by \(key.words), so an edit there has no one machine to go to; give one of the two another `name`",
      .table(stream))
  }
}
