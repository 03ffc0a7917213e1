// What the configuration says of a stream, as the capture takes it.

package import DroverCore

/// A stream as the configuration declares it.
package struct StreamDeclaration: Equatable, Sendable {
  package var name: StreamName
  package var kind: Kind
  /// The table it is captured from; nil for a stream fed by `emit` and the intake.
  package var table: String?
  package var syncedColumn: String?
  /// When a batch is complete.
  package var completeWhen: Condition?
  /// The tables of a batch's lines.
  package var with: [LinesDeclaration]
  /// What of the table leaves the machine.
  package var selection: Selection
  /// By what the cloud matches its rows with other machines'.
  package var naturalKey: NaturalKey?
  /// The columns by which a row is known; nil: its primary key.
  package var key: [String]?
  /// The column with a row's time, for who asks for rows since a moment.
  package var timeColumn: String?
  /// In which direction its rows travel.
  package var flow: Flow
  /// The app's own triggers fire for a row that comes down.
  package var firesAppTriggers: Bool

  package init(
    name: StreamName, kind: Kind, table: String?, syncedColumn: String? = nil, completeWhen: Condition? = nil,
    with: [LinesDeclaration] = [], selection: Selection = Selection(), naturalKey: NaturalKey? = nil,
    key: [String]? = nil, timeColumn: String? = nil, flow: Flow = .up, firesAppTriggers: Bool = false
  ) {
    self.flow = flow
    self.firesAppTriggers = firesAppTriggers
    self.timeColumn = timeColumn
    self.key = key
    self.naturalKey = naturalKey
    self.selection = selection
    self.with = with
    self.name = name
    self.kind = kind
    self.table = table
    self.syncedColumn = syncedColumn
    self.completeWhen = completeWhen
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
