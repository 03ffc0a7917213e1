// The tables of a batch's lines: what is listed under `with` of a stream.

internal import DroverCore

extension LinesDeclaration {
  /// Reads `with`. Nil after a problem, empty without the key.
  static func list(reading stream: Section) -> [LinesDeclaration]? {
    let sections = stream.sections("with", example: "[{table: sales}]", isRequired: false)
    let lines = sections.map { LinesDeclaration(reading: $0) }
    let complete = lines.compactMap(\.self)
    return complete.count < lines.count || sections.isEmpty && stream.isGiven("with") ? nil : complete
  }

  private init?(reading lines: Section) {
    let name = lines.required("table", .table, example: "sales")
    let references = lines.texts("references", .text("a column's name", maximumBytes: 128))
    guard let name, let references else { return nil }
    do throws(InvalidName) {
      self.init(
        table: try StreamName(name), references: references.map { Reference(column: $0.key, header: $0.value) })
    } catch {
      lines.report("\(error.message); in the cloud the table bears the same name", at: "table")
      return nil
    }
  }
}
