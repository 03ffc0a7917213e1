// Events and frames, as values. DroverWire turns them into bytes and back.

/// What an event says about its row.
package enum Content: Equatable, Sendable {
  /// Nothing: a delete.
  case none
  /// The row's values in the order of the schema's columns.
  case row(Values)
  /// A body that no table describes: JSON text, kept as it was written.
  case json(ArraySlice<UInt8>)
}

/// The rows that travel with a row: a unit's lines.
package enum Lines: Equatable, Sendable {
  case none
  /// For each of the schema's tables of lines its rows.
  case rows([[[Value]]])
  /// Of a bare event, whose schema is not known where it is read: JSON text.
  case json(ArraySlice<UInt8>)
}

/// One change of one stream, as the cloud reads it from a frame.
package struct Event: Equatable, Sendable {
  /// Longest local ID, in bytes.
  package static let maximumIDBytes = 1 << 16

  /// The outbox's counter; nil for a bare event of a third-party client.
  package var seq: Int64?
  /// The row's own key at the edge, as text.
  package var localID: String
  package var operation: Operation
  /// Hybrid logical clock, microseconds; nil for a bare event without one.
  package var version: Int64?
  /// When it happened, as the sender wrote it; nil if it did not.
  package var at: String?
  package var content: Content
  package var lines: Lines
  /// The event's own text.
  package var raw: ArraySlice<UInt8>
  /// The text holds the row as a list of values, which says nothing without the frame's schema.
  package var isList: Bool
  /// Of a two-way stream: what the edit had seen.
  package var ancestry: Ancestry?
  /// Of a row that comes down: the machine's newest own edit that the cloud had seen.
  package var edge: DownEvent.Mark?

  package init(
    seq: Int64?, localID: String, operation: Operation, version: Int64?, at: String? = nil, content: Content,
    lines: Lines = .none, raw: ArraySlice<UInt8> = [], isList: Bool = false
  ) {
    self.isList = isList
    self.lines = lines
    self.raw = raw
    self.seq = seq
    self.localID = localID
    self.operation = operation
    self.version = version
    self.at = at
    self.content = content
  }
}

/// What an event of a two-way stream says about the row besides its content.
package struct Ancestry: Equatable, Sendable {
  /// The newest cloud version that was applied to the row at the edge; 0 for none.
  package var base: Int64
  /// The row was not edited. It is sent again, with the version of its last edit.
  package var isAgain: Bool

  package init(base: Int64, isAgain: Bool = false) {
    self.base = base
    self.isAgain = isAgain
  }
}

/// What a frame says before its events.
package struct FrameHeader: Equatable, Sendable {
  package var epoch: Epoch
  /// The run of the agent that sent it; 0 of an agent that knows of none.
  package var run: Int64
  /// What the frame covers of its stream: all that is left there is in it.
  package var interval: Interval
  /// The outbox's last sequence number when the frame was read: what is missing in it was superseded by that one at the latest.
  package var last: Int64
  /// The schema its rows are written under; nil for a stream without a table.
  package var schema: SchemaID?
  /// Of a two-way stream: from which history the epoch continues.
  package var lineage: Lineage?

  package init(
    epoch: Epoch, run: Int64, interval: Interval, last: Int64, schema: SchemaID?, lineage: Lineage? = nil
  ) {
    self.lineage = lineage
    self.epoch = epoch
    self.run = run
    self.interval = interval
    self.last = last
    self.schema = schema
  }
}
