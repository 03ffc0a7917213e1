// The seam to a cloud store's change feed: every row of a sink table bears the number of its last change, and what was deleted is told with a
// number too. To read is to ask for what has a number behind a cursor, so a row that changed a thousand times comes once. docs/decisions/0020
// tells why. DroverSQLite and DroverPostgreSQL implement it.

package protocol ChangeReader: Sendable {
  /// Opens the store for questions that follow each other.
  /// - Throws: what says that there is no store yet, or that it cannot be opened.
  func open() throws -> any ChangeSession
}

/// A reader's view of the feed; used by one thread at a time. All but the first question throw `ChangesError` too.
package protocol ChangeSession: Sendable {
  /// Whether something may have been committed since this was asked last; true at first. Takes less than a hundred
  /// microseconds.
  func hasMoved() throws -> Bool
  func report() throws -> ChangeReport
  /// Reads changes in their order, as one moment of the store has them.
  /// - Parameter take: gets each of them, and says whether it wants another one. What it throws ends the reading.
  func read(_ question: ChangeQuestion, _ take: (Change) throws -> Bool) throws -> ChangePage
}

/// Why there are no changes to read.
package enum ChangesError: Error, Equatable, CustomStringConvertible {
  /// The store numbers no changes.
  case off
  /// The cursor's reader may have missed something; the text says why.
  case gone(String)
  case unknownStream(StreamName)

  package var description: String {
    switch self {
    case .off: "the store keeps no change feed; `changes: true` in the consumer's configuration begins it"
    case .gone(let why): "\(why); begin again without a cursor"
    case .unknownStream(let stream): "the store has no stream \(stream)"
    }
  }
}

/// A place in the feed, between two changes.
package struct ChangeCursor: Hashable, Sendable {
  /// Numbers mean something within an era alone: a store that went back has a new one.
  package let era: String
  /// Everything up to it was read.
  package let number: Int64
  /// How far the feed was when a reader began with nothing: what was deleted until then it never had. No higher than `number` as soon as it has
  /// read as far, and then of no meaning.
  package let start: Int64

  /// - Parameter start: 0 where the reader did not begin with nothing.
  package init(era: String, number: Int64, start: Int64 = 0) {
    self.era = era
    self.number = number
    self.start = start > number ? start : 0
  }

  /// `era-number`, or `era-number-start`; nil when it is neither.
  package init?(_ text: String) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard text.utf8.count <= 64, parts.count == 2 || parts.count == 3, !parts[0].isEmpty,
      parts[0].utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x7a).contains($0) })
    else { return nil }
    let numbers = parts.dropFirst().compactMap { part in
      part.utf8.allSatisfy { (0x30...0x39).contains($0) }
        ? Int64(part).flatMap { Bounds.sequence.contains($0) ? $0 : nil } : nil
    }
    guard numbers.count == parts.count - 1 else { return nil }
    self.init(era: String(parts[0]), number: numbers[0], start: numbers.count == 2 ? numbers[1] : 0)
  }

  package var text: String { "\(era)-\(number)\(start > 0 ? "-\(start)" : "")" }

  /// Up to where deletes are nothing new to the reader.
  package var known: Int64 { max(number, start) }

  /// The cursor behind a change that was read from here.
  package func moved(to number: Int64) -> ChangeCursor { ChangeCursor(era: era, number: number, start: start) }

  /// Why its reader may have missed something, or nil.
  /// - Parameters:
  ///   - newest: how far the feed is.
  ///   - lost: the highest number of which it is not known any more what it did.
  package func gap(in newest: ChangeCursor, lost: Int64) -> ChangesError? {
    guard era == newest.era else {
      return .gone(
        "the feed has begun again since then: its store was restored or made again, or `changes` was switched on")
    }
    guard max(number, start) <= newest.number else { return .gone("the cursor is ahead of the feed") }
    guard lost <= known else {
      return .gone(
        "since then a table was made anew, or rows were deleted so long ago that the feed no longer knows them")
    }
    return nil
  }
}

/// How often rows of a stream were put and deleted since the era began. The rows that were there then count as put once.
package struct ChangeCounts: Equatable, Sendable {
  package var puts: Int64
  package var deletes: Int64

  package init(puts: Int64 = 0, deletes: Int64 = 0) {
    self.puts = puts
    self.deletes = deletes
  }

  package static func += (counts: inout Self, more: Self) {
    counts.puts += more.puts
    counts.deletes += more.deletes
  }
}

package struct ChangeReport: Equatable, Sendable {
  package struct Stream: Equatable, Sendable {
    package var stream: StreamName
    package var kind: Kind
    /// The stream whose lines it holds; nil for a stream's own table.
    package var header: StreamName?
    package var counts: ChangeCounts

    package init(stream: StreamName, kind: Kind, header: StreamName?, counts: ChangeCounts) {
      self.stream = stream
      self.kind = kind
      self.header = header
      self.counts = counts
    }
  }

  /// Behind everything there is.
  package var newest: ChangeCursor
  /// By name; a table of lines is a stream here.
  package var streams: [Stream]

  package init(newest: ChangeCursor, streams: [Stream]) {
    self.newest = newest
    self.streams = streams
  }
}

package struct ChangeQuestion: Sendable {
  /// nil: from nothing.
  package var after: ChangeCursor?
  /// nil: all of them.
  package var stream: StreamName?
  package var machine: MachineID?

  package init(after: ChangeCursor? = nil, stream: StreamName? = nil, machine: MachineID? = nil) {
    self.after = after
    self.stream = stream
    self.machine = machine
  }
}

/// The newest state of one row, or that it is gone.
package struct Change: Sendable {
  package enum Content: Sendable {
    case put(SinkRow)
    case delete(SinkKey)
  }

  /// Behind it.
  package var cursor: ChangeCursor
  package var sink: SinkDescription
  package var content: Content

  package init(cursor: ChangeCursor, sink: SinkDescription, content: Content) {
    self.cursor = cursor
    self.sink = sink
    self.content = content
  }
}

/// What is left of a row that was deleted.
package struct SinkKey: Sendable {
  package var machine: String
  package var version: Int64
  /// Of a stream without a table its local ID alone.
  package var key: [Value]

  package init(machine: String, version: Int64, key: [Value]) {
    self.machine = machine
    self.version = version
    self.key = key
  }
}

package struct ChangePage: Equatable, Sendable {
  /// Behind all that was read.
  package var next: ChangeCursor
  /// Whether it is worth asking again at once. A page may be empty and yet not the last one.
  package var hasMore: Bool
  /// Of the streams that were asked for.
  package var counts: ChangeCounts

  package init(next: ChangeCursor, hasMore: Bool, counts: ChangeCounts) {
    self.next = next
    self.hasMore = hasMore
    self.counts = counts
  }
}
