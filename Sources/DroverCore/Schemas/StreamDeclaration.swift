// What the configuration says of a stream of this machine. This is the one list of a stream's properties and their defaults: the configuration
// reads each entry of `streams` into it, and the capture and the agent take it as it is.

package struct StreamDeclaration: Equatable, Sendable {
  package var name: StreamName
  package var kind: Kind
  /// The table that it is captured from; nil for a stream fed by `drover emit` and the intake table.
  package var table: String?
  /// What one MQTT message of this stream may carry; nil: what any may.
  package var frame: EventLimit?

  // MARK: Of a stream with a table

  /// The app's own column that is set when the broker has the row.
  package var syncedColumn: String?
  /// When a batch is complete and never changes again.
  package var completeWhen: Condition?
  /// The tables whose rows travel with a batch's.
  package var with: [LinesDeclaration] = []
  /// What of the table leaves the machine.
  package var selection = Selection()
  /// By what the cloud matches its rows with other machines'; nil where they are the machine's own.
  package var naturalKey: NaturalKey?
  /// The columns by which a row is known; nil: its primary key.
  package var key: [String]?
  /// The column with a row's time, for `drover resync --since`.
  package var timeColumn: String?
  /// In which direction its rows travel, and what is declared of rows that both sides edit.
  package var flow = Flow.up
  /// The app's own triggers fire for a row that comes down.
  package var firesAppTriggers = false
  /// The cloud refills the table with orders when it is ready for them.
  package var worklist: WorklistDeclaration?

  package init(name: StreamName, kind: Kind, table: String? = nil) {
    self.name = name
    self.kind = kind
    self.table = table
  }

  /// - Parameter set: gives what is not the default.
  package init(
    name: StreamName, kind: Kind, table: String? = nil, set: (inout StreamDeclaration) throws -> Void
  ) rethrows {
    self.init(name: name, kind: kind, table: table)
    try set(&self)
  }
}

/// A child table whose rows travel with their header.
package struct LinesDeclaration: Equatable, Sendable {
  package struct Reference: Equatable, Sendable {
    package var column: String
    /// The header's column that it names.
    package var header: String

    package init(column: String, header: String) {
      self.column = column
      self.header = header
    }
  }

  package var table: StreamName
  /// Empty where the table declares one foreign key to the header's.
  package var references: [Reference]

  package init(table: StreamName, references: [Reference] = []) {
    self.table = table
    self.references = references
  }
}
